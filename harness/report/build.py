"""From a suite with its results to its report: one table per system, ranked, and before several one of all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import HarnessError, nearest
from harness.records.calibration import Calibration, read_calibrations
from harness.records.planned import folder_of
from harness.records.result import RunResult
from harness.records.store import RunFolder
from harness.report.derived import fraction_of_peak, guessing_shares, learned_values, peak_notes, target_values
from harness.report.drift import drift_note, drift_of, no_drift_note
from harness.report.epochs import (
    MOST_COLOURED,
    Curve,
    CurveOf,
    EpochsOf,
    budget_notes,
    budget_values,
    curve_of,
    curves_of,
    require_evaluation_by,
    with_budget_in_title,
)
from harness.report.fronts import front_values, fronts_of, price_table
from harness.report.notes import cautions, table_notes
from harness.report.pictures import PictureFile, pictures_of
from harness.report.published import side_by_side
from harness.report.race import race_answer, race_caution, race_table
from harness.report.rows import Row, build_rows
from harness.report.tables import Report, Table
from harness.report.texts import one_line
from harness.report.what_mattered import effect_table, what_mattered
from harness.results import columns as declared
from harness.results.all_systems import on_all_systems, with_published_of_systems
from harness.results.answers import Family
from harness.results.columns import Column
from harness.results.factors import Design, design_of
from harness.results.frame import run_values
from harness.results.measured import measured_configs
from harness.results.study import Study

DEFAULT_SORT = "test_accuracy"
NO_FACTORS = (
    "Effects are not shown: the suite's factors were not kept beside these results, as by an earlier version. "
    "`harness report SUITE.yaml` shows them."
)


@dataclass(frozen=True)
class Options:
    """What a person may choose.

    Attributes:
        sort: a column's name; accuracies and throughputs descend, times and sizes ascend.
        with_resumed: times of runs that went on from a checkpoint count too.
        budget_seconds: train time that accuracies are compared at; None for the suite's own, if it has one.
    """

    sort: str = DEFAULT_SORT
    with_resumed: bool = False
    budget_seconds: float | None = None


@dataclass(frozen=True)
class Stored:
    """What lies beside the records of a suite's runs.

    Attributes:
        calibrations: of the systems that were calibrated, by system_id.
        curve_of: gives the evaluations of a run; each is read where it is asked for.
        epochs_of: gives the events of its epochs.
        pictures: of the runs.
        notes: gives what could not be read so far.
    """

    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    curve_of: CurveOf = lambda run: None
    epochs_of: EpochsOf = lambda run: {}
    pictures: Sequence[PictureFile] = ()
    notes: Callable[[], Sequence[str]] = tuple


def read_stored(study: Study) -> Stored:
    """Returns what lies beside the records of a suite's runs."""
    calibrations, unreadable = read_calibrations(study.root, (result.system_id for result in study.results))
    notes = [f"Unreadable record {path}: {reason}." for path, reason in unreadable.items()]
    curves: dict[int, Curve | None] = {}

    def folder(run: RunResult) -> RunFolder:
        return folder_of(study.root, study.name, run)

    def curve(run: RunResult) -> Curve | None:
        if id(run) not in curves:
            epochs, odd = folder(run).epochs_and_problem()
            curves[id(run)] = None if odd else curve_of(epochs)
            if odd:
                notes.append(f"Unreadable line in {folder(run).path}/events.jsonl: {odd}. The run's curve is left out.")
        return curves[id(run)]

    pictures = [one for run in study.results for one in pictures_of(run, folder(run), study.folder)]
    return Stored(calibrations, curve, lambda run: folder(run).epochs(), pictures, lambda: notes)


def build_report(
    study: Study, options: Options | None = None, stored: Stored | None = None, *, every_curve: bool = True
) -> Report:
    """Returns the report on the results of a suite.

    Args:
        stored: by default what is read from disk.
        every_curve: of all configs, as the page needs them; else those of the charts in files, or of a budget.

    Raises:
        HarnessError: there is no column to sort by, or no run was evaluated within the budget that was asked for.
    """
    options, stored = options or Options(), stored or read_stored(study)
    budget = options.budget_seconds or study.question.budget
    runs = _in_order(study)
    by_column = run_values(runs)
    columns, rows = build_rows(study, runs, by_column, with_resumed=options.with_resumed)
    columns = with_budget_in_title(columns, budget)
    sortable = declared.sortable(columns)
    if rows and options.sort not in sortable:
        raise HarnessError(f"cannot sort by '{options.sort}': no such column", nearest(options.sort, sortable))

    design = design_of(study.specs, study.question.factors or [])
    most = None if every_curve or budget else MOST_COLOURED
    together = on_all_systems(study)
    each = with_published_of_systems(study) if together else study
    tables = tuple(
        _table(each, stored, name, own, columns, sortable[options.sort], budget, most, design)
        for name, own in _by_system(rows)
    )
    if budget and options.budget_seconds and tables:  # of a suite's file it is no error
        require_evaluation_by(budget, [table.curves for table in tables])
    if together:
        tables = _together(together, stored, columns, sortable[options.sort], design), *tables
    notes, overrides = [] if rows else [f"No results of {study.name} yet."], study.question.overrides
    notes += [f"Overrides: {json.dumps(overrides)}."] * bool(overrides)
    notes += [*study.notes, *stored.notes()]
    return Report(study.name, tables, by_column, tuple(notes), tuple(stored.pictures), study.selection, study.trial)


