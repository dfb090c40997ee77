"""`harness reproduce`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import RESULTS, app, plan_of, print_text, stderr
from harness.cli.completing import reports
from harness.cli.options import ConfigFile, Download, Output, Overrides, Small
from harness.counted import counted
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.suite.plan import Plan
    from harness.suite.published_report import Figure


@app.command()
def reproduce(
    report: Annotated[str, typer.Argument(metavar="REPORT", help="report1 to report5.", autocompletion=reports)],
    set_: Overrides = None,
    smoke: Small = False,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Only say how long it will take: step each config for some seconds.")
    ] = False,
    download: Download = False,
    output: Output = RESULTS,
    config_file: ConfigFile = None,
) -> None:
    """Train all suites of a published report, draw its figures, and write a page of published beside own numbers."""
    from harness.launching.accelerate_settings import under_a_launcher
    from harness.suite.published_report import read_published_report

    published = read_published_report(report)
    if under_a_launcher():
        raise HarnessError(
            "`harness reproduce` starts launches itself, and a launcher has started it", f"harness reproduce {report}"
        )
    if forecast:
        from harness.cli.plan import plan

        for suite in published.suites:
            plan(Path(suite), set_=set_, smoke=smoke, config_file=config_file, forecast=True, output=output)
        return
    plans = _train(published.suites, set_, smoke, download, output, config_file)
    missing = [line for suite in plans for line in _draw(published.figures_of(suite), plans[suite], output)]
    failed = _write_page(list(plans.values()), output)
    for line in missing:
        stderr().print(line, markup=False, soft_wrap=True)
    raise typer.Exit(1 if failed or (missing and not smoke) else 0)  # small networks have fewer channels


def _train(
    suites: tuple[str, ...],
    overrides: list[str] | None,
    smoke: bool,
    download: bool,
    output: Path,
    config_file: Path | None,
) -> dict[str, Plan]:
    """Does the open runs of all suites; returns their plans."""
    from harness.cli.run import Call, train, with_weights
    from harness.trackers.options import Tracking

    def plan_for(suite: str) -> Callable[[], Plan]:
        return lambda: plan_of(Path(suite), overrides, None, smoke, config_file)

    # All of them first: what is wrong with the last one is told before the first one trains.
    plans = {suite: with_weights(plan_for(suite), download) for suite in suites}
    for plan in plans.values():
        code = train(plan, output, Tracking.asked(), Call(config_file, download=download))
        if code not in (0, 1):
            raise typer.Exit(code)
    return plans


def _draw(figures: list[Figure], plan: Plan, output: Path) -> list[str]:
    """Draws figures into the folders of their runs; returns a line for each that was not drawn, and why."""
    from harness.visualize.draw import draw

    missing = []
    for figure in figures:
        by_label: dict[str, list[str]] = {}
        for run in sorted((run for run in plan.runs if not run.spec.repeat), key=lambda run: run.spec.seed):
            if figure.of in ("", run.spec.label):
                by_label.setdefault(run.spec.label, []).append(run.run_id)
        runs = [run_id for own in by_label.values() for run_id in (own if figure.seeds == "all" else own[:1])]
        name = f"figure {figure.figures}, {figure.shows}"
        if not runs:
            missing.append(f"{name}: not drawn: this plan has no run of “{figure.of}”")
            continue
        settings = [f"{key}={json.dumps(value)}" for key, value in figure.set.items()]
        try:
            for path in draw(runs, [figure.what], settings, output, stderr()):
                print_text(f"{name}: {path}")
        except HarnessError as error:
            missing.append(f"{name}: not drawn: {error.message}")
    return missing


def _write_page(plans: list[Plan], output: Path) -> bool:
    """Shows the answers and writes the page; tells whether a run did not end ok."""
    from harness.report.write import report_suites
    from harness.results.study import study_of_suite

    studies = [study_of_suite(plan, [output]) for plan in plans]
    report_suites(studies, stderr(), page_wanted=True)
    open_ = sum(len(plan.runs) for plan in plans) - sum(one.status == "ok" for own in studies for one in own.results)
    if open_:
        stderr().print(f"{counted(open_, 'run')} did not end ok", markup=False)
    return open_ > 0
