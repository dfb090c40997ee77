"""A chart as files: a process of its own draws them, while this one goes on."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import altair

Ending = Literal["png", "svg", "html"]


class Drawing:
    """A chart that is being drawn: as PNG, two pixels a unit; as SVG; as HTML, which loads Vega from the net.

    Args:
        chart: what to draw.
        endings: the files that are wanted of it.

    Raises:
        ImportError: vl-convert is not installed.
    """

    def __init__(self, chart: altair.TopLevelMixin, endings: Sequence[Ending] = ("png",)) -> None:
        import altair
        import vl_convert  # noqa: F401 - the child's own error would be a traceback

        self.endings = tuple(endings)
        self._made: dict[str, bytes] = {}
        version = "_".join(altair.SCHEMA_VERSION.split(".")[:2])
        command = [sys.executable, "-c", _DRAW, version, *endings]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(chart.to_dict()).encode())
        self._child.stdin.close()
        self._child.stdin = None

    def write(self, file: IO[bytes], ending: Ending = "png") -> None:
        """Writes one of the files, once it is drawn."""
        if not self._made:
            made, words = self._child.communicate()
            if self._child.returncode:
                raise RuntimeError(f"the chart could not be drawn: {words.decode(errors='replace').strip()}")
            self._made = pickle.loads(made)
        file.write(self._made[ending])

    def end(self) -> None:
        """Ends the process where its files are not wanted any more."""
        if self._child.returncode is None:
            self._child.kill()
            self._child.communicate()


_DRAW = """\
import pickle, sys, vl_convert
spec, version, endings = sys.stdin.read(), sys.argv[1], sys.argv[2:]
svg = vl_convert.vegalite_to_svg(spec, vl_version=version)
made = {"svg": svg.encode()}
if "png" in endings:
    made["png"] = vl_convert.svg_to_png(svg, scale=2)
if "html" in endings:
    made["html"] = vl_convert.vegalite_to_html(spec, vl_version=version).encode()
pickle.dump(made, sys.stdout.buffer)
"""
