"""What is wanted of a report."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_SORT = "test_accuracy"


@dataclass(frozen=True)
class Options:
    """What a person may choose.

    Attributes:
        sort: a column's name; accuracies and throughputs descend, times and sizes ascend.
        with_resumed: times of runs that went on from a checkpoint count too.
        budget_seconds: train time that accuracies are compared at; None for the suite's own, if it has one.
        relative_to: the system, by name or id, whose times the normalised table gives; empty for the first; None for
            no such table.
    """

    sort: str = DEFAULT_SORT
    with_resumed: bool = False
    budget_seconds: float | None = None
    relative_to: str | None = None
