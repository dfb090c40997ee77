"""Which config to take for a budget of train time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.records.result import metric
from harness.report.answer import Contender, Standing, standing_by
from harness.report.numbers.curves import Curve
from harness.report.numbers.rows import Row
from harness.report.tables import Table

# What people set: round in the unit they are said in.
_ROUND = (1, 2, 3, 5, 7, 10, 15, 20, 30, 45)
_SECONDS = (0.1, 0.2, 0.3, 0.5, 0.7, *_ROUND)
_HOURS = (1, 2, 3, 5, 7, 10, 15, 24, 36, 48, 72, 96, 120, 168, 240, 336)
ROUND_BUDGETS = (*_SECONDS, *(60.0 * n for n in _ROUND), *(3600.0 * n for n in _HOURS))
_PREFERRED = (1, 2, 5, 10, 30)
_LISTED = {
    *(0.1, 0.2, 0.5),
    *(unit * n for unit in (1.0, 60.0) for n in _PREFERRED),
    *(3600.0 * n for n in (1, 2, 5, 10, 24, 48, 120, 240)),
}
MOST_LISTED = 6


@dataclass(frozen=True)
class Taken:
    """What to take for a budget.

    Attributes:
        standing: by test accuracy at the last evaluation within the budget; None where none was that early.
        late: configs that have no run evaluated by then.
        whole: whether every run has ended by then.
        listed: whether it is one of the few that are shown at once.
    """

    seconds: float
    standing: Standing | None
    late: int
    whole: bool
    listed: bool = False


def budgets(table: Table) -> list[Taken]:
    """Returns what to take for each round budget, from the last that is too short on to the first that leaves all.

    An accuracy at a budget is that of a run's last evaluation within it. A config is taken into account once all its
    runs were evaluated. A run without evaluations on record counts from its end on.
    """
    rows = [row for row in table.rows if row.ranked]
    runs = {row.config_id: dict(_runs(row, table.curves.get(row.config_id, ()))) for row in rows}
    rows = [row for row in rows if runs[row.config_id]]
    if not rows:
        return []
    firsts = [max(curve.seconds[0] for curve in runs[row.config_id].values()) for row in rows]
    last = max(curve.seconds[-1] for row in rows for curve in runs[row.config_id].values())
    found = []
    for seconds in _between(min(firsts), last, table.budget.seconds if table.budget else None):
        contenders = []
        for row in rows:
            reached = {seed: curve.at(seconds) for seed, curve in runs[row.config_id].items()}
            if all(value is not None for value in reached.values()):
                contenders.append(Contender(row, {seed: value or 0.0 for seed, value in reached.items()}))
        first = standing_by(contenders, _images(rows), table.margin)
        found.append(Taken(seconds, first, len(rows) - len(contenders), seconds >= last))
    return _with_listed(found, table.budget.seconds if table.budget else None)


def _images(rows: Sequence[Row]) -> int:
    """Returns how many test images the accuracies are means over, at the least."""
    return min(run.data.test_samples for row in rows for run in row.ok if run.data)


def _runs(row: Row, curves: Sequence[Curve]) -> Iterator[tuple[Any, Curve]]:
    timed = row.ok_for("clock.train_seconds")
    if len(curves) == len(timed):
        yield from zip((run.seed for run in timed), curves, strict=True)
        return
    for run in timed:
        accuracy, seconds = metric(run, "test.accuracy"), metric(run, "clock.train_seconds")
        if accuracy is not None and seconds:
            yield run.seed, Curve((seconds,), (accuracy,))


def _between(first: float, last: float, own: float | None) -> list[float]:
    budgets: list[float] = sorted({*ROUND_BUDGETS, own or ROUND_BUDGETS[0]})
    below = [budget for budget in budgets if budget < first][-1:]
    inside = [budget for budget in budgets if first <= budget < last]
    return [*below, *inside, *[budget for budget in budgets if budget >= last][:1]] or [math.ceil(last)]


def _with_listed(found: Sequence[Taken], own: float | None) -> list[Taken]:
    """Marks few, the suite's own among them, and always the last, which is for all longer budgets."""
    usable = [one for one in found if one.standing]
    wanted = [one.seconds for one in usable[:-1] if one.seconds in _LISTED]
    while len(wanted) > MOST_LISTED - 1:
        wanted = wanted[len(wanted) % 2 :: 2]
    keep: Mapping[float, None] = dict.fromkeys(
        [*wanted, *[one.seconds for one in usable[-1:]], *([own] if own else [])]
    )
    return [
        Taken(one.seconds, one.standing, one.late, one.whole, bool(one.standing) and one.seconds in keep)
        for one in found
    ]
