"""`harness report`."""

from __future__ import annotations

from harness.cli.app import RESULTS, app, plans_with, show_report
from harness.cli.options import (
    AsJson,
    At,
    ConfigFile,
    Normalised,
    Output,
    Overrides,
    RelativeTo,
    Selections,
    Small,
    Sort,
    SuitePath,
    WithResumed,
)


@app.command()
def report(
    suite: SuitePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    output: Output = RESULTS,
    config_file: ConfigFile = None,
    sort: Sort = "",
    at: At = "",
    with_resumed: WithResumed = False,
    normalised: Normalised = False,
    relative_to: RelativeTo = "",
    as_json: AsJson = False,
) -> None:
    """Show the table of a suite's results and write it with its chart beside them."""
    from harness.durations import HINT, parse_duration
    from harness.errors import HarnessError
    from harness.report.normalised import require_no_ranking_of_raw_times
    from harness.report.options import DEFAULT_SORT, Options

    require_no_ranking_of_raw_times(sort, relative_to, normalised=normalised)
    try:
        budget = parse_duration(at) if at else None
    except ValueError:
        raise HarnessError(f"--at {at} is no duration", HINT) from None
    plans, stored = plans_with(suite, set_, only, smoke, config_file, output)
    options = Options(sort or DEFAULT_SORT, with_resumed, budget, relative_to if normalised else None)
    show_report(plans, stored, output, options, json_wanted=as_json)
