"""Which config to take for a budget of train time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.durations import duration_text
from harness.records.result import metric
from harness.report.answer import Contender, Standing, accuracy_text, advice, how_sure, named, standing_by
from harness.report.epochs import Curve
from harness.report.rows import Row
from harness.report.tables import Table
from harness.report.texts import column_texts
from harness.results.columns import Column

# What people set: round in the unit they are said in; fewer where each takes a comparison of very many configs.
_HOURS = (1, 2, 3, 5, 7, 10, 15, 24, 36, 48, 72, 96, 120, 168, 240, 336)
_ROUND = (1, 2, 3, 5, 7, 10, 15, 20, 30, 45)
ROUND_BUDGETS = (0.1, 0.2, 0.3, 0.5, 0.7, *_ROUND, *(60.0 * n for n in _ROUND), *(3600.0 * n for n in _HOURS))
FEW_BUDGETS = (0.1, 0.5, 1, 5, 20, 60.0, 300.0, 1200.0, *(3600.0 * n for n in (1, 5, 24, 120)))
MANY_CONFIGS = 200
MOST_ROWS = 8


@dataclass(frozen=True)
class BudgetChoice:
    """What to take for a budget.

    Attributes:
        standing: by test accuracy at the last evaluation within the budget; None where none was that early.
        whole: whether every run has ended by then.
        own: whether it is the suite's own budget.
    """

    seconds: float
    standing: Standing | None
    whole: bool
    own: bool


def budgets(table: Table) -> list[BudgetChoice]:
    """Returns what to take for each round budget, from the last that is too short on to the first that leaves all.

    An accuracy at a budget is that of a run's last evaluation within it. A config is taken into account once all its
    runs were evaluated. A run without evaluations on record counts from its end on.
    """
    rows = [row for row in table.rows if row.ranked]
    runs = {row.config_id: dict(_runs(row, table.curves.get(row.config_id, ()))) for row in rows}
    ranked, rows = rows, [row for row in rows if runs[row.config_id]]
    if not rows or (len(rows) == 1 and len(ranked) > 1):  # it would win for want of others whose times count
        return []
    firsts = [max(curve.seconds[0] for curve in runs[row.config_id].values()) for row in rows]
    last = max(curve.seconds[-1] for row in rows for curve in runs[row.config_id].values())
    images = min(run.data.test_samples for row in rows for run in row.ok if run.data)
    found = []
    rounds = FEW_BUDGETS if len(rows) > MANY_CONFIGS else ROUND_BUDGETS
    for seconds in _between(min(firsts), last, table.budget, rounds):
        contenders = []
        for row in rows:
            reached = {seed: curve.at(seconds) for seed, curve in runs[row.config_id].items()}
            known = {seed: value for seed, value in reached.items() if value is not None}
            if len(known) == len(reached):
                contenders.append(Contender(row, known))
        standing = standing_by(contenders, images, table.compared.margin)
        found.append(BudgetChoice(seconds, standing, seconds >= last, seconds == table.budget))
    return found


def budget_rows(found: Sequence[BudgetChoice]) -> list[tuple[str, str]]:
    """Returns budgets and what to take for them; those with the same first config are one row, but for the suite's own.

    Where there are too many, the longest ones are kept.
    """
    usable = [(one, one.standing) for one in found if one.standing]
    groups = itertools.groupby(usable, key=lambda one: (one[1].best.row.config_id, one[0].own))
    rows = [_row(list(group)) for _, group in groups]
    left = len(rows) - MOST_ROWS
    return [(budget, sentence) for at, (own, budget, sentence) in enumerate(rows) if at >= left or own]


def _row(group: Sequence[tuple[BudgetChoice, Standing]]) -> tuple[bool, str, str]:
    (first, before), (last, after) = group[0], group[-1]
    start, end = duration_text(first.seconds), duration_text(last.seconds)
    span = f"{start} or more" if last.whole else start if len(group) == 1 else f"{start} to {end}"
    before_text, after_text = accuracy_text(before.best.summary), accuracy_text(after.best.summary)
    if before_text == after_text:
        return last.own, span, advice(after)
    sentence = f"Take {named(after.best.row)}: {before_text} by {start}, {after_text} by {end}; then {how_sure(after)}."
    return last.own, span, sentence


def _runs(row: Row, curves: Sequence[Curve]) -> Iterator[tuple[Any, Curve]]:
    timed = row.ok_for("clock.train_seconds")
    if len(curves) == len(timed):
        yield from zip((run.seed for run in timed), curves, strict=True)
        return
    for run in timed:
        accuracy, seconds = metric(run, "test.accuracy"), metric(run, "clock.train_seconds")
        if accuracy is not None and seconds:
            yield run.seed, Curve((seconds,), (accuracy,))


def _between(first: float, last: float, own: float | None, rounds: Sequence[float]) -> list[float]:
    budgets: list[float] = sorted({*rounds, own or rounds[0]})
    below = [budget for budget in budgets if budget < first][-1:]
    inside = [budget for budget in budgets if first <= budget < last]
    return [*below, *inside, *[budget for budget in budgets if budget >= last][:1]] or [math.ceil(last)]


def latency_rows(table: Table) -> list[tuple[str, str]]:
    """Returns from which latency of a network in use on to take which config: where another one becomes the best."""
    rows = [row for row in table.rows if row.ranked and row.values["latency_seconds"]]
    rows.sort(key=lambda row: (row.values["latency_seconds"].mean, row.config_id))
    images = min((run.data.test_samples for row in rows for run in row.ok if run.data), default=0)
    texts = column_texts(Column("", "", "milliseconds"), [row.values["latency_seconds"].mean for row in rows])
    contenders = [Contender(row, {run.seed: metric(run, "test.accuracy") or 0.0 for run in row.ok}) for row in rows]
    found: dict[str, tuple[str, str]] = {}
    for count, text in enumerate(texts, 1):
        if standing := standing_by(contenders[:count], images, table.compared.margin):
            sure = how_sure(standing) if standing.others else "no other is so fast"
            sentence = f"Take {named(standing.best.row)}: {accuracy_text(standing.best.summary)}, {sure}."
            start = next(iter(found.pop(standing.best.row.config_id, (text,))))
            found[standing.best.row.config_id] = start, sentence
    return [(f"{text} or more", sentence) for text, sentence in found.values()][-MOST_ROWS:]
