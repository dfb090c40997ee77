"""`harness report`."""

from __future__ import annotations

from harness.cli.app import RESULTS, app, plan_of, show_report
from harness.cli.options import (
    AsJson,
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
    with_resumed: WithResumed = False,
    normalised: Normalised = False,
    relative_to: RelativeTo = "",
    as_json: AsJson = False,
) -> None:
    """Show the table of a suite's results and write it with its chart beside them."""
    from harness.records.store import read_suite
    from harness.report.normalised import require_no_ranking_of_raw_times

    require_no_ranking_of_raw_times(sort, relative_to, normalised=normalised)
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
        relative_to=relative_to if normalised else None,
    )
