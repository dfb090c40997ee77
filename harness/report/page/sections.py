"""What the page says of one suite, in its order, as plain data; a section of which nothing was measured is absent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.counted import counted
from harness.report.answer import advice
from harness.report.charts.chart import Grid, coloured
from harness.report.charts.of_report import INTERACTIONS, chart_name, endings_of
from harness.report.charts.theme import PALETTE
from harness.report.page.budgets import budget_rows, budgets
from harness.report.page.gallery import MOST_BYTES, gallery
from harness.report.page.parts import (
    Commands,
    Facts,
    Figure,
    Heading,
    Legend,
    Link,
    Notes,
    Offer,
    Offers,
    PageSection,
    PageSource,
    Part,
    Says,
    SuitePage,
    Tabled,
)
from harness.report.page.ranking import ranking
from harness.report.tables import Report, Table
from harness.report.texts import Beside, listed, notes_under, one_line, quoted
from harness.results.measured import count_by_status

MOST_ROWS = 100
NUMBERS = (
    "Train time is every step of every epoch: waiting for data, augmentation, forward, backward, step. Building, "
    "compiling, evaluation and checkpoints are on clocks of their own. Test accuracy is that of the last epoch. ± is "
    "half of the 95 % t interval of the mean over the seeds. For a budget, a config counts with its last evaluation "
    "within so much train time, once all its seeds have been evaluated: a schedule made for that budget may do better.",
)
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


def suite_page(source: PageSource, key: str, folder: Path, picture_bytes: int = MOST_BYTES) -> SuitePage:
    """Returns all that the page says of a suite.

    Args:
        key: what the ids of its parts begin with.
        folder: of the page; links start from it.
        picture_bytes: that its pictures may take.
    """
    report = source.report
    href = "" if source.folder == folder else f"{Path(os.path.relpath(source.folder, folder)).as_posix()}/"
    sections = _Sections(source, key, href).sections(picture_bytes)
    whole = tuple(section for section in sections if section.parts)
    answer = tuple(_answer(report, key))
    return SuitePage(key, one_line(report.suite), one_line(source.question), _summary(report), answer, whole)


def _summary(report: Report) -> str:
    runs = [run for run in report.runs if not run.is_anchor]
    if not runs:
        return "No results yet."
    systems = [one_line(table.system) for table in report.tables]
    configs = len({run.config_id for run in runs})
    seeds = len({run.seed for run in runs})
    of = f"{counted(configs, 'config')}, {counted(seeds, 'seed')}"
    return f"{counted(len(runs), 'run')} of {of}: {count_by_status(runs)}; on {' and '.join(systems)}"


def _answer(report: Report, key: str) -> Iterator[Part]:
    """The answer; beside it what could change a decision, e.g. that others used the machine; and the budgets."""
    if not report.tables:
        yield Says(("There is no answer yet: no run of this suite has a result.",))
    for index, table in enumerate(report.tables):
        yield from _heading(report, table)
        yield Says((" ".join(table.answer),))
        if table.cautions:
            yield Says(tuple(map(one_line, table.cautions)), caution=True)
        found = budgets(table)
        if rows := budget_rows(found):
            offers = tuple(Offer(one.seconds, one.text, advice(one.standing)) for one in found)
            yield Offers(f"{key}-budget-{index}", offers, tuple(rows))
        if untimed := [quoted(row.label) for row in table.rows if row.ranked and not row.values["train_seconds"]]:
            yield Says((f"No train time counts of {listed(untimed)}: for a budget they are not taken into account.",))


def _heading(report: Report, table: Table) -> list[Part]:
    return [Heading(one_line(table.system))] if len(report.tables) > 1 else []


class _Sections:
    def __init__(self, source: PageSource, key: str, href: str) -> None:
        self._source, self._report, self._key, self._href = source, source.report, key, href

    def sections(self, picture_bytes: int) -> Iterator[PageSection]:
        source = self._source
        yield self._section("accuracy", "Accuracy over train time", self._accuracy)
        yield self._section("table", "All configs", lambda table: [self._ranking(table)])
        yield self._section(
            "curves", "Learning curves", lambda table: self._figures(table, "curves", "learning_curves")
        )
        costs = ("accuracy_over_energy", "accuracy_over_memory")
        yield self._section("cost", "Energy and memory", lambda table: self._figures(table, *costs))
        yield self._section("factors", "Factors and interactions", self._factors)
        yield self._section("published", "Published against ours", lambda table: _tabled(table.published))
        yield self._section("phases", "Where the time goes", lambda table: self._figures(table, "phases", legend=False))
        yield self._section("telemetry", "Telemetry", self._telemetry)
        pictures = gallery(self._report.pictures, source.folder, self._href, picture_bytes)
        yield PageSection(f"{self._key}-pictures", "Pictures", (pictures,) if pictures else ())
        yield PageSection(f"{self._key}-method", "How it was measured", tuple(self._method()))

    def _section(self, name: str, title: str, parts: Callable[[Table], Iterable[Part]]) -> PageSection:
        found: list[Part] = []
        for table in self._report.tables:
            own = list(parts(table))
            found += [*_heading(self._report, table), *own] if own else []
        return PageSection(f"{self._key}-{name}", title, tuple(found))

    def _figures(self, table: Table, *stems: str, legend: bool = True) -> list[Part]:
        """Returns the charts that were drawn, below one legend."""
        figures: list[Part] = [figure for stem in stems if (figure := self._figure(table, stem))]
        colours = coloured(table)
        if not figures or not legend or len(colours) < 2:
            return figures
        entries = tuple((name, f"c{PALETTE.index(colour)}") for name, colour in colours.values())
        return [Legend(entries, sum(row.ranked for row in table.rows) - len(entries)), *figures]

    def _figure(self, table: Table, stem: str) -> Figure | None:
        name = chart_name(stem, self._report, table)
        narrow = chart_name(f"{stem}_narrow", self._report, table)
        source = self._source
        if name not in source.specs:
            return None
        chart = source.charts[name]
        files = tuple(
            Link(ending.upper(), f"{self._href}{name}.{ending}") for ending in endings_of(stem, for_page=True)
        )
        wide, narrow = (f"{self._key}/{one}" for one in (name, narrow if narrow in source.specs else name))
        return Figure(f"{self._key}-chart-{name}", chart.title, chart.caption, wide, narrow, files, chart.grid)

    def _accuracy(self, table: Table) -> Iterator[Part]:
        missing = Says((self._source.charts_missing,)) if self._source.charts_missing else None
        yield from self._figures(table, "accuracy_over_time") or ([missing] if missing else [])
        yield from _tabled(table.prices)

    def _ranking(self, table: Table) -> Part:
        return ranking(table, f"{self._key}-table-{self._report.tables.index(table)}", self._href)

    def _factors(self, table: Table) -> Iterator[Part]:
        yield from self._figures(table, INTERACTIONS, legend=False)
        yield from _tabled(table.mattered)

    def _telemetry(self, table: Table) -> Iterator[Part]:
        yield from self._figures(table, "over_epochs")
        runs = [run for row in table.rows for run in row.ok_for("telemetry.gpu_utilization")]
        busy = [run.telemetry.gpu_utilization for run in runs if run.telemetry.gpu_utilization is not None]
        if busy:
            share = f"{min(busy):.0%} to {max(busy):.0%}"
            yield Says(
                (f"A run kept the GPU busy {share} of its train time; power and clocks are columns of the table.",)
            )

    def _method(self) -> Iterator[Part]:
        source, tables = self._source, self._report.tables
        yield Says(NUMBERS)
        if len(tables) > 1:
            yield Says(("Run times of different systems are never compared: each has its own charts and table.",))
        for table in tables:
            known = {**source.systems.get(table.system_id, {}), "system_id": table.system_id}
            facts = ((title, _fact(name, known[name])) for name, title in _FACTS.items() if known.get(name) is not None)
            yield Facts(one_line(table.system), tuple(facts))
            yield from _notes(notes_under(table.written(), table.every_note))
        yield from _notes(self._report.notes)
        yield Commands(source.commands)


def _notes(texts: Iterable[str]) -> Iterator[Part]:
    found = tuple(map(one_line, texts))
    if found:
        yield Notes(counted(len(found), "note"), found)


def _fact(name: str, value: object) -> str:
    if name.endswith("_bytes") and isinstance(value, int | float):
        return f"{value / 2**30:.1f} GiB"
    return one_line(str(value))


def _tabled(*tables: Beside | None) -> Iterator[Part]:
    """Yields tables that stand below the ranking, and after the last how they are read, each note once."""
    shown = [beside for beside in tables if beside]
    for beside in shown:
        rows = tuple(zip(*(column.cells for column in beside.columns), strict=True))
        left = len(rows) - MOST_ROWS
        more = (f"{left:,} more rows are in table.md.",) if left > 0 else ()
        titles, numeric = zip(*((column.title, column.numeric) for column in beside.columns), strict=True)
        yield Tabled(Grid(one_line(beside.title), titles, numeric, rows[:MOST_ROWS], beside.faint[:MOST_ROWS], more))
    texts = tuple(dict.fromkeys(note for beside in shown for note in beside.notes))
    if texts:
        yield Notes("How to read this", texts)
