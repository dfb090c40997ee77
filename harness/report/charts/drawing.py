"""Charts as files: a process of its own draws them all, while this one goes on.

Its start and the first chart take longer than all the others, so there is one for all, and what it is given is plain
data: this process never imports Altair.
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

if TYPE_CHECKING:
    import altair

Ending = Literal["png", "svg", "html", "json"]


class Chart(Protocol):
    """A chart as plain data, which can be pickled."""

    def draw(self) -> altair.TopLevelMixin:
        """Returns it, declared."""
        ...


# Stands for `<` until the page is made: a label with `</script>` would end the script that the chart stands in.
_LESS = "\ue000"


class Drawing:
    """Charts that are being drawn: as PNG, two pixels a unit; as SVG; as HTML, which loads Vega from the net; as
    JSON, their specification.

    Args:
        endings: what is wanted of each; PNG where nothing is said.

    Raises:
        ImportError: altair or vl-convert is not installed.
    """

    def __init__(self, charts: Mapping[str, Chart], endings: Mapping[str, Sequence[Ending]] | None = None) -> None:
        for package in ("altair", "vl_convert"):  # the child's own error would be a traceback
            if importlib.util.find_spec(package) is None:
                raise ImportError(f"no {package}", name=package)
        self._made: dict[str, dict[Ending, bytes]] = {}
        command = [sys.executable, "-m", "harness.report.charts.drawing"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a child that failed says why when it is waited for
            self._child.stdin.write(pickle.dumps((dict(charts), dict(endings or {}))))
            self._child.stdin.close()
        self._child.stdin = None

    def write(self, file: IO[bytes], name: str, ending: Ending = "png") -> None:
        """Writes one of the files, once it is drawn."""
        file.write(self._files()[name][ending])

    def spec(self, name: str) -> dict[str, Any]:
        """Returns the specification of a chart that was wanted as JSON, once it is drawn."""
        return json.loads(self._files()[name]["json"])

    def _files(self) -> dict[str, dict[Ending, bytes]]:
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


def draw(charts: Mapping[str, Chart], endings: Mapping[str, Sequence[Ending]]) -> dict[str, dict[Ending, bytes]]:
    """Returns the wanted files of each chart."""
    import altair
    import vl_convert

    version = "_".join(altair.SCHEMA_VERSION.split(".")[:2])
    made: dict[str, dict[Ending, bytes]] = {}
    for name, chart in charts.items():
        spec = chart.draw().to_dict(validate=False)  # the tests do, which takes longer than all the rest
        wanted, own = endings.get(name, ("png",)), made.setdefault(name, {})
        if "json" in wanted:
            own["json"] = json.dumps(spec).encode()
        if "html" in wanted:
            html = vl_convert.vegalite_to_html(_with("<", _LESS, spec), vl_version=version)
            own["html"] = html.replace(_LESS, r"\u003c").encode()
        if "png" in wanted or "svg" in wanted:
            svg = vl_convert.vegalite_to_svg(spec, vl_version=version)
            own["svg"] = svg.encode()
            if "png" in wanted:
                own["png"] = vl_convert.svg_to_png(svg, scale=2)
    return made


def _with(text: str, other: str, spec: Any) -> Any:
    """Returns a specification with a text replaced in all its strings."""
    if isinstance(spec, str):
        return spec.replace(text, other)
    if isinstance(spec, dict):
        return {_with(text, other, key): _with(text, other, value) for key, value in spec.items()}
    return [_with(text, other, value) for value in spec] if isinstance(spec, list) else spec


if __name__ == "__main__":
    pickle.dump(draw(*pickle.load(sys.stdin.buffer)), sys.stdout.buffer)
