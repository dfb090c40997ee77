"""`harness wandb`: what W&B has of a suite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import RESULTS, app, print_text, stderr, tell_what_counts
from harness.cli.completing import suites
from harness.cli.options import Entity, Output, Project, Small

wandb = typer.Typer(no_args_is_help=True, help="Send W&B the runs of a suite that it does not have.")
app.add_typer(wandb, name="wandb")


@wandb.callback()
def _verbs() -> None:
    """Keeps `sync` a verb of its own: typer would make a single one the whole command."""


@wandb.command()
def sync(
    suite: Annotated[
        Path,
        typer.Argument(metavar="SUITE", help="Its file or name, or the folder of its results.", autocompletion=suites),
    ],
    smoke: Small = False,
    output: Output = RESULTS,
    wandb_project: Project = "",
    wandb_entity: Entity = "",
) -> None:
    """Send the runs that W&B does not have, or has in an older state; a second call does nothing."""
    from harness.trackers.options import WANDB, Tracking
    from harness.trackers.sync import sync as bring_up

    folder, of_suite = suite, None
    if not suite.is_dir():
        from harness.suite.plan import load_suite

        tell_what_counts(suite)
        file = load_suite(suite, smoke=smoke).file
        folder, of_suite = output / file.name, file.mirroring
    tracking = Tracking.asked([WANDB], wandb_project, wandb_entity, of_suite=of_suite)
    console = stderr()

    def say(sentence: str) -> None:
        console.print(sentence, markup=False, soft_wrap=True)

    print_text(bring_up(folder, tracking, say).text())
