"""Charts as files: a process of its own draws them all, while this one goes on.

Its start and the first chart take longer than all the others, so there is one for all.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol

from harness.report.charts.chart import Chart

if TYPE_CHECKING:
    import altair

FileEnding = Literal["png", "svg", "json"]


class Declared(Protocol):
    """A chart as plain data, that Altair declares: in the other process, as to import it takes a second."""

    def draw(self) -> altair.TopLevelMixin:
        """Returns it, declared."""
        ...


class Drawing:
    """Charts that are being drawn: as PNG, two pixels a unit; as SVG; as JSON, their specification.

    Args:
        endings: what is wanted of each; PNG where nothing is said.

    Raises:
        ImportError: vl-convert is not installed, or altair, where a chart needs it.
    """

    def __init__(
        self, charts: Mapping[str, Chart | Declared], endings: Mapping[str, Sequence[FileEnding]] | None = None
    ) -> None:
        with_altair = not all(isinstance(chart, Chart) for chart in charts.values())
        for package in ("altair", "vl_convert") if with_altair else ("vl_convert",):
            if importlib.util.find_spec(package) is None:  # the child's own error would be a traceback
                raise ImportError(f"no {package}", name=package)
        self._made: dict[str, dict[FileEnding, bytes]] = {}
        command = [sys.executable, "-m", "harness.report.charts.drawing"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._child.stdin is not None
        specs = {name: chart.spec if isinstance(chart, Chart) else chart for name, chart in charts.items()}
        with contextlib.suppress(BrokenPipeError):  # a child that failed says why when it is waited for
            self._child.stdin.write(pickle.dumps((specs, dict(endings or {}))))
            self._child.stdin.close()
        self._child.stdin = None

    def write(self, file: IO[bytes], name: str, ending: FileEnding = "png") -> None:
        """Writes one of the files, once it is drawn."""
        file.write(self._files()[name][ending])

    def spec(self, name: str) -> dict[str, Any]:
        """Returns the specification of a chart that was wanted as JSON, once it is drawn."""
        return json.loads(self._files()[name]["json"])

    def _files(self) -> dict[str, dict[FileEnding, bytes]]:
        if not self._made:
            made, words = self._child.communicate()
            if self._child.returncode:
                raise RuntimeError(f"the chart could not be drawn: {words.decode(errors='replace').strip()}")
            self._made = pickle.loads(made)
        return self._made

    def end(self) -> None:
        """Ends the process where its files are not wanted any more."""
        if self._child.returncode is None:
            self._child.kill()
            self._child.communicate()


def draw(
    charts: Mapping[str, dict[str, Any] | Declared], endings: Mapping[str, Sequence[FileEnding]]
) -> dict[str, dict[FileEnding, bytes]]:
    """Returns the wanted files of each chart."""
    import vl_convert

    made: dict[str, dict[FileEnding, bytes]] = {}
    for name, chart in charts.items():
        # The tests validate, which takes longer than all the rest.
        spec = chart if isinstance(chart, dict) else chart.draw().to_dict(validate=False)
        wanted, own = endings.get(name, ("png",)), made.setdefault(name, {})
        if "json" in wanted:
            own["json"] = json.dumps(spec).encode()
        if "png" in wanted or "svg" in wanted:
            svg = vl_convert.vegalite_to_svg(spec)
            own["svg"] = svg.encode()
            if "png" in wanted:
                own["png"] = vl_convert.svg_to_png(svg, scale=2)
    return made


if __name__ == "__main__":
    pickle.dump(draw(*pickle.load(sys.stdin.buffer)), sys.stdout.buffer)
