"""What the template shows of one suite: the report's own tables and charts, and what only a page asks of them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.counted import counted
from harness.report.charts.chart import Chart, Grid, coloured
from harness.report.charts.of_report import chart_name, stems
from harness.report.charts.theme import PALETTE
from harness.report.numbers.rows import Row
from harness.report.page.budgets import budget_rows, budgets
from harness.report.page.gallery import gallery
from harness.report.tables import Report, Table
from harness.report.texts import Beside, listed, notes_under, quoted
from harness.results.columns import number
from harness.results.measured import count_statuses

MOST_CONFIGS = 400  # rows of the ranking
MOST_ROWS = 100  # of the tables below it
SHOWN = 7  # columns of the ranking at first
_FACTS = {
    "gpu": "GPU",
    "gpu_count": "GPUs",
    "gpu_memory_bytes": "GPU memory",
    "driver": "driver",
    "cpu": "CPU",
    "cpu_count": "CPU cores",
    "memory_bytes": "memory",
    "kernel": "kernel",
    "python": "Python",
    "torch": "torch",
    "torchvision": "torchvision",
    "accelerate": "Accelerate",
    "cuda": "CUDA",
    "system_id": "system id",
}


@dataclass(frozen=True)
class PageSource:
    """One suite of a page.

    Attributes:
        folder: of the suite's results.
        question: the suite's description.
        systems: the facts of each, by system_id.
        charts: by name, as `harness.report.charts.of_report` names them; none where they cannot be drawn.
        commands: that made these results and this page.
        charts_missing: why there are no charts; empty where there are.
    """

    report: Report
    folder: Path
    question: str = ""
    systems: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    charts: Mapping[str, Chart] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    charts_missing: str = ""


def suite_page(source: PageSource, key: str, folder: Path, picture_bytes: int) -> dict[str, Any]:
    """Returns all that the template shows of a suite.

    Args:
        key: what the ids of its parts begin with.
        folder: of the page; links start from it.
        picture_bytes: that its pictures may take.
    """
    report = source.report
    pictures, pictures_left_out = gallery(report.pictures, source.folder, picture_bytes)
    return {
        "source": source,
        "key": key,
        "summary": _summary(report),
        "runs_href": _href(source.folder, folder),
        "charts_href": _href(source.folder / report.place, folder),
        "systems": [_system(source, table, f"{key}-{index}") for index, table in enumerate(report.tables)],
        "pictures": pictures,
        "pictures_left_out": pictures_left_out,
    }


def sort_value(value: Any) -> float | None:
    """Returns the number that a cell of the ranking is sorted by; None where it is sorted by its text."""
    value = number(value)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _href(target: Path, folder: Path) -> str:
    """Returns the URL of the target folder from the page's: empty or with a slash at its end."""
    return "" if target == folder else f"{quote(Path(os.path.relpath(target, folder)).as_posix())}/"


def _summary(report: Report) -> str:
    """Returns how many runs ended how, and on which systems."""
    repeats = report.runs.get("spec.repeat") or [0] * len(report.runs["status"])
    runs = [at for at, repeat in enumerate(repeats) if not repeat]
    if not runs:
        return "No results yet."
    configs, seeds = (len({report.runs[name][at] for at in runs}) for name in ("config_id", "seed"))
    ended = count_statuses(report.runs["status"][at] for at in runs)
    of = f"{counted(configs, 'config')}, {counted(seeds, 'seed')}"
    systems = " and ".join(table.system for table in report.tables)
    return f"{counted(len(runs), 'run')} of {of}: {ended}; on {systems}"


def _system(source: PageSource, table: Table, key: str) -> dict[str, Any]:
    """Returns the table of a system, and what the page adds to it."""
    ranked = [column for column in table.ranking.columns if column.name not in ("on_front", "label")]
    choices = budgets(table)
    colours = [(name, PALETTE.index(colour)) for name, colour in coloured(table).values()]
    return {
        "table": table,
        "key": key,
        "choices": choices,
        "budget_rows": budget_rows(choices),
        "untimed": listed([quoted(row.label) for row in table.rows if row.ranked and not row.values["train_seconds"]]),
        "figures": _figures(source, table),
        "colours": colours,
        "in_grey": sum(row.ranked for row in table.rows) - len(colours),
        "columns": ranked,
        "shown": {column.name for column in sorted(ranked, key=lambda one: one.priority)[:SHOWN]},
        "rows": _kept(table),
        "gpu_busy": _gpu_busy(table),
        "facts": _facts({**source.systems.get(table.system_id, {}), "system_id": table.system_id}),
        "notes": notes_under(table.ranking.columns, table.every_note),
    }


def _figures(source: PageSource, table: Table) -> dict[str, dict[str, Any]]:
    """Returns the charts of a system by kind, with their names for wide and for narrow screens."""
    found = {}
    for stem in stems(for_page=True):
        wide, narrow = (chart_name(one, source.report, table) for one in (stem, f"{stem}_narrow"))
        if chart := source.charts.get(wide):
            found[stem] = {"chart": chart, "wide": wide, "narrow": narrow if narrow in source.charts else wide}
    return found


def _kept(table: Table) -> list[tuple[int, Row]]:
    """Returns the rows that are shown, those of the front among them, with their places in the table."""
    every = list(enumerate(table.rows))
    wanted = sorted(every, key=lambda one: not one[1].values["on_front"])[:MOST_CONFIGS]
    return sorted(wanted, key=lambda one: one[0])


def _gpu_busy(table: Table) -> str:
    """Returns which share of their train time the runs kept the GPU busy, e.g. `40% to 87%`; empty if not measured."""
    runs = [run for row in table.rows for run in row.ok_for("telemetry.gpu_utilization")]
    busy = [run.telemetry.gpu_utilization for run in runs if run.telemetry.gpu_utilization is not None]
    return f"{min(busy):.0%} to {max(busy):.0%}" if busy else ""


def _facts(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (title, f"{known[name] / 2**30:.1f} GiB" if name.endswith("_bytes") else str(known[name]))
        for name, title in _FACTS.items()
        if known.get(name) is not None
    ]


def grid_of(beside: Beside) -> Grid:
    """Returns the first rows of a table that stands below the ranking."""
    rows = tuple(zip(*(column.cells for column in beside.columns), strict=True))
    left = len(rows) - MOST_ROWS
    more = (f"{left:,} more rows are in table.md.",) if left > 0 else ()
    titles, numeric = zip(*((column.title, column.numeric) for column in beside.columns), strict=True)
    return Grid(beside.title, titles, numeric, rows[:MOST_ROWS], beside.faint[:MOST_ROWS], more)
