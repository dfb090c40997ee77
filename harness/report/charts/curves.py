"""The chart of test accuracy over train time, a line per config with the band of its seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.durations import duration_text
from harness.report.charts.axes import Axis, curve_axes
from harness.report.charts.curve_lines import Line, config_colour, drawn, lines_of
from harness.report.charts.theme import FONT_SIZE, GREY, INK, MUTED, PALETTE, frame
from harness.report.numbers.curves import Budget
from harness.report.tables import Table
from harness.report.texts import one_line

if TYPE_CHECKING:
    import altair

WIDTH, HEIGHT = 700, 440  # of the plot itself; title, axes and legend come on top
STEPS: Any = {"interpolate": "step-after"}


@dataclass(frozen=True)
class Curves:
    """The chart of one system as plain data.

    Attributes:
        palette: a colour for each config that has one.
        in_grey: how many configs have none.
        faint, curves, bands, ends: the data of the layers.
        targets: accuracies, in the axis's unit.
    """

    title: str
    subtitle: list[str]
    x: Axis
    y: Axis
    palette: dict[str, str]
    in_grey: int
    faint: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    bands: list[dict[str, Any]]
    ends: list[dict[str, Any]]
    targets: list[float]
    budget: Budget | None

    def draw(self) -> altair.LayerChart:
        """Returns the chart.

        Raises:
            ImportError: altair is not installed.
        """
        import altair

        x, y = self.x, self.y
        across = altair.X("x:Q", title=x.title, scale=altair.Scale(**x.scale()), axis=altair.Axis(**x.ticks()))
        up = altair.Y("y:Q", title=y.title, scale=altair.Scale(**y.scale()), axis=altair.Axis(**y.ticks()))
        title = f"config ({self.in_grey} more in grey)" if self.in_grey else "config"
        colour = config_colour(self.palette, title)
        told = altair.Chart(altair.NamedData("curves")).encode(x=across, y=up, color=colour, tooltip=_tooltip(x, y))
        layers = [
            _faint(across, up),
            _bands(colour, across, up),
            *_target_rules(self.targets, y),
            *_budget_rules(self.budget, x),
            # Never `opacity`: the renderer of PNG would draw each line into a picture of its own, for seconds.
            told.transform_filter("!datum.front").mark_line(strokeWidth=1.2, strokeOpacity=0.9, **STEPS),
            told.transform_filter("datum.front").mark_line(strokeWidth=2.6, **STEPS),
            _ends(colour, across, up),
        ]
        return altair.LayerChart(
            layer=layers,
            datasets={"faint": self.faint, "curves": self.curves, "bands": self.bands, "ends": self.ends},
            width=WIDTH,
            height=HEIGHT,
            **frame(self.title, self.subtitle),
        )


def curves(table: Table) -> Curves | None:
    """Returns the chart of one system; None where no run has evaluations on record."""
    if not drawn(table):
        return None
    lines = lines_of(table)
    x, y = curve_axes([line.points for line in lines], WIDTH, HEIGHT)
    coloured = [line for line in lines if line.coloured]
    targets = {
        run.target.at_least
        for row in table.rows
        for run in row.ok
        if run.target is not None and run.target.metric == "test.accuracy"
    }
    return Curves(
        title=f"{one_line(table.suite)} on {table.system}",
        subtitle=_subtitle(lines),
        x=x,
        y=y,
        palette=dict(zip([line.name for line in coloured], PALETTE, strict=False)),
        in_grey=len(lines) - len(coloured),
        faint=[point for line in lines if not line.coloured for point in _points(line, x, y)],
        curves=[{**point, "front": line.on_front} for line in coloured for point in _points(line, x, y)],
        bands=[point for line in lines if line.banded for point in _band(line, x, y)],
        ends=[_points(line, x, y)[-1] for line in coloured],
        targets=sorted(at_least / y.unit for at_least in targets),
        budget=table.budget,
    )


def _points(line: Line, x: Axis, y: Axis) -> list[dict[str, Any]]:
    return [{"config": line.name, "x": at / x.unit, "y": summary.mean / y.unit} for at, summary in line.points]


def _band(line: Line, x: Axis, y: Axis) -> list[dict[str, Any]]:
    return [
        {
            "config": line.name,
            "x": seconds / x.unit,
            "low": y.clamp(summary.low / y.unit),
            "high": y.clamp(summary.high / y.unit),
        }
        for seconds, summary in line.points
    ]


def _faint(across: Any, up: Any) -> altair.Chart:
    import altair

    base = altair.Chart(altair.NamedData("faint")).encode(x=across, y=up, detail="config:N", tooltip="config:N")
    return base.mark_line(color=GREY, strokeWidth=0.8, strokeOpacity=0.45, **STEPS)


def _bands(colour: Any, across: Any, up: Any) -> altair.Chart:
    import altair

    low = up.copy()
    low.shorthand = "low:Q"
    base = altair.Chart(altair.NamedData("bands")).encode(x=across, y=low, y2="high:Q", color=colour)
    return base.mark_area(opacity=1, fillOpacity=0.16, **STEPS)


def _ends(colour: Any, across: Any, up: Any) -> altair.Chart:
    """A point where each line ends: after that the config trains no more."""
    import altair

    ends = altair.Chart(altair.NamedData("ends")).encode(x=across, y=up, color=colour)
    return ends.mark_point(filled=True, size=36, opacity=1)


def _tooltip(x: Axis, y: Axis) -> list[altair.Tooltip]:
    import altair

    return [
        altair.Tooltip("config:N"),
        altair.Tooltip("y:Q", title=y.title, format=".2f"),
        altair.Tooltip("x:Q", title=x.title, format=".4~g"),
    ]


_RULE: dict[str, Any] = {"color": INK, "strokeWidth": 1, "strokeDash": [3, 3], "opacity": 0.7}
_WORDS: dict[str, Any] = {"color": MUTED, "fontSize": FONT_SIZE}


def _target_rules(targets: Sequence[float], y: Axis) -> list[altair.Chart]:
    """Level rules, where they lie in the plot."""
    import altair

    marks = []
    for target in targets:
        if y.low < target < y.high:
            where = altair.Chart(altair.InlineData([{"y": target, "text": f"target {target:g} %"}]))
            look: dict[str, Any] = {"align": "left", "baseline": "bottom", "dx": 4, "dy": -3, **_WORDS}
            marks.append(where.mark_rule(**_RULE).encode(y="y:Q"))
            for halo in ({"stroke": "white", "strokeWidth": 3, "strokeOpacity": 0.85}, {}):
                words = where.mark_text(**look, **halo)
                marks.append(words.encode(y="y:Q", x=altair.value(0), text="text:N"))
    return marks


def _budget_rules(budget: Budget | None, x: Axis) -> list[altair.Chart]:
    """An upright rule, where it lies in the plot."""
    import altair

    if not budget or not x.low < budget.seconds / x.unit < x.high:
        return []
    said = duration_text(budget.seconds)
    where = altair.Chart(altair.InlineData([{"x": budget.seconds / x.unit, "text": said}]))
    words = where.mark_text(align="left", baseline="bottom", dx=4, dy=-4, **_WORDS)
    return [
        where.mark_rule(**_RULE).encode(x="x:Q"),
        words.encode(x="x:Q", y=altair.value(HEIGHT), text="text:N"),
    ]


def _subtitle(lines: Sequence[Line]) -> list[str]:
    """Says what is seen."""
    several = any(summary.n > 1 for line in lines for _, summary in line.points[-1:])
    wanted = [line for line in lines if line.on_front and line.coloured and line.band_height() > 0]
    said = ["Mean over seeds" if several else "One seed each, so no band", "accuracy holds until the next evaluation"]
    if any(line.on_front for line in lines):
        said.append("thick: on the Pareto front")
    if any(line.banded for line in lines):
        said.append("bands: 95 % t interval" + ", where they leave room" * (not all(line.banded for line in wanted)))
    elif several:
        said.append("no bands: the 95 % t intervals would hide the lines")
    return textwrap.wrap("; ".join(said).replace(" %", "\u00a0%"), 110)
