"""What a report holds: one table per system, since run times of different systems share no ranking, and one of all."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.records.calibration import Calibration
from harness.report.answer import Standing, answer, chosen_notes, most_accurate
from harness.report.derived import COLLAPSED, is_unbalanced, overfitting_notes
from harness.report.drift import Drift
from harness.report.epochs import Curve, EpochsOf, some_late
from harness.report.fronts import Front
from harness.report.notes import SELECTED_ON_TEST, same_in_all
from harness.report.pictures import PictureFile
from harness.report.rows import Row
from harness.report.texts import TextColumn, TextTable, written
from harness.report.what_mattered import WhatMattered
from harness.results.answers import Family
from harness.results.columns import CONFIG_PRIORITY, RAN_PRIORITY, Column

LONGEST_NAME = 80


@dataclass(frozen=True)
class Table:
    """The configs of a suite on one system, ranked; and below them the tables that say more of them.

    Attributes:
        compared: the accuracies of the configs that are ranked, by which each verdict is found.
        published: the published numbers beside ours.
        mattered: what the factors of the suite do.
        effects: what that table says.
        prices: what the next point of accuracy costs along the front.
        raced: the answer of a race, if one decided which runs there are; its tests take stopping into account.
        race: its configs.
        cautions: what could change a decision: runs that failed, that others disturbed, that read less than all files.
        notes: what the numbers are, and what was not measured.
        fronts: over what was measured of time, energy and memory.
        curves: of the timed runs of each config, by config_id.
        budget: the train time that accuracies are compared at, if any.
        epochs_of: gives the events of a run's epochs; asked where something is drawn of them.
    """

    suite: str
    system_id: str
    system: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    compared: Family
    notes: tuple[str, ...]
    cautions: tuple[str, ...] = ()
    published: TextTable | None = None
    mattered: TextTable | None = None
    effects: WhatMattered | None = None
    drift: Drift | None = None
    prices: TextTable | None = None
    raced: tuple[str, ...] = ()
    race: TextTable | None = None
    fronts: tuple[Front, ...] = ()
    curves: Mapping[str, Sequence[Curve]] = field(default_factory=dict)
    budget: float | None = None
    calibration: Calibration | None = None
    epochs_of: EpochsOf = lambda run: {}

    @functools.cached_property
    def first(self) -> Standing | None:
        """Which config is the most accurate, and what may be as good."""
        return most_accurate(self)

    @functools.cached_property
    def answer(self) -> tuple[str, ...]:
        """What is most accurate and what is fastest, in sentences: every output shows these."""
        return self.raced or tuple(answer(self))

    @functools.cached_property
    def every_note(self) -> tuple[str, ...]:
        """Cautions, notes, and what a reader of the columns that are shown must know."""
        of_columns = {
            "test_accuracy": chosen_notes(self.first),
            "collapsed": (COLLAPSED,),
            "overfitting": overfitting_notes(self.rows),
            "selected_on_test_test_accuracy": (SELECTED_ON_TEST,),
        }
        shown = {column.name for column in self.shown()}
        own = [note for name, notes in of_columns.items() if name in shown for note in notes]
        return (*self.cautions, *self.notes, *own)

    @functools.cached_property
    def ranking(self) -> TextTable:
        """The table itself, as people read it."""
        faint = tuple(not row.ranked for row in self.rows)
        return TextTable(f"{self.suite} on {self.system}", tuple(self.written()), faint, (), self.every_note)

    def beside(self) -> list[TextTable]:
        """Returns the tables that stand below the ranking."""
        return [beside for beside in (self.race, self.prices, self.published, self.mattered) if beside]

    def written(self) -> list[TextColumn]:
        """Returns the columns that are shown, as people read them."""
        return [written(column, self.cells(column)) for column in self.shown()]

    def shown(self) -> list[Column]:
        """Returns the columns that tell a reader something; the others are only in the files."""
        return [column for column in self.columns if column.priority is not None and self._tells(column)]

    def cells(self, column: Column) -> list[Any]:
        """Returns a column's values, a row each."""
        return [row.values.get(column.name) for row in self.rows]

    def _tells(self, column: Column) -> bool:
        cells = self.cells(column)
        if column.name == "on_front":
            return any(cells)
        if column.name == "collapsed":
            return any(row.values["collapsed_runs"] for row in self.rows)
        if column.name == "test_macro_recall":
            return is_unbalanced(self.rows)
        if column.name == "evaluated_by_budget":
            return some_late(self.rows)
        if column.name == "peak_host_rss_bytes":
            on_device = ("peak_device_allocated_bytes", "peak_device_process_bytes")
            return not any(row.values[name] for row in self.rows for name in on_device) and any(cells)
        if column.priority in (CONFIG_PRIORITY, RAN_PRIORITY):
            return not same_in_all(self.rows, column)
        return any(cell is not None for cell in cells)


@dataclass(frozen=True)
class Report:
    """All that the renderings need.

    Attributes:
        runs: the table of them, by column; in the order of the suite's file, anchors last.
        pictures: what `harness visualize` drew of these runs.
        selection: of the suite, as `--only` has it: the report of a part has files of its own.
        trial: what `--set` changed in a suite that was run without: such a report has files of its own, too.
    """

    suite: str
    tables: tuple[Table, ...]
    runs: Mapping[str, Sequence[Any]]
    notes: tuple[str, ...]
    pictures: tuple[PictureFile, ...] = ()
    selection: tuple[str, ...] = ()
    trial: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The folder of its files, from that of the suite's results, e.g. `only-model.name=resnet18+seed=0`; empty for
        that one itself.
        """
        parts = {"set": self.trial, "only": self.selection}
        return _folder_name("+".join(f"{how}-{'+'.join(words)}" for how, words in parts.items() if words))


def _folder_name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._=+-]+", "-", text)
    if name != text or len(name) > LONGEST_NAME:  # two selections never share a folder
        name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return name
