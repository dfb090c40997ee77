"""`harness list`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.app import RESULTS, app, print_json, print_text
from harness.cli.completing import reports
from harness.cli.options import AsJson, Output, Plugins, text_option
from harness.errors import HarnessError


@app.command("list")
def list_names(
    kind: Annotated[
        str,
        typer.Argument(
            help="suites, files, results, architectures, datasets, loaders, optimizers, schedules, pictures, metrics"
        ),
    ] = "",
    name: Annotated[
        str, typer.Argument(help="One of them; shows its parameters, or the text of a suite or file.")
    ] = "",
    report: Annotated[
        str, text_option("--report", metavar="N", help="The suites of a published report.", autocompletion=reports)
    ] = "",
    output: Output = RESULTS,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List suites, files that ship, results, or plug-ins of a kind: architectures, datasets, metrics, ..."""
    from harness import registry
    from harness.suite.catalogue import Catalogue, catalogue, describe, text_of

    if report and (kind != "suites" or name):
        raise HarnessError("--report belongs to a list of suites", f"harness list suites --report {report}")
    if name and (text := text_of(kind, name)) is not None:
        print_json(text) if as_json else print_text(text.removesuffix("\n"))
        return
    if kind == "results" and not name:
        from harness.launching.status import stored_suites

        found = Catalogue({kind: stored_suites(output)})
    else:
        registry.use(plugin or ())
        found = describe(kind, name) if name else catalogue(kind)
        if report:
            from harness.suite.published_report import read_published_report

            own = read_published_report(report)
            found = Catalogue({f"suites of {own.title}": {one: found.kinds["suites"][one] for one in own.suites}})
    print_json(found.kinds) if as_json else print_text(found.text())
