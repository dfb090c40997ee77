"""The report of a suite: one table per system, since run times of different systems share no ranking."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.errors import HarnessError, nearest
from harness.records.calibration import Calibration
from harness.records.result import RunResult
from harness.report import columns as declared
from harness.report.columns import Column
from harness.report.crossing import Crossing
from harness.report.curves import (
    Budget,
    Curve,
    CurveOf,
    budget_notes,
    curves_of,
    mark_accuracy_at,
    require_evaluation_by,
    some_late,
    with_budget_in_title,
)
from harness.report.drift import Drift, drift_notes, drift_of
from harness.report.effects import factor_table
from harness.report.factors import Design
from harness.report.fronts import mark_fronts
from harness.report.mattered import WhatMattered, mattered_table, what_mattered
from harness.report.notes import overfitting_notes, same_in_all, table_notes
from harness.report.outliers import Outlier, outlier_notes, outliers_of
from harness.report.peak import no_peak_notes, peak_notes
from harness.report.pictures import PictureFile
from harness.report.prices import price_table
from harness.report.published import AtEpoch, Reference, side_by_side
from harness.report.rows import Row, build_rows
from harness.report.texts import Beside, Written, one_line, written
from harness.report.time_to_target import some_missed, target_values

DEFAULT_SORT = "test_accuracy"


class PlannedConfig(Protocol):
    """A config of the plan."""

    @property
    def config_id(self) -> str: ...
    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class Table:
    """The configs of a suite on one system, ranked; and below them the tables that say more of them.

    Attributes:
        published: the published numbers beside ours.
        factors: what the factors of the suite do.
        mattered: a table of main effects and interactions for each number.
        effects: what those tables say.
        prices: what the next point of accuracy costs along the front.
        curves: of the timed runs of each config, by config_id.
        budget: the train time that accuracies are compared at, if any.
    """

    suite: str
    system_id: str
    system: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    published: Beside | None = None
    factors: Beside | None = None
    mattered: tuple[Beside, ...] = ()
    effects: tuple[WhatMattered, ...] = ()
    drift: Drift | None = None
    outliers: tuple[Outlier, ...] = ()
    prices: Beside | None = None
    curves: Mapping[str, Sequence[Curve]] = field(default_factory=dict)
    budget: Budget | None = None
    calibration: Calibration | None = None

    def beside(self) -> list[Beside]:
        """Returns the tables that stand below the ranking."""
        return [beside for beside in (self.prices, self.published, self.factors, *self.mattered) if beside]

    def written(self) -> list[Written]:
        """Returns the columns that are shown, as people read them."""
        ran = [run for row in self.rows for run in row.ok]
        own = {
            "overfitting": overfitting_notes(self.rows),
            "fraction_of_peak": peak_notes(ran, self.calibration),
        }
        return [written(column, self.cells(column), own.get(column.name, ())) for column in self.shown()]

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
        if column.name == "target_median_seconds":  # it says what the mean does, where every run reached the target
            return some_missed(self.rows)
        if column.name == "evaluated_by_budget":
            return some_late(self.rows)
        if column.name == "peak_host_rss_bytes":
            on_device = ("peak_device_allocated_bytes", "peak_device_process_bytes")
            return not any(row.values[name] for row in self.rows for name in on_device) and any(cells)
        if column.priority in (declared.CONFIG_PRIORITY, declared.RAN_PRIORITY):
            return not same_in_all(self.rows, column)
        return any(cell is not None for cell in cells)


@dataclass(frozen=True)
class Report:
    """All that the renderings need.

    Attributes:
        published: the published numbers of a suite that has no results; otherwise each table has its own.
        pictures: what `harness visualize` drew of these runs.
        normalised: one table of all systems, where it was asked for.
    """

    suite: str
    tables: tuple[Table, ...]
    columns: tuple[Column, ...]
    runs: tuple[RunResult, ...]
    notes: tuple[str, ...]
    published: Beside | None = None
    pictures: tuple[PictureFile, ...] = ()
    normalised: Beside | None = None

    def beside(self) -> list[Beside]:
        """Returns the tables that belong to no system."""
        return [beside for beside in (self.normalised, self.published) if beside]


def build_report(
    suite: str,
    results: Iterable[RunResult],
    systems: Mapping[str, Mapping[str, Any]],
    references: Mapping[str, Sequence[Reference]] | None = None,
    sort: str = DEFAULT_SORT,
    notes: Sequence[str] = (),
    planned: Sequence[PlannedConfig] = (),
    overrides: Mapping[str, Any] | None = None,
    design: Design | None = None,
    at_epoch: AtEpoch = lambda run, name, epoch: None,
    pictures: Sequence[PictureFile] = (),
    *,
    crossings: Sequence[Crossing] = (),
    with_resumed: bool = False,
    curve_of: CurveOf = lambda run: None,
    budget: Budget | None = None,
    calibrations: Mapping[str, Calibration] | None = None,
) -> Report:
    """Makes the report of a suite.

    Args:
        systems: by system_id; `name` is the title of its table.
        references: published numbers by config_id, in the order in which they are shown.
        sort: a column's name; accuracies and throughputs descend, times and sizes ascend.
        notes: what to say under all tables, e.g. records that could not be read.
        planned: the configs of the suite, with their labels of today; may name a config more than once.
        overrides: what the command line changed in the suite.
        design: the suite's factors, where their effects are wanted.
        at_epoch: gives metrics of epochs before the last.
        pictures: of these runs.
        crossings: the factors whose main effects and interactions are wanted.
        with_resumed: times of runs that went on from a checkpoint count too.
        curve_of: gives the evaluations of a run.
        budget: a train time that accuracies are compared at.
        calibrations: of the systems that were calibrated, by system_id.

    Raises:
        HarnessError: there is no column named `sort`, or no run was evaluated within a budget that is required.
    """
    every = tuple(results)
    runs = tuple(run for run in every if not run.is_anchor)
    references, overrides = references or {}, overrides or {}
    if overrides:
        notes = [f"Overrides: {json.dumps(overrides)}.", *notes]
    labels = {config.config_id: config.label or config.config_id for config in planned}
    columns, rows = build_rows(runs, systems, labels, with_resumed=with_resumed, calibrations=calibrations)
    columns = with_budget_in_title(columns, budget)
    sortable = declared.sortable(columns)
    if runs and sort not in sortable:
        raise HarnessError(f"cannot sort by '{sort}': no such column", nearest(sort, sortable))

    by_system: dict[str, list[Row]] = {}
    for row in rows:
        by_system.setdefault(row.system_id, []).append(row)
    curves = {system_id: curves_of(own, curve_of) for system_id, own in by_system.items()}
    require_evaluation_by(budget, list(curves.values()))
    fronts = {}
    for system_id, own in by_system.items():
        for row in own:
            row.values.update(target_values(row))
        mark_accuracy_at(own, curves[system_id], budget)
        fronts[system_id] = mark_fronts(own)
    names = {system_id: one_line(str(own[0].values["system"])) for system_id, own in by_system.items()}
    same_name = Counter(names.values())
    said = [column for column in columns if column.priority in (declared.CONFIG_PRIORITY, declared.RAN_PRIORITY)]
    tables = []
    for system_id, own in sorted(by_system.items(), key=lambda item: (names[item[0]], item[0])):
        system = names[system_id] + (f" ({system_id})" if same_name[names[system_id]] > 1 else "")
        facts = system_id, str(own[0].values["system"]), own
        calibration = (calibrations or {}).get(system_id)
        ran = [run for row in own for run in row.ok]
        beside = f"Published numbers beside {suite} on {system}"
        effects = f"Factors of {suite} on {system}"
        mattered = what_mattered(own, crossings)
        place = f"in {suite} on {system}"
        outliers = tuple(outliers_of(own))
        drift = _drift(every, system_id)
        tables.append(
            Table(
                suite=suite,
                system_id=system_id,
                system=system,
                columns=columns,
                rows=tuple(_ranked(own, sortable[sort])),
                notes=(
                    *table_notes(own, said, labels),
                    *no_peak_notes(ran, calibration),
                    *budget_notes(own, curves[system_id], budget),
                    *drift_notes(drift),
                    *outlier_notes(outliers),
                ),
                published=side_by_side(beside, *facts, references, labels, overrides, at_epoch),
                factors=factor_table(effects, *facts, design, labels) if design else None,
                prices=price_table(f"Price list of {suite} on {system}", *facts[:2], fronts[system_id]),
                curves=curves[system_id],
                budget=budget,
                mattered=tuple(mattered_table(place, *facts[:2], found) for found in mattered),
                effects=tuple(mattered),
                drift=drift,
                outliers=outliers,
                calibration=calibration,
            )
        )
    beside = f"Published numbers of {suite}"
    published = None if tables else side_by_side(beside, None, None, (), references, labels, overrides, at_epoch)
    no_results = () if runs else (f"No results of {suite} yet.",)
    return Report(suite, tuple(tables), tuple(columns), every, (*no_results, *notes), published, tuple(pictures))


def _drift(runs: Sequence[RunResult], system_id: str) -> Drift | None:
    """Returns what a system's anchors show; the run that they repeat is one of them."""
    here = [run for run in runs if run.system_id == system_id]
    repeated = {(run.config_id, run.seed) for run in here if run.is_anchor}
    return drift_of([run for run in here if (run.config_id, run.seed) in repeated])


def _ranked(rows: list[Row], column: Column) -> list[Row]:
    """Sorts the rows; those that are not ranked, and then those without a result, come last."""
    upwards = -1 if column.best == "high" else 1

    def place(row: Row) -> tuple[Any, ...]:
        value = declared.number(row.values.get(column.name))
        group = 0 if row.ranked else 1 if row.ok else 2
        if isinstance(value, int | float):
            return group, 0, upwards * value, "", row.label
        return group, 2 if value is None else 1, 0.0, str(value), row.label

    return sorted(rows, key=place)
