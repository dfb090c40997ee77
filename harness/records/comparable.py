"""Which numbers of a run may stand beside those of other runs: the marks of a run, and what a mark takes away."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, Protocol, get_args

Mark = Literal["packed", "disturbed", "elsewhere", "environment", "resumed"]
MARKS: tuple[Mark, ...] = get_args(Mark)
MARKED = "marked (packed, disturbed, elsewhere, of another environment or resumed)"
"""What people read of runs whose times do not count, where it is not known which mark they have."""


class Parts(Protocol):
    """What is asked of a run's result; see `harness.records.result.RunResult`."""

    packed: int
    disturbed: list[str]
    elsewhere: str | None
    environment: dict[str, str] | None
    usual_environment: dict[str, str] | None
    resumed_at_steps: list[int]


def marks(run: Parts) -> dict[Mark, str]:
    """Returns why the times of a run are not like those of others: a reason for each of its marks."""
    found: dict[Mark, str] = {}
    if run.packed > 1:
        found["packed"] = f"{run.packed} at a time"
    if run.disturbed:
        found["disturbed"] = "; ".join(reason.rstrip(".") for reason in run.disturbed)
    if run.elsewhere is not None:
        found["elsewhere"] = f"in suite {run.elsewhere}"
    if run.usual_environment is not None:
        found["environment"] = told_apart(run.environment or {}, run.usual_environment)
    if run.resumed_at_steps:
        several = "s" * (len(run.resumed_at_steps) > 1)
        found["resumed"] = f"at step{several} {', '.join(map(str, run.resumed_at_steps))}"
    return found


def told_apart(a: Mapping[str, str], b: Mapping[str, str]) -> str:
    """Returns what two environments differ in, e.g. `OMP_NUM_THREADS 1, not 2`."""
    names = (name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name))
    return ", ".join(f"{name} {a.get(name, 'unset')}, not {b.get(name, 'unset')}" for name in names)


def untimed_by(run: Parts, *, with_resumed: bool = False) -> dict[Mark, str]:
    """Returns the marks that keep a run's times from counting, with the reasons; the time of a run that was resumed is
    its own, over several parts: it counts where that is asked for.
    """
    return {mark: why for mark, why in marks(run).items() if not (with_resumed and mark == "resumed")}


def is_of_time(metric_name: str) -> bool:
    """Tells whether a number of a run is of its time: one that stopped and went on was not timed like the others."""
    return metric_name.partition(".")[0] in ("clock", "throughput", "energy", "target")


def is_of_device(metric_name: str) -> bool:
    """Tells whether a number of a run is read of the whole device or host: runs that share them share the number."""
    return metric_name.partition(".")[0] == "telemetry" or metric_name == "memory.device_bytes"


def compares(run: Parts, metric_name: str, *, with_resumed: bool = False) -> bool:
    """Tells whether a number of a run may be compared with that of others, or enter a mean over them."""
    return compares_with(marks(run), metric_name, with_resumed=with_resumed)


def compares_with(mark_names: Collection[str], metric_name: str, *, with_resumed: bool = False) -> bool:
    """Tells the same of a run that has these marks.

    What is of the time of a marked run does not. A packed run shared its device as well: what is of that is not its
    own.
    """
    if metric_name.startswith("inference") and "environment" in mark_names:
        return False  # what else marks a run keeps it from being timed in use
    if is_of_time(metric_name):
        return not set(mark_names) - ({"resumed"} if with_resumed else set())
    return not (is_of_device(metric_name) and "packed" in mark_names)
