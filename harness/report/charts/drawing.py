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
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal, Self

FileEnding = Literal["png", "svg"]
Files = dict[str, dict[FileEnding, bytes]]
Charts = Mapping[str, tuple[dict[str, Any], Sequence[FileEnding]]]
_SMALLEST = {"data": {"values": [{}]}, "mark": "point"}


class Drawing:
    """A process that draws charts: as PNG, two pixels a unit, and as SVG. Without vl-convert there is none.

    Args:
        for_page: `script` will be asked for, too.
    """

    def __init__(self, *, for_page: bool = False) -> None:
        self._made: Files | None = {}  # None while they are being drawn
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed where the process ends
        self._child = None
        if importlib.util.find_spec("vl_convert") is not None:  # the child's own error would be a traceback
            command = [sys.executable, "-m", "harness.report.charts.drawing", *["script"] * for_page]
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._words)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the process, whatever it does."""
        if self._child:
            self._child.kill()
            self._child.communicate()
        self._words.close()

    def begin(self, charts: Charts) -> None:
        """Begins to draw charts; those before are forgotten.

        Args:
            charts: the specification of each, and what is wanted of it.

        Raises:
            ImportError: vl-convert is not installed.
        """
        self._files()
        self._ask(dict(charts))
        self._made = None

    def write(self, file: IO[bytes], name: str, ending: FileEnding = "png") -> None:
        """Writes one of the files, once it is drawn."""
        file.write(self._files()[name][ending])

    def script(self) -> str:
        """Returns vega, vega-lite and vega-embed in one script, once all charts are drawn."""
        self._files()
        self._ask({})
        return self._answer()

    def _files(self) -> Files:
        made = self._answer() if self._made is None else self._made
        self._made = made
        return made

    def _ask(self, charts: Charts) -> None:
        if self._child is None:
            raise ImportError("no vl_convert", name="vl_convert")
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError):  # a child that failed says why when it is waited for
            self._child.stdin.write(pickle.dumps(charts))
            self._child.stdin.flush()

    def _answer(self) -> Any:
        """Returns what was asked for first, of what is not answered yet."""
        assert self._child and self._child.stdout
        try:
            return pickle.load(self._child.stdout)
        except EOFError:
            self._words.seek(0)
            words = self._words.read().decode(errors="replace").strip()
            raise RuntimeError(f"the chart could not be drawn: {words}") from None


def draw(charts: Charts) -> Files:
    """Returns the wanted files of each chart."""
    import vl_convert

    made: Files = {}
    for name, (spec, endings) in charts.items():
        svg = vl_convert.vegalite_to_svg(spec) if endings else ""
        made[name] = {"svg": svg.encode()}
        if "png" in endings:
            made[name]["png"] = vl_convert.svg_to_png(svg, scale=2)
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
    """Draws what is asked for on stdin; where that is nothing, the script is."""
    draw({"": (_SMALLEST, ("svg",))})
    if "script" in sys.argv:
        vega_script()
    with contextlib.suppress(EOFError):
        while True:
            charts = pickle.load(sys.stdin.buffer)
            pickle.dump(draw(charts) if charts else vega_script(), sys.stdout.buffer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
