"""`harness list`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.app import app, print_json, print_text
from harness.cli.options import AsJson


@app.command("list")
def list_names(
    kind: Annotated[str, typer.Argument(help="suites, architectures, datasets, loaders, optimizers, schedules")] = "",
    name: Annotated[str, typer.Argument(help="One of them, to see its parameters.")] = "",
    as_json: AsJson = False,
) -> None:
    """List what there is: suites, architectures, datasets, loaders, optimizers, schedules."""
    from harness.suite.catalogue import catalogue, describe

    found = describe(kind, name) if name else catalogue(kind)
    print_json(found.kinds) if as_json else print_text(found.text())
