"""From the results of a suite to its report: one table per system, ranked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import HarnessError, nearest
from harness.records.calibration import Calibration
from harness.records.planned import folder_of
from harness.records.result import RunResult
from harness.report.numbers.curves import (
    Budget,
    Curve,
    CurveOf,
    EpochsOf,
    budget_notes,
    curves_of,
    mark_accuracy_at,
    require_evaluation_by,
    with_budget_in_title,
)
from harness.report.numbers.fronts import mark_fronts
from harness.report.numbers.learned import mark_learned
from harness.report.numbers.noise import drift_notes, drift_of, left_out_notes, outlier_notes, outliers_of
from harness.report.numbers.notes import cautions, table_notes
from harness.report.numbers.peak import no_peak_notes
from harness.report.numbers.prices import price_table
from harness.report.numbers.published import AtEpoch, side_by_side
from harness.report.numbers.rows import Row, build_rows
from harness.report.numbers.time_to_target import mark_times_to_target
from harness.report.options import Options
from harness.report.pictures import PictureFile
from harness.report.tables import Report, Table
from harness.report.texts import one_line
from harness.report.what_mattered import effect_table, what_mattered
from harness.results import columns as declared
from harness.results.columns import Column
from harness.results.factors import Design, design_of
from harness.results.measured import measured_config

if TYPE_CHECKING:
    from harness.suite.file import Reference


class PlannedConfig(Protocol):
    """A config of the plan."""

    @property
    def config_id(self) -> str: ...
    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class Material:
    """What a report is made of.

    Attributes:
        suite: its name.
        results: of all systems, anchors among them.
        systems: by system_id; `name` is the title of its table.
        calibrations: of the systems that were calibrated, by system_id.
        planned: the configs of the suite, with their labels of today; may name a config more than once.
        references: published numbers by config_id, in the order in which they are shown.
        overrides: what the command line changed in the suite.
        specs: of the configs of the suite, in its order, by config_id; of those that have no result, too.
        budget_seconds: the suite's own.
        margin: the suite's own.
        output: the results root, where predictions lie.
        selection: of the suite, as `--only` has it.
        pictures: of these runs.
        notes: what to say under all tables, e.g. records that could not be read.
        at_epoch: gives metrics of epochs before the last.
        curve_of: gives the evaluations of a run.
        epochs_of: gives the events of its epochs.
    """

    suite: str
    results: Sequence[RunResult]
    systems: Mapping[str, Mapping[str, Any]]
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    planned: Sequence[PlannedConfig] = ()
    references: Mapping[str, Sequence[Reference]] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    budget_seconds: float | None = None
    margin: float | None = None
    output: Path = Path()
    selection: Sequence[str] = ()
    pictures: Sequence[PictureFile] = ()
    notes: Sequence[str] = ()
    at_epoch: AtEpoch = lambda run, name, epoch: None
    curve_of: CurveOf = lambda run: None
    epochs_of: EpochsOf = lambda run: {}

    def labels(self) -> dict[str, str]:
        """Returns the label of each config by its id."""
        return {config.config_id: config.label or config.config_id for config in self.planned}

    def design(self) -> Design | None:
        """Returns what the suite varies, by the configs that are planned, or else by those that have results."""
        return design_of(self.specs or {run.config_id: run.spec for run in self.results})


def build_report(material: Material, options: Options | None = None) -> Report:
    """Returns the report; its normalised table is made from it (`harness.report.normalised`).

    Raises:
        HarnessError: there is no column to sort by, or no run was evaluated within the budget that was asked for.
    """
    options = options or Options()
    budget = _budget(material, options)
    runs = [run for run in material.results if not run.is_anchor]
    columns, rows = build_rows(
        runs,
        material.systems,
        material.labels(),
        with_resumed=options.with_resumed,
        calibrations=material.calibrations,
    )
    columns = with_budget_in_title(columns, budget)
    sortable = declared.sortable(columns)
    if runs and options.sort not in sortable:
        raise HarnessError(f"cannot sort by '{options.sort}': no such column", nearest(options.sort, sortable))

    systems, design = _by_system(rows), material.design()
    curves = [curves_of(own, material.curve_of) for _, own in systems]
    require_evaluation_by(budget, curves)
    tables = [
        _table(material, system, own, columns, options.sort, budget, its_curves, design)
        for (system, own), its_curves in zip(systems, curves, strict=True)
    ]
    return Report(
        material.suite,
        tuple(tables),
        columns,
        tuple(_in_order(material)),
        tuple(_notes(material, any_runs=bool(runs))),
        tuple(material.pictures),
        selection=tuple(material.selection),
    )


def _in_order(material: Material) -> list[RunResult]:
    """Returns the results in the order of the suite's file: by config, then by seed, then by system; anchors last."""
    config_ids = dict.fromkeys([*material.labels(), *(run.config_id for run in material.results)])
    places = {config_id: place for place, config_id in enumerate(config_ids)}

    def place(run: RunResult) -> tuple[Any, ...]:
        repeat = run.spec.get("repeat") or 0
        return run.is_anchor, places[run.config_id], run.seed, repeat, run.system_id

    return sorted(material.results, key=place)


