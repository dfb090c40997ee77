"""Which numbers of a run may stand beside those of other runs."""

from __future__ import annotations

from typing import Protocol


class Parts(Protocol):
    """What is asked of a run's result; see `harness.records.result.RunResult`."""

    packed: int
    resumed_at_steps: list[int]


def is_of_time(metric_name: str) -> bool:
    """Tells whether a number of a run is of its time: one that stopped and went on was not timed like the others."""
    return metric_name.partition(".")[0] in ("clock", "throughput", "energy", "target")


def is_of_device(metric_name: str) -> bool:
    """Tells whether a number of a run is read of the whole device or host: runs that share them share the number."""
    return metric_name.partition(".")[0] == "telemetry" or metric_name == "memory.device_bytes"


def compares(run: Parts, metric_name: str, *, with_resumed: bool = False) -> bool:
    """Tells whether a number of a run may be compared with that of others, or enter a mean over them.

    A packed run shared its device, so what is of its time or of the device is not its own. The time of one that was
    resumed is its own, over several parts: it counts where that is asked for.
    """
    of_time = is_of_time(metric_name)
    if run.packed > 1 and (of_time or is_of_device(metric_name)):
        return False
    return with_resumed or not (of_time and run.resumed_at_steps)
