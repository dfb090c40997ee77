"""`harness list`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.app import RESULTS, app, print_json, print_text
from harness.cli.options import AsJson, Output, Plugins


@app.command("list")
def list_names(
    kind: Annotated[
        str, typer.Argument(help="suites, results, architectures, datasets, loaders, optimizers, schedules, pictures")
    ] = "",
    name: Annotated[str, typer.Argument(help="One of them, to see its parameters.")] = "",
    output: Output = RESULTS,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List what there is: suites, results, architectures, datasets, loaders, optimizers, schedules, pictures."""
    from harness import registry
    from harness.suite.catalogue import Catalogue, catalogue, describe

    if kind == "results" and not name:
        from harness.launching.status import stored_suites

        found = Catalogue({kind: stored_suites(output)})
    else:
        registry.use(plugin or ())
        found = describe(kind, name) if name else catalogue(kind)
    print_json(found.kinds) if as_json else print_text(found.text())
