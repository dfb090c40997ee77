"""`harness report`."""

from __future__ import annotations

from harness.cli.app import app, stderr
from harness.cli.options import (
    AsJson,
    AsPage,
    At,
    ConfigFile,
    Explain,
    Overrides,
    Plugins,
    ReportDryRun,
    Roots,
    Selections,
    Small,
    Sort,
    StudyPaths,
    ToWandb,
    WithResumed,
)
from harness.cli.studies import studies_of


@app.command()
def report(
    suites: StudyPaths = None,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    plugin: Plugins = None,
    output: Roots = None,
    config_file: ConfigFile = None,
    sort: Sort = "",
    at: At = "",
    with_resumed: WithResumed = False,
    explain: Explain = False,
    as_json: AsJson = False,
    html: AsPage = False,
    wandb: ToWandb = "",
    dry_run: ReportDryRun = False,
) -> None:
    """Show the answer of a suite's results, and write tables and charts; --html also writes a page."""
    from harness.durations import HINT, parse_duration
    from harness.errors import HarnessError
    from harness.report.build import DEFAULT_SORT, Options
    from harness.report.write import report_suites

    place = _wandb_place(wandb, dry_run)
    try:
        budget = parse_duration(at) if at else None
    except ValueError:
        raise HarnessError(f"--at {at} is no duration", HINT) from None
    wanted = studies_of(suites or [], set_, only, smoke, config_file, output or [], plugin)
    if as_json and len(wanted) > 1:
        raise HarnessError("--json is of one suite", "call it once for each")
    options = Options(sort or DEFAULT_SORT, with_resumed, budget)
    shown = report_suites(wanted, stderr(), options, json_wanted=as_json, page_wanted=html, explain=explain)
    if place:
        from harness.report.to_wandb import send_report, write_specification

        for study, one in zip(wanted, shown, strict=True):
            folder = study.folder / one.place  # what is local is written by now, whatever W&B does
            made = write_specification(one, place, folder) if dry_run else send_report(one, place, folder)
            stderr().print(f"W&B report: {made}", markup=False, soft_wrap=True)


def _wandb_place(wandb: str, dry_run: bool) -> tuple[str, str] | None:
    """Returns entity and project where a W&B report is wanted."""
    from harness.errors import HarnessError
    from harness.report.to_wandb import parse_place

    if dry_run and not wandb:
        raise HarnessError("--dry-run belongs to a W&B report", "--wandb ENTITY/PROJECT --dry-run")
    return parse_place(wandb) if wandb else None
