"""What other processes took of the CPUs while something was measured."""

from __future__ import annotations

import os
import time

import psutil

_IDLE = ("idle", "iowait", "guest", "guest_nice")  # a guest's time is in its host's user time


class Neighbours:
    """Watches, from its making on, the CPUs that this process may use."""

    def __init__(self) -> None:
        self._began = self._now()

    def busy_cpus(self) -> float:
        """Returns how many of these CPUs others kept busy since, on average."""
        wall, busy, own = (end - start for end, start in zip(self._now(), self._began, strict=True))
        return max(0.0, (busy - own) / wall)

    def _now(self) -> tuple[float, float, float]:
        allowed = os.sched_getaffinity(0)
        cpus = [times._asdict() for cpu, times in enumerate(psutil.cpu_times(percpu=True)) if cpu in allowed]
        busy = sum(seconds for cpu in cpus for name, seconds in cpu.items() if name not in _IDLE)
        return time.perf_counter(), busy, time.process_time()
