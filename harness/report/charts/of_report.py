"""Which charts a report has, and what each is called."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from harness.report.charts.accuracy_over_cost import accuracy_over_cost
from harness.report.charts.chart import Chart
from harness.report.charts.lines import curves, learning_curves, over_epochs
from harness.report.fronts import COSTS
from harness.report.tables import Report, Table

TIME, CURVES = "accuracy_over_time", "curves"
_OVER_COST = zip((TIME, *(f"accuracy_over_{cost.word}" for cost in COSTS[1:])), COSTS, strict=True)
_MAKE: dict[str, Callable[[Table], Chart | None]] = {
    **{stem: functools.partial(accuracy_over_cost, cost=cost) for stem, cost in _OVER_COST},
    CURVES: curves,
    "learning_curves": learning_curves,
    "over_epochs": over_epochs,
}


def charts_of(report: Report, *, for_page: bool = False) -> dict[str, Chart]:
    """Returns each chart by its name, which is that of its files without the ending.

    Args:
        for_page: also those that only the page shows.
    """
    return {
        chart_name(stem, report, table): chart
        for stem in stems(for_page)
        for table in report.tables
        if (chart := _MAKE[stem](table))
    }


def stems(for_page: bool = False) -> list[str]:
    """Returns the kinds of charts that are written."""
    return [stem for stem in _MAKE if for_page or stem in (TIME, CURVES)]


def chart_name(stem: str, report: Report, table: Table) -> str:
    """Returns the name of a table's chart; with the system in it where there are several."""
    suffix = f"_{re.sub(r'[^A-Za-z0-9._-]', '_', table.system_id)}" if len(report.tables) > 1 else ""
    return f"{stem}{suffix}"
