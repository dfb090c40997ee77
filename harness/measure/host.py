"""The host as a run uses it: memory and processor time of its processes, and the energy of the processors (RAPL)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import psutil

POWERCAP = Path("/sys/class/powercap")
NO_RAPL = "no RAPL counter of the CPU can be seen: the machine has none, or hides it, as virtual ones do"
LOOK_FOR_CHILDREN_EVERY_SECONDS = 10.0  # that goes through all processes of the machine


class Host:
    """The processes of a run on one machine, and its processors.

    Args:
        pids: of the ranks on this machine; their children are part of the run.
        rapl: the energy counter; None where there is none.
    """

    def __init__(self, pids: Collection[int], rapl: Rapl | None = None) -> None:
        self._ranks = [psutil.Process(pid) for pid in pids]
        self._tree = self._ranks
        self._looked_at = -LOOK_FOR_CHILDREN_EVERY_SECONDS
        self._spent_on_looking = 0.0
        self.cores = len(os.sched_getaffinity(0))
        self.rapl = rapl

    def gauges(self) -> dict[str, Callable[[], float]]:
        """Returns what reads each quantity of which a peak is taken."""
        return {"host_tree_rss_bytes": self.rss_bytes}

    def rss_bytes(self) -> float:
        """Returns the resident memory of all processes; pages that they share count in each."""
        if time.monotonic() - self._looked_at >= LOOK_FOR_CHILDREN_EVERY_SECONDS:
            self.look_for_children()
        return sum(_of_living(process, lambda process: process.memory_info().rss) for process in self._tree)

    def cpu_seconds(self) -> float:
        """Returns the processor time of all processes, with that of children which have ended and were waited for.

        That of a rank of this process is exact, that of others comes in ticks of 10 ms. What the look for children
        takes in here is not the run's.
        """
        began = time.thread_time()
        self.look_for_children()
        self._spent_on_looking += time.thread_time() - began
        return sum(_of_living(process, _processor_time) for process in self._tree) - self._spent_on_looking

    def look_for_children(self) -> None:
        """Finds the processes that the ranks have started."""
        self._tree = [*self._ranks, *(child for rank in self._ranks for child in _children(rank))]
        self._looked_at = time.monotonic()


class Rapl:
    """The energy counters of the CPU packages, in the files of Linux's power capping framework.

    Args:
        folder: of the framework.

    Raises:
        OSError: a counter cannot be read; since Linux 5.10 only root may.
        LookupError: there is none; the message is the reason.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        self._zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if _is_package(zone)]  # AMD's, too
        if not self._zones:
            raise LookupError(NO_RAPL)
        self._ranges = [_number(zone / "max_energy_range_uj") for zone in self._zones]
        self._last = [_number(zone / "energy_uj") for zone in self._zones]
        self._microjoules = 0
        self._lock = threading.Lock()  # a sample may be read while a part of training ends

    def joules(self) -> float:
        """Returns the energy since the start; the counters wrap around, so it must be asked every few minutes."""
        with self._lock:
            for index, zone in enumerate(self._zones):
                now = _number(zone / "energy_uj")
                grown = now - self._last[index]
                self._microjoules += grown if grown >= 0 else grown + self._ranges[index]
                self._last[index] = now
            return self._microjoules / 1e6


def belongs_to(pid: int, pids: Collection[int]) -> bool:
    """Tells whether a process is one of some others, or was started by one, directly or not."""
    if pid in pids:
        return True
    try:
        return any(parent.pid in pids for parent in psutil.Process(pid).parents())
    except psutil.Error:
        return False


def _is_package(zone: Path) -> bool:
    return (zone / "name").read_text().startswith("package")


def _number(file: Path) -> int:
    return int(file.read_text())


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _of_living(process: psutil.Process, read: Callable[[psutil.Process], float]) -> float:
    try:
        return read(process)
    except psutil.NoSuchProcess:
        return 0.0


def _processor_time(process: psutil.Process) -> float:
    times = process.cpu_times()
    own = time.process_time() if process.pid == os.getpid() else times.user + times.system
    return own + times.children_user + times.children_system
