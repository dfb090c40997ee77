"""`harness doctor`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import RESULTS, app, plan_of, print_json
from harness.cli.completing import suites
from harness.cli.options import AsJson, ConfigFile, Output, Overrides, Plugins, Selections, Small
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.spec import DataSection


@app.command()
def doctor(
    suite: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SUITE]",
            help="Also examine what the runs of this suite need: its file, or the name of one that ships.",
            autocompletion=suites,
        ),
    ] = None,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    plugin: Plugins = None,
    config_file: ConfigFile = None,
    output: Output = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show what this machine is, whether it can run suites, or SUITE, and what to fix; exit with 1 if it cannot."""
    from rich.console import Console

    from harness.doctor import show
    from harness.doctor.examine import examine

    options = {"--set": set_, "--only": only, "--smoke": smoke, "--plugin": plugin, "--config_file": config_file}
    if suite is None and (given := next((name for name, value in options.items() if value), "")):
        raise HarnessError(f"{given} is of a suite, and none is named", "harness doctor SUITE")
    planned = plan_of(suite, set_, only, smoke, config_file, plugins=plugin, fingerprint=_known) if suite else None
    examination = examine(output)
    if planned:
        from harness.doctor.of_suite import examine_suite
        from harness.launching.launch_command import Launcher
        from harness.launching.manifest import Manifest

        of_suite = examine_suite(Manifest.of(planned, output), Launcher(config_file), examination.system["system_id"])
        examination = dataclasses.replace(examination, suite=of_suite)
    print_json(show.as_json(examination)) if as_json else show.show(examination, Console(highlight=False))
    raise typer.Exit(0 if examination.can_run else 1)


def _known(section: DataSection) -> str:
    """Returns the identity of the data's content; empty where that is not known, or they are not here."""
    from harness.data.prepare import known_fingerprint

    try:
        return known_fingerprint(section)
    except HarnessError:
        return ""
