"""`harness init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.app import app
from harness.errors import HarnessError


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of images: one folder per class, or train and test.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The suite.")] = Path("suite.yaml"),
    recursive: Annotated[
        Literal["first", "last"] | None,
        typer.Option("--recursive", help="In nested folders, the class is the first folder below FOLDER, or the last."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a first suite for a folder of images."""
    if output.exists() and not force:
        raise HarnessError(f"{output} already exists", "name another with -o FILE, or overwrite it with --force")
    from harness.first_suite.choose import choose
    from harness.first_suite.look import look_at
    from harness.first_suite.write import suite_name, suite_text, summary

    look = look_at(folder, recursive or "refuse")
    text = suite_text(look, choose(look), suite_name(look.root.name))
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"cannot write {output}: {error.strerror}", "name another with -o FILE") from None
    sys.stderr.write("".join(f"{line}\n" for line in summary(look)))
    sys.stderr.write(
        f"written to {output}; next:\n"
        f"  harness plan {output}          # shows the runs\n"
        f"  harness run {output} --smoke   # tests all of it on a few images\n"
        f"  harness run {output}\n"
    )
