"""The host as a run uses it: memory and processor time of its processes, and the energy of the processors (RAPL)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import psutil

from harness.measure.cores import Cores, asleep_seconds
from harness.measure.processes import Processes, resident_bytes, times_of
from harness.measure.system.host import Throttling, resource_limits

POWERCAP = Path("/sys/class/powercap")
NO_RAPL = "no RAPL counter of the CPU can be seen: the machine has none, or hides it, as virtual ones do"
LOOK_FOR_CHILDREN_EVERY_SECONDS = 10.0  # between two parts of training, where the look is no part of one


class Host:
    """The processes of a run on one machine, and its processors.

    Args:
        pids: of the ranks on this machine; their children are part of the run.
        rapl: the energy counter; None where there is none.
        launch: the process on this machine that started the ranks, whose other children are the launch's own, too.
    """

    def __init__(self, pids: Collection[int], rapl: Rapl | None = None, launch: int | None = None) -> None:
        self._ranks = set(pids)
        self._processes = Processes(self._ranks | ({launch} if launch else set()))
        self._looked_at = -LOOK_FOR_CHILDREN_EVERY_SECONDS
        self._spent_on_looking = 0.0
        self._cores = Cores()
        self._throttling: Throttling | None = None
        self.cores = self._cores.count
        self.usable_cores = min(self.cores, resource_limits().cpus or self.cores)  # of them, by the cgroup's quota
        self.rapl = rapl

    def gauges(self) -> dict[str, Callable[[], float]]:
        """Returns what reads each quantity of which a peak is taken."""
        return {"host_tree_rss_bytes": self.rss_bytes}

    def counters(self) -> list[tuple[str, Callable[[], float | dict[str, float]]]]:
        """Returns what reads each counter of the machine, or several at once; the first looks for processes."""
        return [
            ("host_cpu_seconds", self.cpu_seconds),
            ("launch_cpu_seconds", self.launch_cpu_seconds),
            ("cores", self._cores.counters),
            ("throttled_seconds", self._throttled_seconds),
            ("asleep_seconds", asleep_seconds),
        ]

    @property
    def other_launches(self) -> set[int]:
        """The processes that supervise other launches on this machine which were seen."""
        return self._processes.other_launches

    def rss_bytes(self) -> float:
        """Returns the resident memory of all processes; pages that they share count in each."""
        if time.monotonic() - self._looked_at >= LOOK_FOR_CHILDREN_EVERY_SECONDS:
            self.look_for_children()
        return float(sum(resident_bytes(pid) for pid in self._processes.belonging_to(self._ranks)))

    def cpu_seconds(self) -> float:
        """Returns the processor time of all processes, with that of children which have ended and were waited for.

        That of a rank of this process is exact, that of others comes in ticks of 10 ms. What the look for children
        takes in here is not the run's.
        """
        began = time.thread_time()
        self.look_for_children()
        self._spent_on_looking += time.thread_time() - began
        return self._used(self._processes.belonging_to(self._ranks)) - self._spent_on_looking

    def launch_cpu_seconds(self) -> float:
        """Returns the processor time of the whole launch on this machine; what looking takes is the launch's, too."""
        return self._used(self._processes.all())

    def look_for_children(self) -> None:
        """Finds the processes that the launch has started."""
        self._processes.look()
        self._looked_at = time.monotonic()

    def _throttled_seconds(self) -> float:
        self._throttling = self._throttling or Throttling()  # here what it raises is the reason of a null
        return self._throttling.seconds()

    def _used(self, pids: Collection[int]) -> float:
        return sum(sum(times_of(pid)) for pid in pids)


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
