"""From a suite with its results to a report that is shown and written."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.counted import counted
from harness.records.calibration import read_calibrations
from harness.records.planned import folder_of
from harness.records.result import RunResult
from harness.records.store import RunFolder
from harness.report.build import Material, build_report
from harness.report.formats.machine import as_json
from harness.report.formats.terminal import show
from harness.report.normalised import NORMALISED, normalised_table
from harness.report.numbers.curves import Curve, curve_of
from harness.report.options import DEFAULT_SORT, Options
from harness.report.page.sections import PageSource
from harness.report.page.write import commands_for, write_page
from harness.report.pictures import pictures_of
from harness.report.tables import Report
from harness.report.write import ReportFiles
from harness.results.study import Study


@dataclass(frozen=True)
class _Config:
    config_id: str
    label: str


def report_suite(
    study: Study,
    console: Console,
    options: Options | None = None,
    *,
    json_wanted: bool = False,
    page_wanted: bool = False,
    explain: bool = False,
) -> Report:
    """Writes the tables of a suite with the charts into its folder, shows the answer, and returns them.

    Args:
        console: stderr, for what was written and left out.
        json_wanted: JSON on stdout instead of tables.
        page_wanted: also all of it as a page, `report.html`.
        explain: show all notes, and the tables below the ranking.

    Raises:
        HarnessError: no column to sort by, no run within the budget, a system that is not calibrated or unknown, or a
            folder that cannot be written.
    """
    report, source = _show_and_write(
        study, console, options, json_wanted=json_wanted, for_page=page_wanted, explain=explain
    )
    if source:
        _write_page(study.folder / report.place, [source], console)
    return report


def report_suites(studies: Sequence[Study], console: Console, options: Options | None) -> list[Report]:
    """Does so for each of several suites, and writes one page of them all into the results root of the first."""
    made = [_show_and_write(study, console, options, json_wanted=False, for_page=True) for study in studies]
    _write_page(studies[0].root, [source for _, source in made if source], console)
    return [report for report, _ in made]


def _show_and_write(
    study: Study,
    console: Console,
    options: Options | None,
    *,
    json_wanted: bool,
    for_page: bool,
    explain: bool = False,
) -> tuple[Report, PageSource | None]:
    """Writes, shows and returns a suite's report, and what its page is made from, where one is wanted.

    The files are written first: whatever becomes of the terminal, they are there.
    """
    report = build_suite_report(study, options)
    folder = study.folder / report.place
    with ReportFiles(report, for_page=for_page) as files:
        written = files.write(folder)
        charts, missing = files.charts, files.charts_missing()
    if json_wanted:
        sys.stdout.write(json.dumps(as_json(report), indent=1) + "\n")
    else:
        show(report, explain=explain)
    more = counted(len(written) - 1, "more file")
    console.print(f"all columns, effects and notes: {folder}/table.md, with {more} beside it", soft_wrap=True)
    if not for_page:
        return report, None
    source = PageSource(
        report=report,
        folder=study.folder,
        question=study.question.description,
        systems=study.systems,
        charts=charts,
        commands=commands_for(study),
        charts_missing=missing,
    )
    return report, source


def _write_page(folder: Path, sources: Sequence[PageSource], console: Console) -> None:
    path = write_page(folder, sources)
    suites = ", ".join(source.report.suite for source in sources)
    console.print(
        f"page of {suites}: {path} ({path.stat().st_size / 1e6:.1f} MB, opens in any browser)", soft_wrap=True
    )


def build_suite_report(study: Study, options: Options | None = None) -> Report:
    """Returns the report on the results of a suite."""
    options = options or Options()
    material = _material(study)
    if options.relative_to is None:
        return build_report(material, options)
    # A column of the normalised table is none of the others'.
    sort = DEFAULT_SORT if options.sort == NORMALISED.name else options.sort
    report = build_report(material, dataclasses.replace(options, sort=sort))
    normalised = normalised_table(report, material.calibrations, options.relative_to, options.sort)
    return dataclasses.replace(report, normalised=normalised)


def _material(study: Study) -> Material:
    """Returns what the suite and the disk have to say."""
    notes = list(study.notes)
    calibrations, unreadable = read_calibrations(study.root, (result.system_id for result in study.results))
    notes += [f"Unreadable record {path}: {reason}." for path, reason in unreadable.items()]

    def folder(run: RunResult) -> RunFolder:
        return folder_of(study.root, study.name, run)

    curves: dict[tuple[str, str], Curve | None] = {}
    for run in study.results:
        own = folder(run)
        epochs, odd = own.epochs_and_problem()
        curves[run.run_id, run.system_id] = None if odd else curve_of(epochs)
        if odd:
            notes.append(f"Unreadable line in {own.path}/events.jsonl: {odd}. The run's curve is left out.")

    references = study.references()
    return Material(
        suite=study.name,
        results=study.results,
        systems=study.systems,
        calibrations=calibrations,
        planned=[_Config(config_id, label) for config_id, label in study.labels.items()],
        references=references,
        overrides=study.question.overrides,
        specs=study.specs,
        budget_seconds=study.question.budget,
        margin=study.question.margin,
        output=study.root,
        selection=study.selection,
        pictures=[picture for run in study.results for picture in pictures_of(run, folder(run), study.folder)],
        notes=notes,
        at_epoch=lambda run, name, epoch: folder(run).metric_at(name, epoch),
        curve_of=lambda run: curves[run.run_id, run.system_id],
        epochs_of=lambda run: folder(run).epochs(),
    )
