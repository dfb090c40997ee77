"""`harness check-plugin`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import app, print_text
from harness.cli.options import text_option
from harness.counted import counted


@app.command("check-plugin")
def check_plugin(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Of plug-ins, your own or the package's.")],
    set_: Annotated[
        list[str] | None, text_option("--set", metavar="NAME=VALUE", help="A parameter of a plug-in.")
    ] = None,
) -> None:
    """Try what the plug-ins of a file promise: shapes, gradients, seeds, order, exact resuming, ..."""
    from harness.contracts.check import check_file

    count, broken, title = 0, 0, ""
    for one in check_file(file, set_ or ()):
        if one.plugin != title:
            title = one.plugin
            print_text(title)
        print_text(f"  FAILED  {one.promise}: {one.instead}" if one.instead else f"  ok      {one.promise}")
        count, broken = count + 1, broken + bool(one.instead)
    print_text(f"{counted(count, 'check')}, {broken} failed")
    raise typer.Exit(1 if broken else 0)
