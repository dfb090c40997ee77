"""Charts as files: a process of its own draws them all, while this one goes on.

It begins before there is anything to draw: its start, with Vega's, takes longer than most charts, and to put Vega into
one script for a page takes longer than all of them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Self

Files = dict[str, bytes]
Specs = Mapping[str, dict[str, Any]]
_SMALLEST = {"data": {"values": [{}]}, "mark": "point"}


class Drawing:
    """A process that draws charts: as PNG, two pixels a unit, and as SVG. Without vl-convert there is none.

    Args:
        for_page: `script` will be asked for, too.
    """

    def __init__(self, *, for_page: bool = False) -> None:
        self._child = None
        self._reply: tuple[Files, str] | str | None = None
        if importlib.util.find_spec("vl_convert") is not None:
            command = [sys.executable, "-m", "harness.report.charts.drawing", *["script"] * for_page]
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the process, whatever it does."""
        if self._child:
            self._child.kill()
            self._child.communicate()

    def begin(self, specs: Specs) -> None:
        """Begins to draw charts; those before must be done.

        Raises:
            ImportError: vl-convert is not installed.
        """
        if self._child is None:
            raise ImportError("no vl_convert", name="vl_convert")
        assert self._child.stdin
        self._reply = None
        with contextlib.suppress(BrokenPipeError):  # of a child that failed: `_answer` tells
            self._child.stdin.write(pickle.dumps(dict(specs)))
            self._child.stdin.flush()

    def files(self) -> Files:
        """Returns the charts by the names of their files, once they are drawn."""
        return self._answer()[0]

    def script(self) -> str:
        """Returns vega, vega-lite and vega-embed in one script, once all charts are drawn."""
        return self._answer()[1]

    def _answer(self) -> tuple[Files, str]:
        reply = self._reply
        if reply is None:
            assert self._child and self._child.stdout
            try:
                reply = self._reply = pickle.load(self._child.stdout)
            except EOFError:
                reply = "its process has ended"
        if not isinstance(reply, tuple):
            raise RuntimeError(f"the chart could not be drawn: {reply}")
        return reply


def draw(specs: Specs) -> Files:
    """Returns the files of each chart."""
    import vl_convert

    made: Files = {}
    for name, spec in specs.items():
        svg = vl_convert.vegalite_to_svg(spec)
        made |= {f"{name}.svg": svg.encode(), f"{name}.png": vl_convert.svg_to_png(svg, scale=2)}
    return made


@functools.cache
def vega_script() -> str:
    """Returns vega, vega-lite and vega-embed in one script.

    Raises:
        ImportError: vl-convert is not installed.
    """
    import vl_convert

    return vl_convert.javascript_bundle(None)  # type: ignore[arg-type]


def _serve() -> None:
    """Draws what is asked for on stdin, until it is closed."""
    draw({"": _SMALLEST})
    script = vega_script() if "script" in sys.argv else ""
    with contextlib.suppress(EOFError):
        while True:
            specs = pickle.load(sys.stdin.buffer)
            try:
                reply: Any = draw(specs), script
            except ValueError as error:
                reply = str(error)
            pickle.dump(reply, sys.stdout.buffer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
