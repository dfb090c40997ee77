"""`harness schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import app, print_json
from harness.errors import HarnessError


@app.command()
def schema(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to write it; stdout by default.")] = None,
) -> None:
    """Write the JSON schema of suite files, for editors."""
    from harness.records.files import write_json
    from harness.suite.schema import suite_schema

    if file is None:
        print_json(suite_schema())
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, suite_schema())
    except OSError as error:
        raise HarnessError(f"cannot write {file}: {error.strerror}", "name a file that can be written") from None
