"""Which charts a report has, what each is called, and as which files it is wanted."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.report.charts.accuracy_over_cost import NARROW, WIDE
from harness.report.charts.accuracy_over_time import accuracy_over_energy, accuracy_over_memory, accuracy_over_time
from harness.report.charts.beside_published import beside_published
from harness.report.charts.curves import curves
from harness.report.charts.drawing import Chart, Ending
from harness.report.charts.interactions import interactions
from harness.report.charts.learning_curves import learning_curves
from harness.report.charts.over_epochs import over_epochs
from harness.report.charts.phases import phases
from harness.report.tables import Report, Table

Make = Callable[[Table], Chart | None]

TIME, CURVES, INTERACTIONS = "accuracy_over_time", "curves", "interactions"
ENERGY, MEMORY = "accuracy_over_energy", "accuracy_over_memory"
BY_EPOCH, BY_TIME = "learning_curves_by_epoch", "learning_curves_by_time"
PHASES, OVER_EPOCHS, PUBLISHED = "phases", "over_epochs", "beside_published"

_ALWAYS: dict[str, Make] = {TIME: accuracy_over_time, CURVES: curves, INTERACTIONS: interactions}
_WITH_A_PAGE: dict[str, Make] = {
    ENERGY: accuracy_over_energy,
    MEMORY: accuracy_over_memory,
    BY_EPOCH: functools.partial(learning_curves, over="epoch"),
    BY_TIME: functools.partial(learning_curves, over="seconds"),
    PHASES: phases,
    OVER_EPOCHS: over_epochs,
    PUBLISHED: beside_published,
}
# Those whose labels are placed for a size, as the page shows them: in each size, with as many configs as it can show.
MOST_ON_SCREEN = 400
SIZES = {"wide": WIDE, "narrow": NARROW}
_PLACED = {TIME: accuracy_over_time, ENERGY: accuracy_over_energy, MEMORY: accuracy_over_memory}


@dataclass(frozen=True)
class Wanted:
    """A chart, and as which files it is wanted."""

    chart: Chart
    endings: tuple[Ending, ...]


def charts_of(report: Report, *, for_page: bool = False) -> dict[str, Wanted]:
    """Returns each chart by its name, which is that of its files without the ending.

    Args:
        for_page: also those that only the page shows, all as PNG and SVG, and as the specifications that it draws.
    """
    found = {}
    for stem, make in {**_ALWAYS, **(_WITH_A_PAGE if for_page else {})}.items():
        for table in report.tables:
            if chart := make(table):
                endings = endings_of(stem, for_page=for_page)
                if for_page:
                    endings = (*endings, "json")
                found[chart_name(stem, report, table)] = Wanted(chart, endings)
    for stem, place in (_PLACED if for_page else {}).items():
        for table in report.tables:
            for screen, size in SIZES.items():
                if chart := place(table, size, MOST_ON_SCREEN):
                    found[chart_name(f"{stem}_{screen}", report, table)] = Wanted(chart, ("json",))
    return found


def endings_of(stem: str, *, for_page: bool = False) -> tuple[Ending, ...]:
    """Returns as which files a kind of chart is written."""
    if stem == CURVES:
        return "png", "svg", "html"
    return ("png", "svg") if for_page else ("png",)


def stems(*, for_page: bool = False) -> list[str]:
    """Returns the kinds of charts that are written."""
    return [*_ALWAYS, *(_WITH_A_PAGE if for_page else ())]


def chart_name(stem: str, report: Report, table: Table) -> str:
    """Returns the name of a table's chart; with the system in it where there are several."""
    suffix = f"_{re.sub(r'[^A-Za-z0-9._-]', '_', table.system_id)}" if len(report.tables) > 1 else ""
    return f"{stem}{suffix}"
