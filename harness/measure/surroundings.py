"""Whether a machine is busy with the work of others, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Collection

from harness.measure.cores import Cores
from harness.measure.processes import Processes, times_of

LEAST_SECONDS = 0.2  # core time comes in ticks of 10 ms
BUSY_SHARE = 0.1  # of the cores: more than a run may be disturbed by, as a moment tells less than a run


class Surroundings:
    """Watches, from its making on, the cores that this process may use.

    Args:
        own: processes whose work, and that of all that they start, is no other's.
    """

    def __init__(self, own: Collection[int]) -> None:
        self._processes = Processes(own)
        self._cores = Cores()
        self._said = False
        self._began = self._read()

    def busy_cores(self) -> float | None:
        """Returns how many of the cores others used since, on average; None where that cannot be read, or not yet."""
        now = self._read()
        if self._began is None or now is None:
            return None
        seconds, taken = (after - before for after, before in zip(now, self._began, strict=True))
        return None if seconds < LEAST_SECONDS else max(0.0, self._cores.count - taken / seconds)

    def sentence(self) -> str:
        """Returns, once, that the machine is busy; nothing where it is not, or where that cannot be read.

        Each run's record tells what could not be read while it trained.
        """
        if self._said or (used := self.busy_cores()) is None:
            return ""
        self._said = True
        if used <= BUSY_SHARE * self._cores.count:
            return ""
        return (
            f"this machine is busy: other processes use {used:.1f} of {self._cores.count} cores; runs that this slows "
            "down will be marked as disturbed, and their times will not count; on a CPU, OMP_WAIT_POLICY=PASSIVE keeps "
            "its threads from spinning while they wait for each other, which slows them down most"
        )

    def _read(self) -> tuple[float, float] | None:
        """Returns a moment, and the core seconds until then that were free, our own, or of no use to anyone here."""
        try:
            self._processes.look()
            own = sum(sum(times_of(pid)) for pid in self._processes.all())
            cores = self._cores.counters()
        except (OSError, LookupError):
            return None
        return cores["machine_seconds"], cores["free_core_seconds"] + cores["steal_seconds"] + own
