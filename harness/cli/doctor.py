"""`harness doctor`."""

from __future__ import annotations

import typer

from harness.cli.app import RESULTS, app, print_json
from harness.cli.options import AsJson, Output


@app.command()
def doctor(output: Output = RESULTS, as_json: AsJson = False) -> None:
    """Show what this machine is, whether it can run suites, and what to fix; exit with 1 if it cannot."""
    from rich.console import Console

    from harness.doctor import show
    from harness.doctor.examine import examine

    examination = examine(output)
    print_json(show.as_json(examination)) if as_json else show.show(examination, Console(highlight=False))
    raise typer.Exit(0 if examination.can_run else 1)
