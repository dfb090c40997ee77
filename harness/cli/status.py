"""`harness status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.app import app, plan_of, print_json, print_text
from harness.cli.options import AsJson, ConfigFile, Overrides, Plugins, Roots, Selections, Small, StudyPath
from harness.cli.studies import require_no_plan, split_paths
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.results.race import RaceState
    from harness.suite.plan import PlannedRun


@app.command()
def status(
    suite: StudyPath = None,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    plugin: Plugins = None,
    output: Roots = None,
    config_file: ConfigFile = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show SLURM's queue and the current runs, on a terminal until they end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which runs of a suite are done, failed or open, on every system that ran them."""
    from harness.launching.status import folder_status, suite_status
    from harness.results.race import RaceState, races_in, without_needless_runs

    roots = output or []
    files, folders = split_paths([suite] if suite else [], roots, begun=True)
    if folders:
        require_no_plan(
            folders,
            {
                "--set": set_,
                "--only": only,
                "--smoke": smoke,
                "--plugin": plugin,
                "--config_file": config_file,
                "--watch": watch,
            },
        )
        if as_json and len(folders) > 1:
            raise HarnessError("--json is of one suite", f"name one: {', '.join(str(own[0]) for own in folders[:8])}")
        for own in folders:
            found, races = folder_status(*own), races_in(own[0])
            print_json(found.as_json() | _race_json(races)) if as_json else print_text(_with_race(found.text(), races))
        return
    planned = plan_of(files[0], set_, only, smoke, config_file, plugins=plugin)
    if watch:
        if len(roots) > 1:
            raise HarnessError("--watch looks at one results root", "give --output once")
        if as_json:
            from harness.launching.slurm.submission import read_queue

            queue = read_queue(roots[0], planned.suite.name)  # before the records: what ends in between is seen as done
            print_json(
                suite_status(without_needless_runs(planned, roots[0]), roots[0]).as_json() | {"queue": queue.as_json()}
            )
            return
        from rich.console import Console

        from harness.live.view import watch as watch_suite

        watch_suite(planned, roots[0], Console())
        return
    found = suite_status(without_needless_runs(planned, roots[0]), *roots)
    races = [RaceState.begin(planned, roots[0], write=False)] if planned.race else []
    text = _with_race(found.text(), races, planned.runs)
    print_json(found.as_json() | _race_json(races)) if as_json else print_text(text)


def _race_json(races: Sequence[RaceState]) -> dict[str, Any]:
    from harness.results.race_text import race_json

    return {"race": race_json(races[-1])} if races else {}


def _with_race(text: str, races: Sequence[RaceState], runs: Sequence[PlannedRun] = ()) -> str:
    from harness.results.race_text import race_lines

    return "\n".join([text, *(f"  {line}" for line in (race_lines(races[-1], runs) if races else ()))])
