"""`harness status`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.app import RESULTS, app, plan_of, print_json, print_text
from harness.cli.options import AsJson, ConfigFile, Output, Overrides, Selections, Small, SuitePath


@app.command()
def status(
    suite: SuitePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    output: Output = RESULTS,
    config_file: ConfigFile = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="With SLURM's queue and the current runs; on a terminal until they end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell which runs of a suite are done, failed or open, on every system that ran them."""
    from harness.scheduling.status import suite_status

    planned = plan_of(suite, set_, only, smoke, config_file)
    if watch:
        if as_json:
            from harness.scheduling.watch import Snapshot

            print_json(Snapshot.of(planned, output).as_json())
            return
        from rich.console import Console

        from harness.live.watching import watch as watch_suite

        watch_suite(planned, output, Console())
        return
    found = suite_status(planned, output)
    print_json(found.as_json()) if as_json else print_text(found.text())
