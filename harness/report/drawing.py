"""Charts as files: a process of its own draws them all, while this one goes on."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import altair

Ending = Literal["png", "svg", "html"]


class Drawing:
    """Charts that are being drawn: as PNG, two pixels a unit; as SVG; as HTML, which loads Vega from the net.

    One process draws them all, as its start takes longer than a chart, and begins before they are made.

    Args:
        charts: what makes each, by name.

    Raises:
        ImportError: altair or vl-convert is not installed.
    """

    def __init__(self, charts: Mapping[str, Callable[[], altair.TopLevelMixin]]) -> None:
        import altair
        import vl_convert  # noqa: F401 - the child's own error would be a traceback

        self._made: dict[str, dict[Ending, bytes]] = {}
        version = "_".join(altair.SCHEMA_VERSION.split(".")[:2])
        command = [sys.executable, "-c", _DRAW, version]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._child.stdin is not None
        try:
            specs = {name: make().to_dict() for name, make in charts.items()}
        except BaseException:
            self.end()
            raise
        self._child.stdin.write(json.dumps(specs).encode())
        self._child.stdin.close()
        self._child.stdin = None

    def write(self, file: IO[bytes], name: str, ending: Ending = "png") -> None:
        """Writes one of the files, once it is drawn."""
        if not self._made:
            made, words = self._child.communicate()
            if self._child.returncode:
                raise RuntimeError(f"the chart could not be drawn: {words.decode(errors='replace').strip()}")
            self._made = pickle.loads(made)
        file.write(self._made[name][ending])

    def end(self) -> None:
        """Ends the process where its files are not wanted any more."""
        if self._child.returncode is None:
            self._child.kill()
            self._child.communicate()


_DRAW = """\
import json, pickle, sys, vl_convert
version = sys.argv[1]
vl_convert.vegalite_to_svg({"mark": "point"}, vl_version=version)
made = {}
for name, spec in json.load(sys.stdin).items():
    svg = vl_convert.vegalite_to_svg(spec, vl_version=version)
    html = vl_convert.vegalite_to_html(spec, vl_version=version)
    made[name] = {"svg": svg.encode(), "png": vl_convert.svg_to_png(svg, scale=2), "html": html.encode()}
pickle.dump(made, sys.stdout.buffer)
"""
