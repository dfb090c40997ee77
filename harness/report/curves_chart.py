"""The chart of test accuracy over train time, a line per config with the band of its seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.durations import duration_text
from harness.report.axes import Axis, curve_axes
from harness.report.build import Table
from harness.report.curve_lines import Line, lines_of
from harness.report.texts import one_line
from harness.report.theme import FONT_SIZE, GREY, INK, MUTED, PALETTE, style

if TYPE_CHECKING:
    import altair

WIDTH, HEIGHT = 700, 440  # of the plot itself; title, axes and legend come on top
STEPS: Any = {"interpolate": "step-after"}


def accuracy_curves(table: Table) -> altair.LayerChart:
    """Returns the chart of one system; some row of it is drawn.

    Raises:
        ImportError: altair is not installed.
    """
    import altair

    lines = lines_of(table)
    x, y = curve_axes([line.points for line in lines], WIDTH, HEIGHT)
    across = altair.X("x:Q", title=x.title, scale=altair.Scale(**x.scale()), axis=altair.Axis(**x.ticks()))
    up = altair.Y("y:Q", title=y.title, scale=altair.Scale(**y.scale()), axis=altair.Axis(**y.ticks()))
    coloured = [line for line in lines if line.coloured]
    palette = dict(zip([line.name for line in coloured], PALETTE, strict=False))
    colour = altair.Color(
        "config:N",
        title="config" if len(coloured) == len(lines) else f"config ({len(lines) - len(coloured)} more in grey)",
        scale=altair.Scale(domain=list(palette), range=list(palette.values())),
        sort=list(palette),
        legend=altair.Legend(symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1, labelLimit=260),
    )
    told = altair.Chart(altair.NamedData("curves")).encode(x=across, y=up, color=colour, tooltip=_tooltip(x, y))
    layers = [
        _faint(across, up),
        _bands(colour, across, up),
        *_marks(table, x, y),
        # Never `opacity`: the renderer of PNG would draw each line into a picture of its own, for seconds.
        told.transform_filter("!datum.front").mark_line(strokeWidth=1.2, strokeOpacity=0.9, **STEPS),
        told.transform_filter("datum.front").mark_line(strokeWidth=2.6, **STEPS),
        _ends(colour, across, up),
    ]
    return altair.LayerChart(
        layer=layers,
        datasets={
            "faint": [point for line in lines if not line.coloured for point in _points(line, x, y)],
            "curves": [{**point, "front": line.on_front} for line in coloured for point in _points(line, x, y)],
            "bands": [point for line in lines if line.banded for point in _band(line, x, y)],
            "ends": [_points(line, x, y)[-1] for line in coloured],
        },
        title=altair.TitleParams(
            f"{one_line(table.suite)} on {table.system}", subtitle=_subtitle(lines), anchor="start", offset=14
        ),
        width=WIDTH,
        height=HEIGHT,
        padding=16,
        background="white",
        config=style(),
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


def _marks(table: Table, x: Axis, y: Axis) -> list[altair.LayerChart]:
    """The target as a level rule and the budget as an upright one, where they lie in the plot."""
    import altair

    look: dict[str, Any] = {"color": INK, "strokeWidth": 1, "strokeDash": [3, 3], "opacity": 0.7}
    text: dict[str, Any] = {"color": MUTED, "fontSize": FONT_SIZE}
    marks = []
    targets = {
        run.target.at_least
        for row in table.rows
        for run in row.ok
        if run.target is not None and run.target.metric == "test.accuracy"
    }
    for at_least in sorted(targets):
        if y.low < at_least / y.unit < y.high:
            where = altair.Chart(altair.InlineData([{"y": at_least / y.unit, "text": f"target {100 * at_least:g} %"}]))
            look_of_text: dict[str, Any] = {"align": "left", "baseline": "bottom", "dx": 4, "dy": -3, **text}
            marks.append(where.mark_rule(**look).encode(y="y:Q"))
            for halo in ({"stroke": "white", "strokeWidth": 3, "strokeOpacity": 0.85}, {}):
                words = where.mark_text(**look_of_text, **halo)
                marks.append(words.encode(y="y:Q", x=altair.value(0), text="text:N"))
    if table.budget and x.low < table.budget.seconds / x.unit < x.high:
        said = duration_text(table.budget.seconds)
        where = altair.Chart(altair.InlineData([{"x": table.budget.seconds / x.unit, "text": said}]))
        words = where.mark_text(align="left", baseline="bottom", dx=4, dy=-4, **text)
        marks.append(where.mark_rule(**look).encode(x="x:Q"))
        marks.append(words.encode(x="x:Q", y=altair.value(HEIGHT), text="text:N"))
    return marks


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
