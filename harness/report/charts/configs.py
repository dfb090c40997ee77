"""The configs of a system in its charts: which come first, their names, the one colour of each, and what they pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.records.result import metric
from harness.report.charts.chart import channel
from harness.report.charts.labels import without_common_parts
from harness.report.charts.theme import GREY, PALETTE
from harness.report.numbers.fronts import TIME, Cost
from harness.report.numbers.rows import Row
from harness.report.tables import Table
from harness.report.texts import one_line, shortened
from harness.statistics.intervals import Summary, summarise
from harness.statistics.pareto import pareto_front

MOST_COLOURED = 8
SURE = 0.95  # of being on the front, or of not being on it


def best_first(rows: Sequence[Row]) -> list[Row]:
    """Returns the ranked rows, those of the front first, then by accuracy."""
    ranked = [row for row in rows if row.ranked]
    return sorted(ranked, key=lambda row: (not row.values["on_front"], -row.values["test_accuracy"].mean))


def coloured(table: Table) -> dict[str, tuple[str, str]]:
    """Returns name and colour of the configs that have one, by config_id: the same in every chart of the system."""
    rows = best_first(table.rows)[:MOST_COLOURED]
    names = names_of([one_line(row.label) for row in rows])
    return {row.config_id: own for row, own in zip(rows, zip(names, PALETTE, strict=False), strict=True)}


def names_of(labels: Sequence[str]) -> list[str]:
    """Returns a short name for each label, no two alike."""
    names = [shortened(text, 40) for text in without_common_parts(labels)]
    return [f"{name} ({index})" if name in names[:index] else name for index, name in enumerate(names)]


def config_colour(shown: Sequence[tuple[str, str]], in_grey: int = 0, **legend: Any) -> dict[str, Any]:
    """Returns the colour of the marks of each config, by the field `config`.

    Args:
        shown: name and colour, in the legend's order.
        in_grey: how many configs have no colour: their name is empty.
    """
    names, colours = [name for name, _ in shown], [colour for _, colour in shown]
    title = f"config ({in_grey:,} more in grey)" if in_grey else "config"
    scale = {"domain": [*names, ""], "range": [*colours, GREY]}
    legend = {"symbolType": "stroke", "symbolStrokeWidth": 3, "symbolOpacity": 1, "labelLimit": 260, **legend}
    return channel("config:N", title, scale=scale, legend={"values": names, **legend} if names else None)


@dataclass(frozen=True)
class Paying:
    """A config and what it pays for its accuracy.

    Attributes:
        on_front: by its means.
        probability: of being on the front; None where it cannot be known.
    """

    row: Row
    paid: Summary
    on_front: bool
    probability: float | None

    @property
    def accuracy(self) -> Summary:
        """What it reaches."""
        return self.row.values["test_accuracy"]

    @property
    def place(self) -> str:
        """Whether it is on the front: `sure`, `unsure`, `perhaps` (not by its means) or `off`.

        One whose probability cannot be known is where its means put it.
        """
        if self.on_front:
            return "sure" if self.probability is None or self.probability >= SURE else "unsure"
        return "perhaps" if self.probability is not None and self.probability > 1 - SURE else "off"


def paying(table: Table, cost: Cost) -> list[Paying]:
    """Returns the configs that have both numbers, in the order of the table; only ranked ones are on the front."""
    found = []
    for row in table.rows:
        payments = [metric(run, cost.metric) for run in row.ok_for(cost.metric)]
        paid = summarise([one for one in payments if one is not None])
        if row.values["test_accuracy"] and paid and (row.ranked or cost is TIME):
            found.append((row, paid))
    ranked = [(row.values["test_accuracy"].mean, paid.mean) for row, paid in found if row.ranked]
    front = iter(pareto_front(ranked))
    return [Paying(row, paid, row.ranked and bool(next(front)), row.values[cost.probability]) for row, paid in found]
