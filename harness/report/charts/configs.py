"""The configs of a system in its charts: which come first, what they are called, and the one colour of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.report.charts.chart import channel
from harness.report.charts.labels import without_common_parts
from harness.report.charts.theme import GREY, PALETTE
from harness.report.numbers.rows import Row
from harness.report.tables import Table
from harness.report.texts import one_line, shortened

MOST_COLOURED = 8


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
