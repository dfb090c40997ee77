"""From a plan and what lies on disk to a report that is shown and written."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.counted import counted
from harness.errors import HarnessError
from harness.records.calibration import read_calibrations
from harness.records.planned import folder_of
from harness.records.read import SuiteResults
from harness.records.result import RunResult
from harness.records.store import RunFolder
from harness.report.build import Material, build_report
from harness.report.factors.crossing import crossings_of
from harness.report.factors.design import design_of
from harness.report.formats.machine import as_json
from harness.report.formats.terminal import show
from harness.report.normalised import NORMALISED, normalised_table
from harness.report.numbers.curves import Curve, curve_of
from harness.report.options import DEFAULT_SORT, Options
from harness.report.page.parts import Source
from harness.report.page.write import commands_for, write_page
from harness.report.pictures import pictures_of
from harness.report.tables import Report
from harness.report.write import ReportFiles
from harness.results.unplanned import in_what_they_differ
from harness.spec import RunSpec, is_identity
from harness.suite.plan import Plan


@dataclass(frozen=True)
class _Config:
    config_id: str
    label: str


def report_suite(
    plans: Sequence[Plan],
    stored: SuiteResults,
    output: Path,
    console: Console,
    options: Options | None = None,
    *,
    json_wanted: bool = False,
    page_wanted: bool = False,
    explain: bool = False,
) -> Report:
    """Writes the tables of a suite with the charts into `output/SUITE/`, shows the answer, and returns them.

    Args:
        plans: of one suite, for each world size that configs without `num_processes` may have been run at.
        stored: the suite's results.
        output: the results root.
        console: stderr, for what was written and left out.
        json_wanted: JSON on stdout instead of tables.
        page_wanted: also all of it as a page, `report.html`.
        explain: show all notes, and the tables below the ranking.

    Raises:
        HarnessError: no result of the plans, no column to sort by, no run within the budget, a system that is not
            calibrated or unknown, or a folder that cannot be written.
    """
    report, source = _show_and_write(
        plans, stored, output, console, options, json_wanted=json_wanted, for_page=page_wanted, explain=explain
    )
    if source:
        _write_page(output / report.place, [source], console)
    return report


def report_suites(
    wanted: Sequence[tuple[Sequence[Plan], SuiteResults]], output: Path, console: Console, options: Options | None
) -> list[Report]:
    """Does so for each of several suites, and writes one page of them all into the results root."""
    made = [
        _show_and_write(plans, stored, output, console, options, json_wanted=False, for_page=True)
        for plans, stored in wanted
    ]
    _write_page(output, [source for _, source in made if source], console)
    return [report for report, _ in made]


def _show_and_write(
    plans: Sequence[Plan],
    stored: SuiteResults,
    output: Path,
    console: Console,
    options: Options | None,
    *,
    json_wanted: bool,
    for_page: bool,
    explain: bool = False,
) -> tuple[Report, Source | None]:
    """Writes, shows and returns a suite's report, and what its page is made from, where one is wanted.

    The files are written first: whatever becomes of the terminal, they are there.
    """
    require_results(plans, stored, output)
    report = build_suite_report(plans, stored, output, options)
    folder = output / report.place
    with ReportFiles(report, for_page=for_page) as files:
        written = files.write(folder)
        specs, missing = (files.specs(), files.charts_missing()) if for_page else ({}, "")
        charts = files.charts
    if json_wanted:
        sys.stdout.write(json.dumps(as_json(report), indent=1) + "\n")
    else:
        show(report, explain=explain)
    more = counted(len(written) - 1, "more file")
    console.print(f"all columns, effects and notes: {folder}/table.md, with {more} beside it", soft_wrap=True)
    if not for_page:
        return report, None
    source = Source(
        report=report,
        folder=output / report.suite,
        question=plans[0].suite.file.description,
        systems=stored.systems,
        charts=charts,
        specs=specs,
        commands=commands_for(plans[0].suite, output),
        charts_missing=missing,
    )
    return report, source


def require_results(plans: Sequence[Plan], stored: SuiteResults, output: Path) -> None:
    """Refuses a plan without results: its tables would be empty, and overwrite those of another plan.

    Raises:
        HarnessError: there is none; it says in what stored results differ from the plan.
    """
    planned = {run.run_id for plan in plans for run in plan.runs}
    if any(result.run_id in planned for result in stored.results):
        return
    suite = plans[0].suite.name
    odd = [f"{path}: {reason}" for path, reason in stored.unreadable.items()]
    if stored.results:
        count = counted(len(stored.results), "stored result")
        message = f"no results of this plan of {suite}, but {count} that it does not have"
        hint = f"they differ: {in_what_they_differ(stored.results, plans)}"
    elif odd:
        message, hint = f"no results of {suite} in {output} can be read", "; ".join(odd[:3])
    else:
        message, hint = (
            f"no results of {suite} in {output} yet",
            "run it: harness run SUITE, or name the root: --output",
        )
    raise HarnessError(message, hint)


def _write_page(folder: Path, sources: Sequence[Source], console: Console) -> None:
    path = write_page(folder, sources)
    suites = ", ".join(source.report.suite for source in sources)
    console.print(
        f"page of {suites}: {path} ({path.stat().st_size / 1e6:.1f} MB, opens in any browser)", soft_wrap=True
    )


def build_suite_report(
    plans: Sequence[Plan], stored: SuiteResults, output: Path, options: Options | None = None
) -> Report:
    """Returns the report on the stored results, of the results root `output`, that belong to the plans."""
    options = options or Options()
    material = _material(plans, stored, output)
    if options.relative_to is None:
        return build_report(material, options)
    # A column of the normalised table is none of the others'.
    sort = DEFAULT_SORT if options.sort == NORMALISED.name else options.sort
    report = build_report(material, dataclasses.replace(options, sort=sort))
    normalised = normalised_table(report, material.calibrations, options.relative_to, options.sort)
    return dataclasses.replace(report, normalised=normalised)


def _material(plans: Sequence[Plan], stored: SuiteResults, output: Path) -> Material:
    """Returns what the plans and the disk have to say."""
    suite = plans[0].suite
    planned = {run.run_id: run for plan in plans for run in plan.runs}
    results: list[RunResult] = [result for result in stored.results if result.run_id in planned]
    ran = {result.config_id for result in results}
    # Of several world sizes those that were not run are not missing: the suite leaves them open.
    configs = {config_id: spec for plan in plans for config_id, spec in plan.configs().items()}
    wanted = {i: spec for i, spec in plans[0].configs().items() if not ran or i in ran or len(plans) == 1}
    shown = wanted | {config_id: spec for config_id, spec in configs.items() if config_id in ran}

    notes = list(stored.notes)
    others = len(stored.results) - len(results)
    if others:
        left = [result for result in stored.results if result.run_id not in planned]
        difference = in_what_they_differ(left, plans)
        notes.append(f"Left out: {counted(others, 'stored result')} of no run of this plan ({difference}).")
    calibrations, unreadable = read_calibrations(output, (result.system_id for result in results))
    notes += [f"Unreadable record {path}: {reason}." for path, reason in {**stored.unreadable, **unreadable}.items()]

    def folder(run: RunResult) -> RunFolder:
        return folder_of(output, suite.name, run)

    curves: dict[tuple[str, str], Curve | None] = {}
    for run in results:
        own = folder(run)
        epochs, odd = own.epochs_and_problem()
        curves[run.run_id, run.system_id] = None if odd else curve_of(epochs)
        if odd:
            notes.append(f"Unreadable line in {own.path}/events.jsonl: {odd}. The run's curve is left out.")

    references = {config_id: own for plan in plans for config_id, own in plan.references().items()}
    return Material(
        suite=suite.name,
        results=results,
        systems=stored.systems,
        calibrations=calibrations,
        planned=[_Config(config_id, shown_label(spec, several=len(plans) > 1)) for config_id, spec in shown.items()],
        references={config_id: references[config_id] for config_id in shown if config_id in references},
        # What is no part of a run's identity changes no number, and a data root says nothing elsewhere.
        overrides={path: value for path, value in suite.overrides.items() if is_identity(path)},
        design=design_of(plans, shown.keys()),
        crossings=crossings_of(plans, shown.keys()) if results else (),
        budget_seconds=suite.file.budget,
        margin=suite.file.margin,
        output=output,
        selection=plans[0].selection,
        pictures=[picture for run in results for picture in pictures_of(run, folder(run), output / suite.name)],
        notes=notes,
        at_epoch=lambda run, name, epoch: folder(run).metric_at(name, epoch),
        curve_of=lambda run: curves[run.run_id, run.system_id],
        epochs_of=lambda run: folder(run).epochs(),
    )


def shown_label(spec: RunSpec, *, several: bool) -> str:
    """Returns a config's label; where world sizes share a table, with its own."""
    return f"{spec.label} on {spec.train.num_processes}" if several else spec.label
