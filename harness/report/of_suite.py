"""From a plan and what lies on disk to a report that is shown and written."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.records.calibration import read_calibrations
from harness.records.result import RunResult
from harness.records.store import RunFolder, SuiteResults, run_folder
from harness.report.build import DEFAULT_SORT, Report, build_report
from harness.report.crossing import crossings_of
from harness.report.curves import Budget, Curve, curve_of
from harness.report.factors import design_of
from harness.report.machine import as_json
from harness.report.normalised import NORMALISED, normalised_table
from harness.report.pictures import pictures_of
from harness.report.terminal import show
from harness.report.write import write_report
from harness.spec import RunSpec, is_identity
from harness.suite import Plan


@dataclass(frozen=True)
class _Config:
    config_id: str
    label: str


def report_suite(
    plans: Sequence[Plan],
    stored: SuiteResults,
    output: Path,
    sort: str,
    console: Console,
    *,
    json_wanted: bool,
    with_resumed: bool = False,
    budget_seconds: float | None = None,
    relative_to: str | None = None,
) -> None:
    """Shows the tables of a suite on stdout and writes them with the chart into `output/SUITE/`.

    Args:
        plans: of one suite, for each world size that configs without `num_processes` may have been run at.
        stored: the suite's results.
        output: the results root.
        sort: a column's name; empty for the default.
        console: stderr, for what was written and left out.
        json_wanted: JSON on stdout instead of tables.
        with_resumed: times of runs that went on from a checkpoint count too.
        budget_seconds: train time that accuracies are compared at; None for the suite's own, if it has one.
        relative_to: the system, by name or id, whose times the normalised table gives; empty for the first; None for
            no such table.

    Raises:
        HarnessError: there is no column named `sort`, no run was evaluated within `budget_seconds`, or the folder
            cannot be written.
    """
    suite = plans[0].suite
    report = build_suite_report(
        plans,
        stored,
        output,
        sort or DEFAULT_SORT,
        with_resumed=with_resumed,
        budget_seconds=budget_seconds,
        relative_to=relative_to,
    )
    if json_wanted:
        sys.stdout.write(json.dumps(as_json(report), indent=1) + "\n")
    else:
        show(report)
    written = write_report(output / suite.name, report)
    console.print(f"written to {output / suite.name}/: {', '.join(path.name for path in written)}", soft_wrap=True)


def build_suite_report(
    plans: Sequence[Plan],
    stored: SuiteResults,
    output: Path,
    sort: str,
    *,
    with_resumed: bool = False,
    budget_seconds: float | None = None,
    relative_to: str | None = None,
) -> Report:
    """Returns the report on the stored results, of the results root `output`, that belong to the plans."""
    suite = plans[0].suite
    planned = {run.run_id: run for plan in plans for run in plan.runs}
    results: list[RunResult] = [result for result in stored.results if result.run_id in planned]
    ran = {result.config_id for result in results}
    # Of several world sizes those that were not run are not missing: the suite leaves them open.
    configs = {run.config_id: run for plan in plans for run in plan.runs}
    wanted = {run.config_id: run for run in plans[0].runs if not ran or run.config_id in ran or len(plans) == 1}
    shown = wanted | {config_id: run for config_id, run in configs.items() if config_id in ran}

    # What is no part of a run's identity changes no number, and a data root says nothing elsewhere.
    overrides = {path: value for path, value in suite.overrides.items() if is_identity(path)}
    notes = []
    others = len(stored.results) - len(results)
    if others:
        notes.append(f"{others} stored results belong to no run of this plan and are left out.")
    calibrations, unreadable = read_calibrations(output, (result.system_id for result in results))
    notes += [f"Unreadable record {path}: {reason}." for path, reason in {**stored.unreadable, **unreadable}.items()]

    def folder(run: RunResult) -> RunFolder:
        return run_folder(output, suite.name, run.run_id, run.system_id)

    def at_epoch(run: RunResult, name: str, epoch: int) -> float | None:
        return folder(run).metric_at(name, epoch)

    def curve(run: RunResult) -> Curve | None:
        return curve_of(folder(run).epochs())

    budget = Budget(budget_seconds, required=True) if budget_seconds else None
    if budget is None and suite.file.budget:
        budget = Budget(suite.file.budget)

    is_normalised = relative_to is not None
    references = {config_id: own for plan in plans for config_id, own in plan.references().items()}
    report = build_report(
        suite.name,
        results,
        stored.systems,
        {config_id: references[config_id] for config_id in shown if config_id in references},
        DEFAULT_SORT if is_normalised and sort == NORMALISED.name else sort,
        notes,
        [_Config(config_id, shown_label(run.spec, several=len(plans) > 1)) for config_id, run in shown.items()],
        overrides,
        design_of(plans, shown.keys()),
        at_epoch,
        [picture for run in results for picture in pictures_of(run, folder(run), output / suite.name)],
        crossings=crossings_of(plans, shown.keys()) if results else (),
        with_resumed=with_resumed,
        curve_of=curve,
        budget=budget,
        calibrations=calibrations,
    )
    if not is_normalised:
        return report
    return dataclasses.replace(report, normalised=normalised_table(report, calibrations, relative_to or "", sort))


def shown_label(spec: RunSpec, *, several: bool) -> str:
    """Returns a config's label; where world sizes share a table, with its own."""
    return f"{spec.label} on {spec.train.num_processes}" if several else spec.label
