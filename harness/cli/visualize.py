"""`harness visualize`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.app import RESULTS, app, print_text, stderr
from harness.cli.options import Output, Plugins, text_option


@app.command()
def visualize(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of runs, or ids as `plan` shows them.")],
    what: Annotated[list[str], text_option("--what", metavar="PICTURE", help="See `harness list pictures`.")],
    set_: Annotated[
        list[str] | None,
        text_option("--set", metavar="NAME=VALUE", help="A parameter of the picture, or a path such as data.root."),
    ] = None,
    plugin: Plugins = None,
    output: Output = RESULTS,
) -> None:
    """Draw pictures of trained networks into the folders of their runs: filters, feature maps, curves, ..."""
    from harness import registry
    from harness.visualize.draw import draw

    registry.use(plugin or ())
    for path in draw(runs, what, set_ or (), output, stderr()):
        print_text(str(path))
