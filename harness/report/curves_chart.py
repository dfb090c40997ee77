"""The chart of test accuracy over train time, a line per config with the band of its seeds."""

from __future__ import annotations

import dataclasses
import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.durations import duration_text
from harness.report.axes import Axis, curve_axes
from harness.report.build import Table
from harness.report.curves import Curve, mean_curve
from harness.report.intervals import Summary
from harness.report.labels import without_common_parts
from harness.report.rows import Row
from harness.report.texts import one_line, shortened
from harness.report.theme import FONT_SIZE, GREY, INK, MUTED, PALETTE, style

if TYPE_CHECKING:
    import altair

WIDTH, HEIGHT = 700, 440  # of the plot itself; title, axes and legend come on top
MOST_COLOURED = 8
MOST_BANDS = 4
WIDEST_BAND = 0.4  # of the axis, by its mean height; wider ones hide the lines
MOST_FAINT = 40
MOST_EVALUATIONS = 400  # of a line; a screen has no more


@dataclass(frozen=True)
class Line:
    """The mean of a config's runs over train time."""

    row: Row
    name: str
    coloured: bool
    banded: bool
    points: list[tuple[float, Summary]]


def drawn(table: Table) -> list[Row]:
    """Returns the rows that have curves to draw, those of the front first, then by accuracy."""
    rows = [row for row in table.rows if row.ranked and table.curves.get(row.config_id)]
    return sorted(rows, key=lambda row: (not row.values["on_front"], -row.values["test_accuracy"].mean))


def accuracy_curves(table: Table) -> altair.LayerChart:
    """Returns the chart of one system; some row of it is `drawn`.

    Raises:
        ImportError: altair is not installed.
    """
    import altair

    lines = _lines(table)
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
    steps: dict[str, Any] = {"interpolate": "step-after", "clip": True}
    base = altair.Chart(altair.NamedData("curves")).encode(x=across, y=up, detail="config:N")
    faint = base.transform_filter("!datum.coloured").mark_line(color=GREY, strokeWidth=0.8, opacity=0.45, **steps)
    told = base.transform_filter("datum.coloured").encode(color=colour, tooltip=["config:N", "accuracy:N", "seconds:N"])
    bands = told.transform_filter("datum.band").mark_area(opacity=0.16, **steps).encode(y=_up(up, "low"), y2="high:Q")
    layers = [
        faint,
        bands,
        *_marks(table, x, y),
        told.transform_filter("!datum.front").mark_line(strokeWidth=1.2, opacity=0.9, **steps),
        told.transform_filter("datum.front").mark_line(strokeWidth=2.6, **steps),
        _ends(colour, across, up),
    ]
    return altair.LayerChart(
        layer=layers,
        datasets={
            "curves": [point for line in lines for point in _points(line, x, y)],
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


def _lines(table: Table) -> list[Line]:
    rows = drawn(table)[: MOST_COLOURED + MOST_FAINT]
    names = _names([one_line(row.label) for row in rows])
    lines = []
    for index, (row, name) in enumerate(zip(rows, names, strict=True)):
        points = mean_curve([_thinned(curve) for curve in table.curves[row.config_id]])
        lines.append(Line(row, name, index < MOST_COLOURED, False, points))
    means = [summary.mean for line in lines for _, summary in line.points]
    widest = WIDEST_BAND * (max(means) - min(means))
    narrow = [line for line in lines if line.coloured and line.row.values["on_front"] and 0 < _height(line) <= widest]
    return [dataclasses.replace(line, banded=line in narrow[:MOST_BANDS]) for line in lines]


def _height(line: Line) -> float:
    """Returns the mean height of a line's band over its time; 0 where it has none, or none to look at: of two seeds."""
    if line.points[-1][1].n <= 2:
        return 0.0
    held = [(after - at, 2 * (now.ci95 or 0.0)) for (at, now), (after, _) in itertools.pairwise(line.points)]
    held.append((1e-9, 2 * (line.points[-1][1].ci95 or 0.0)))  # of a single evaluation, too
    return sum(seconds * height for seconds, height in held) / sum(seconds for seconds, _ in held)


def _names(labels: Sequence[str]) -> list[str]:
    names = [shortened(text, 40) for text in without_common_parts(labels)]
    return [f"{name} ({index})" if name in names[:index] else name for index, name in enumerate(names)]


def _thinned(curve: Curve) -> Curve:
    """Leaves out evaluations between others, where a run has more of them than a line can show; never the last."""
    every = math.ceil(len(curve.seconds) / MOST_EVALUATIONS)
    if every == 1:
        return curve
    kept = slice((len(curve.seconds) - 1) % every, None, every)
    return Curve(curve.seconds[kept], curve.accuracies[kept])


def _up(up: Any, field: str) -> Any:
    other = up.copy()
    other.shorthand = f"{field}:Q"
    return other


def _points(line: Line, x: Axis, y: Axis) -> list[dict[str, Any]]:
    front = bool(line.row.values["on_front"])
    return [
        {
            "config": line.name,
            "coloured": line.coloured,
            "front": front,
            "band": line.banded and summary.ci95 is not None,
            "x": seconds / x.unit,
            "y": summary.mean / y.unit,
            "low": y.clamp(summary.low / y.unit),
            "high": y.clamp(summary.high / y.unit),
            "accuracy": f"{summary.mean:.2%} (n = {summary.n})",
            "seconds": duration_text(seconds),
        }
        for seconds, summary in line.points
    ]


def _ends(colour: Any, across: Any, up: Any) -> altair.Chart:
    """A point where each line ends: after that the config trains no more."""
    import altair

    ends = altair.Chart(altair.NamedData("ends")).encode(x=across, y=up, color=colour)
    return ends.mark_point(filled=True, size=36, opacity=1, clip=True)


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
    wanted = [line for line in lines if line.row.values["on_front"] and line.coloured and _height(line) > 0]
    said = ["Mean over seeds" if several else "One seed each, so no band", "accuracy holds until the next evaluation"]
    if any(line.row.values["on_front"] for line in lines):
        said.append("thick: on the Pareto front")
    if any(line.banded for line in lines):
        said.append("bands: 95 % t interval" + ", where they leave room" * (not all(line.banded for line in wanted)))
    elif several:
        said.append("no bands: the 95 % t intervals would hide the lines")
    return textwrap.wrap("; ".join(said).replace(" %", "\u00a0%"), 110)
