"""`harness report`."""

from __future__ import annotations

from harness.cli.app import RESULTS, app, plan_of, show_report
from harness.cli.options import (
    AsJson,
    At,
    ConfigFile,
    Output,
    Overrides,
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
    as_json: AsJson = False,
) -> None:
    """Show the table of a suite's results and write it with its chart beside them."""
    from harness.durations import HINT, parse_duration
    from harness.errors import HarnessError
    from harness.records.store import read_suite

    try:
        budget = parse_duration(at) if at else None
    except ValueError:
        raise HarnessError(f"--at {at} is no duration", HINT) from None
    first = plan_of(suite, set_, only, smoke, config_file)
    stored = read_suite(output, first.suite.name)
    planned_for = first.runs[0].spec.train.num_processes
    sizes = {result.num_processes for result in stored.results} - {planned_for}
    others = [plan_of(suite, set_, only, smoke, None, num_processes=size) for size in sorted(sizes)]
    show_report(
        [first, *others],
        stored,
        output,
        sort,
        with_resumed=with_resumed,
        json_wanted=as_json,
        budget_seconds=budget,
    )
