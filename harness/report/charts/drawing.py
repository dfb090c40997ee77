"""Charts as files: a process of its own draws them all, while this one goes on.

Its start and the first chart take longer than all the others, so there is one for all.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal

FileEnding = Literal["png", "svg"]
Files = dict[str, dict[FileEnding, bytes]]


class Drawing:
    """Charts that are being drawn: as PNG, two pixels a unit, and as SVG.

    Args:
        charts: the specification of each, and what is wanted of it.

    Raises:
        ImportError: vl-convert is not installed.
    """

    def __init__(self, charts: Mapping[str, tuple[dict[str, Any], Sequence[FileEnding]]]) -> None:
        if importlib.util.find_spec("vl_convert") is None:  # the child's own error would be a traceback
            raise ImportError("no vl_convert", name="vl_convert")
        self._made: Files = {}
        command = [sys.executable, "-m", "harness.report.charts.drawing"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a child that failed says why when it is waited for
            self._child.stdin.write(pickle.dumps(dict(charts)))
            self._child.stdin.close()
        self._child.stdin = None

    def write(self, file: IO[bytes], name: str, ending: FileEnding = "png") -> None:
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


def draw(charts: Mapping[str, tuple[dict[str, Any], Sequence[FileEnding]]]) -> Files:
    """Returns the wanted files of each chart."""
    import vl_convert

    made: Files = {}
    for name, (spec, endings) in charts.items():
        svg = vl_convert.vegalite_to_svg(spec) if endings else ""
        made[name] = {"svg": svg.encode()}
        if "png" in endings:
            made[name]["png"] = vl_convert.svg_to_png(svg, scale=2)
    return made


if __name__ == "__main__":
    pickle.dump(draw(pickle.load(sys.stdin.buffer)), sys.stdout.buffer)
