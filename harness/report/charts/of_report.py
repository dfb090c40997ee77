"""Which charts a report has, what each is called, and as which files it is wanted."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from harness.report.charts.accuracy_over_cost import NARROW, accuracy_over_cost
from harness.report.charts.by_epoch import learning_curves, over_epochs
from harness.report.charts.chart import Chart
from harness.report.charts.curves import curves
from harness.report.charts.drawing import FileEnding
from harness.report.charts.interactions import interactions
from harness.report.charts.phases import phases
from harness.report.numbers.fronts import COSTS
from harness.report.tables import Report, Table

TIME, CURVES, INTERACTIONS = "accuracy_over_time", "curves", "interactions"
_OVER_COST = dict(zip((TIME, "accuracy_over_energy", "accuracy_over_memory"), COSTS, strict=True))
_MAKE: dict[str, Callable[[Table], Chart | None]] = {
    **{stem: functools.partial(accuracy_over_cost, cost=cost) for stem, cost in _OVER_COST.items()},
    CURVES: curves,
    INTERACTIONS: interactions,
    "learning_curves": learning_curves,
    "phases": phases,
    "over_epochs": over_epochs,
}
_ALWAYS = (TIME, CURVES, INTERACTIONS)


class WantedChart(NamedTuple):
    """A chart, and as which files it is wanted: none where only the page draws it."""

    chart: Chart
    endings: tuple[FileEnding, ...]


def charts_of(report: Report, *, for_page: bool = False) -> dict[str, WantedChart]:
    """Returns each chart by its name, which is that of its files without the ending.

    Args:
        for_page: also those that only the page shows; all as PNG and SVG.
    """
    found = {}
    for stem in stems(for_page=for_page):
        for table in report.tables:
            if chart := _MAKE[stem](table):
                found[chart_name(stem, report, table)] = WantedChart(chart, endings_of(stem, for_page=for_page))
                if for_page and stem in _OVER_COST and (small := accuracy_over_cost(table, _OVER_COST[stem], NARROW)):
                    found[chart_name(f"{stem}_narrow", report, table)] = WantedChart(small, ())
    return found


def endings_of(stem: str, *, for_page: bool = False) -> tuple[FileEnding, ...]:
    """Returns as which files a kind of chart is written."""
    return ("png", "svg") if for_page or stem == CURVES else ("png",)


def stems(*, for_page: bool = False) -> list[str]:
    """Returns the kinds of charts that are written."""
    return [stem for stem in _MAKE if for_page or stem in _ALWAYS]


def chart_name(stem: str, report: Report, table: Table) -> str:
    """Returns the name of a table's chart; with the system in it where there are several."""
    suffix = f"_{re.sub(r'[^A-Za-z0-9._-]', '_', table.system_id)}" if len(report.tables) > 1 else ""
    return f"{stem}{suffix}"
