"""What the page says of one suite, in its order, as plain data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.counted import counted
from harness.durations import duration_text
from harness.report.answer import advice
from harness.report.charts.learning_curves import shown_by_epoch
from harness.report.page.alternatives import grid_of
from harness.report.page.budgets import Taken, budgets
from harness.report.page.figures import Figures
from harness.report.page.gallery import MOST_BYTES, gallery
from harness.report.page.machines import machines
from harness.report.page.method import method
from harness.report.page.parts import Commands, Heading, Offer, Offers, Part, Says, Section, SuitePage
from harness.report.page.ranking import ranking
from harness.report.page.source import Source
from harness.report.page.unmeasured import why_not
from harness.report.tables import Table
from harness.report.texts import one_line
from harness.results.measured import count_by_status

NO_FACTORS = "The suite crosses no factors whose effects could be told apart."
NO_REFERENCES = "The suite names no published numbers."
NO_EPOCHS = "No epochs are on record, so there are no curves."


def suite_page(source: Source, key: str, folder: Path, picture_bytes: int = MOST_BYTES) -> SuitePage:
    """Returns all that the page says of a suite.

    Args:
        key: what the ids of its parts begin with.
        folder: of the page; links start from it.
        picture_bytes: that its pictures may take.
    """
    return _Sections(source, key, folder, picture_bytes).page()


class _Sections:
    def __init__(self, source: Source, key: str, folder: Path, picture_bytes: int) -> None:
        self._source, self._key, self._picture_bytes = source, key, picture_bytes
        self._href = "" if source.folder == folder else f"{Path(os.path.relpath(source.folder, folder)).as_posix()}/"
        self._tables = source.report.tables
        self._figures = [Figures(source, table, key, self._href) for table in self._tables]
        self._epochs = {table.system_id: shown_by_epoch(table) for table in self._tables}

    def page(self) -> SuitePage:
        report = self._source.report
        return SuitePage(
            self._key,
            one_line(report.suite),
            one_line(self._source.question),
            self._summary(),
            tuple(self._answer()),
            tuple(section for section in self._sections() if section.parts),
        )

    def _summary(self) -> str:
        runs = [run for run in self._source.report.runs if not run.is_anchor]
        if not runs:
            return "No results yet."
        systems = [one_line(table.system) for table in self._tables]
        configs = len({run.config_id for run in runs})
        seeds = len({run.seed for run in runs})
        of = f"{counted(configs, 'config')}, {counted(seeds, 'seed')}"
        return f"{counted(len(runs), 'run')} of {of}: {count_by_status(runs)}; on {' and '.join(systems)}"

    def _answer(self) -> Iterator[Part]:
        if not self._tables:
            yield Says(("There is no answer yet: no run of this suite has a result.",))
        for index, table in enumerate(self._tables):
            yield from self._heading(table)
            yield Says((" ".join(table.answer),))
            if table.cautions:
                yield Says(tuple(map(one_line, table.cautions)), as_list=True)
            offers = tuple(_offers(budgets(table)))
            if any(offer.listed for offer in offers):
                yield Offers(f"{self._key}-budget-{index}", offers)

    def _sections(self) -> Iterator[Section]:
        report = self._source.report
        yield self._section("accuracy", "Accuracy over train time", self._accuracy)
        yield self._section("cost", "Energy and memory", self._costs)
        yield self._section("curves", "Learning curves", self._curves)
        yield self._section("table", "All configs", self._table)
        yield self._section("factors", "Factors and interactions", self._factors)
        yield self._section("published", "Published against ours", self._published)
        yield self._section("phases", "Where the time goes", self._phases)
        yield self._section("telemetry", "Telemetry", self._telemetry)
        pictures = gallery(report.pictures, self._source.folder, self._href, self._picture_bytes)
        drawn = pictures or Says(("None were drawn. `harness visualize RUN --what filters` draws some.",))
        yield Section(f"{self._key}-pictures", "Pictures", (drawn,))
        yield Section(f"{self._key}-systems", "Systems", tuple(machines(self._source)))
        yield Section(f"{self._key}-method", "Method", tuple(method(self._source)))
        yield Section(f"{self._key}-again", "Run it again", (Commands(self._source.commands),))

    def _section(self, name: str, title: str, parts: Callable[[Figures, Table], Iterable[Part | None]]) -> Section:
        found: list[Part] = []
        for figures, table in zip(self._figures, self._tables, strict=True):
            own = [part for part in parts(figures, table) if part]
            found += [*self._heading(table), *own] if own else []
        return Section(f"{self._key}-{name}", title, tuple(found))

    def _heading(self, table: Table) -> list[Part]:
        return [Heading(one_line(table.system))] if len(self._tables) > 1 else []

    def _accuracy(self, figures: Figures, table: Table) -> Iterator[Part | None]:
        yield figures.over_time() or Says((self._source.charts_missing or "No config has both numbers.",))
        yield grid_of(table.prices) if table.prices else None

    def _costs(self, figures: Figures, table: Table) -> Iterator[Part | None]:
        yield figures.over_energy() or self._not_measured(table, "Energy", "energy.train_joules")
        yield figures.over_memory() or self._not_measured(table, "GPU memory", "memory.max_allocated_bytes")

    def _not_measured(self, table: Table, what: str, name: str) -> Says:
        reason = self._source.charts_missing if any(row.values[_COLUMN[name]] for row in table.rows) else ""
        return Says((reason or f"{what} was not measured: {why_not(table, name)}.",))

    def _curves(self, figures: Figures, table: Table) -> Iterator[Part | None]:
        shown = self._epochs[table.system_id]
        if not shown:
            yield Says((NO_EPOCHS,))
            return
        yield figures.learning(shown)
        yield figures.accuracy_curves()
        lost = [f"{one_line(one.row.label)} ({one.lost})" for one in shown if one.lost]
        yield Says((_lost(lost),)) if lost else None

    def _table(self, figures: Figures, table: Table) -> Iterator[Part | None]:
        yield ranking(table, f"{self._key}-table-{self._tables.index(table)}", self._href)

    def _factors(self, figures: Figures, table: Table) -> Iterator[Part | None]:
        yield figures.interactions()
        yield grid_of(table.mattered) if table.mattered else Says((NO_FACTORS,))

    def _published(self, figures: Figures, table: Table) -> Iterator[Part | None]:
        yield figures.published()
        yield grid_of(table.published) if table.published else Says((NO_REFERENCES,))

    def _phases(self, figures: Figures, table: Table) -> Iterator[Part | None]:
        yield figures.phases() or Says((self._source.charts_missing or "No run was timed.",))

    def _telemetry(self, figures: Figures, table: Table) -> Iterator[Part | None]:
        yield figures.over_epochs(self._epochs[table.system_id])
        yield Says((_gauges(table),))


_COLUMN = {"energy.train_joules": "train_joules", "memory.max_allocated_bytes": "peak_device_allocated_bytes"}


def _offers(found: Iterable[Taken]) -> Iterator[Offer]:
    for taken in found:
        more = " or more" if taken.whole else ""
        yield Offer(taken.seconds, f"{duration_text(taken.seconds)}{more}", advice(taken.standing), taken.listed)


def _lost(lost: list[str]) -> str:
    return f"Epochs without an event in every run are left out of the curves: {', '.join(lost)}."


def _gauges(table: Table) -> str:
    """Says what is known of the GPU's state: means of whole runs, or why there are none."""
    runs = [run for row in table.rows for run in row.ok_for("telemetry.gpu_utilization")]
    busy = [run.telemetry.gpu_utilization for run in runs if run.telemetry.gpu_utilization is not None]
    if busy:
        return (
            "The GPU's utilisation, power and clocks are sampled once a second and kept as means over the run, in the "
            f"table's columns; a run kept the GPU busy {min(busy):.0%} to {max(busy):.0%} of its train time."
        )
    return f"No samples of a GPU: {why_not(table, 'telemetry.gpu_utilization')}."