def _together(study: Study, stored: Stored, columns: tuple[Column, ...], sort: Column, design: Design | None) -> Table:
    """Returns the table of what runs of several systems have in common: no time, no memory."""

    def epochs_of(run: RunResult) -> Mapping[int, Mapping[str, Any]]:
        return {number: {**one, "train_seconds": None} for number, one in stored.epochs_of(run).items()}

    [(name, rows)] = _by_system(build_rows(study, study.results, run_values(study.results))[1])
    if all(row.values.get(sort.name) is None for row in rows):
        sort = declared.sortable(columns)[DEFAULT_SORT]
    return _table(study, Stored(epochs_of=epochs_of), name, rows, columns, sort, None, None, design)


def _in_order(study: Study) -> list[RunResult]:
    """Returns the results in the order of the suite's file: by config, then by seed, then by system; anchors last."""
    places = {config_id: place for place, config_id in enumerate(study.labels)}

    def place(run: RunResult) -> tuple[Any, ...]:
        repeat = run.spec.get("repeat") or 0
        return run.is_anchor, places[run.config_id], run.seed, repeat, run.system_id

    return sorted(study.results, key=place)


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
    study: Study,
    stored: Stored,
    system: str,
    measured: Sequence[Row],
    columns: tuple[Column, ...],
    sort: Column,
    budget: float | None,
    most_curves: int | None,
    design: Design | None,
) -> Table:
    """Returns what there is to say of one system, with the curves of so many configs; None for those of all."""
    fronts = fronts_of(measured)
    on_fronts = front_values(measured, fronts)
    measured = [row.having(on_fronts[row.config_id]) for row in measured]
    curves = curves_of(measured, stored.curve_of, most_curves)
    guessing = guessing_shares(measured, lambda run: folder_of(study.root, study.name, run).path / "predictions.npz")
    calibration = stored.calibrations.get(measured[0].system_id)
    rows = [
        row.having(
            {"fraction_of_peak": fraction_of_peak(row.ok_for("throughput.samples_per_second"), calibration)},
            target_values(row, stored.curve_of),
            learned_values(row, guessing),
            budget_values(curves.get(row.config_id, ()), budget),
        )
        for row in measured
    ]
    margin, system_id = study.question.margin, rows[0].system_id
    labels, resumed = {row.config_id: row.label for row in rows}, rows[0].with_resumed
    every = measured_configs(study.name, labels, study.results, study.root, system=system_id, with_resumed=resumed)
    configs = {one.config_id: one for one in every}
    compared = Family("accuracy", [configs[row.config_id] for row in rows if row.ranked], margin)
    stopped = study.race is not None and bool(study.race.left)  # the seeds of some are few because of what they gave
    effects = None if stopped else what_mattered(design, configs, margin, selected=bool(study.selection))
    here = [run for run in study.results if run.system_id == system_id]
    drift = drift_of(here)
    drifted = [note for note in [drift_note(drift) if drift else no_drift_note(here)] if note]
    is_sure = drift is not None and drift.is_sure
    told_once = [one for one in columns if one.priority in (declared.CONFIG_PRIORITY, declared.RAN_PRIORITY)]
    named = f"{study.name} on {system}"
    return Table(
        suite=study.name,
        system_id=system_id,
        system=system,
        columns=columns,
        rows=tuple(sorted(rows, key=lambda row: (0 if row.ranked else 1 if row.ok else 2, *row.place_by(sort)))),
        compared=compared,
        notes=(
            *table_notes(rows, told_once, study.labels),
            *peak_notes([run for row in rows for run in row.ok], calibration),
            *budget_notes(rows, curves, budget),
            *(() if is_sure else drifted),
            *[NO_FACTORS] * (study.question.factors is None and len(study.specs) > 3),
        ),
        cautions=(*(race_caution(study.race) if study.race else ()), *cautions(rows), *(drifted if is_sure else ())),
        raced=race_answer(study.race, [run for row in rows for run in row.runs]) if study.race else (),
        race=race_table(f"The race of {named}", study.race) if study.race and study.race.looks else None,
        published=side_by_side(f"Published numbers beside {named}", rows, study),
        prices=price_table(f"Price list of {named}", fronts, compared),
        mattered=effect_table(f"What mattered in {named}", effects, study.labels) if effects else None,
        effects=effects,
        fronts=tuple(fronts),
        curves=curves,
        budget=budget,
        drift=drift,
        calibration=calibration,
        epochs_of=stored.epochs_of,
    )