def _budget(material: Material, options: Options) -> Budget | None:
    if options.budget_seconds:
        return Budget(options.budget_seconds, required=True)
    return Budget(material.budget_seconds) if material.budget_seconds else None


def _notes(material: Material, *, any_runs: bool) -> Iterable[str]:
    if not any_runs:
        yield f"No results of {material.suite} yet."
    if material.overrides:
        yield f"Overrides: {json.dumps(material.overrides)}."
    yield from material.notes


def _by_system(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Returns the rows of each system with its name, in the order of the names; equal ones have the ids in them."""
    rows_of: dict[str, list[Row]] = {}
    for row in rows:
        rows_of.setdefault(row.system_id, []).append(row)
    names = {system_id: one_line(str(own[0].values["system"])) for system_id, own in rows_of.items()}
    count = Counter(names.values())
    unique = {id_: name + (f" ({id_})" if count[name] > 1 else "") for id_, name in names.items()}
    return [(unique[id_], rows_of[id_]) for id_ in sorted(rows_of, key=lambda id_: (names[id_], id_))]


def _table(
    material: Material,
    system: str,
    rows: list[Row],
    columns: tuple[Column, ...],
    sort: str,
    budget: Budget | None,
    curves: Mapping[str, Sequence[Curve]],
    design: Design | None,
) -> Table:
    """Returns what there is to say of one system."""
    facts, suite = (rows[0].system_id, str(rows[0].values["system"])), material.suite
    mark_times_to_target(rows, material.curve_of)
    mark_learned(rows, lambda run: folder_of(material.output, suite, run).path / "predictions.npz")
    mark_accuracy_at(rows, curves, budget)
    fronts = mark_fronts(rows)

    labels = material.labels()
    calibration = material.calibrations.get(facts[0])
    configs = {
        row.config_id: measured_config(
            suite, row.label, row.config_id, row.runs, material.output, with_resumed=row.with_resumed
        )
        for row in rows
    }
    effects = what_mattered(design, configs, material.margin, selected=bool(material.selection))
    outliers = tuple(outliers_of(rows))
    anchors = _anchors(material.results, facts[0])
    drift = drift_of(anchors)
    has_drifted = drift is not None and drift.is_sure
    said = [column for column in columns if column.priority in (declared.CONFIG_PRIORITY, declared.RAN_PRIORITY)]
    mattered = f"What mattered in {suite} on {system}"
    return Table(
        suite=suite,
        system_id=facts[0],
        system=system,
        columns=columns,
        rows=tuple(_ranked(rows, declared.sortable(columns)[sort])),
        notes=(
            *table_notes(rows, said, labels),
            *no_peak_notes([run for row in rows for run in row.ok], calibration),
            *budget_notes(rows, curves, budget),
            *(() if has_drifted else drift_notes(drift)),
            *left_out_notes(anchors),
        ),
        cautions=(*cautions(rows), *(drift_notes(drift) if has_drifted else ()), *outlier_notes(outliers)),
        published=side_by_side(
            f"Published numbers beside {suite} on {system}",
            *facts,
            rows,
            material.references,
            labels,
            material.overrides,
            material.at_epoch,
        ),
        prices=price_table(f"Price list of {suite} on {system}", *facts, fronts),
        mattered=effect_table(mattered, *facts, effects, labels) if effects else None,
        effects=effects,
        curves=curves,
        budget=budget,
        drift=drift,
        outliers=outliers,
        calibration=calibration,
        configs=tuple(configs[row.config_id] for row in rows if row.ranked),
        margin=material.margin,
        epochs_of=material.epochs_of,
    )


def _anchors(runs: Sequence[RunResult], system_id: str) -> list[RunResult]:
    """Returns a system's anchors; the run that they repeat is one of them."""
    here = [run for run in runs if run.system_id == system_id]
    repeated = {(run.config_id, run.seed) for run in here if run.is_anchor}
    return [run for run in here if (run.config_id, run.seed) in repeated]


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
