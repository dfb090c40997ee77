"""Test accuracy over train time: a line per config, with the band of its seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.durations import duration_text
from harness.report.answer import accuracy_text
from harness.report.charts.chart import (
    Axis,
    Chart,
    Rows,
    accuracy_axis,
    axis_of,
    channel,
    chart,
    coloured,
    config_colour,
    layer,
    tooltip,
)
from harness.report.charts.theme import FONT_SIZE, GREY, HALO, INK, MUTED
from harness.report.epochs import MOST_FAINT, Budget, Curve, best_first, mean_curve
from harness.report.rows import Row
from harness.report.tables import Table
from harness.report.texts import NOTHING, TextTable, one_line, text_table
from harness.statistics.intervals import Summary, summarise

WIDTH, HEIGHT = 760, 380  # of the plot itself; title, axes and legend come on top
MOST_BANDS = 4
LEAST_RISE = 0.15  # of the curves' whole rise, that their axis shows at least
WIDEST_BAND = 0.4  # of the axis, by its mean height; wider ones hide the lines
# Points of a line: a screen shows no more, and of many faint ones there need not be as many.
COLOURED_POINTS, FAINT_POINTS = 400, 60
# Never `clip`: the renderer of PNG takes a tenth of a second for each line that has it.
_STEPS = {"interpolate": "step-after"}


class Line(NamedTuple):
    """The mean of a config's runs over train time; `name` is empty where it has no colour."""

    row: Row
    name: str
    points: list[tuple[float, Summary]]

    @property
    def on_front(self) -> bool:
        """Whether the config is on the front, by its means."""
        return bool(self.row.values["on_front"])

    def band_height(self) -> float:
        """Returns the mean height of the band over its time; 0 where there is none, or only one of two seeds."""
        import numpy

        if self.points[-1][1].n <= 2:
            return 0.0
        times = [seconds for seconds, _ in self.points]
        held = numpy.diff(times, append=times[-1] + 1e-3)  # the last counts where it is the only one
        return float(numpy.average([2 * (summary.ci95 or 0.0) for _, summary in self.points], weights=held))


def curves(table: Table) -> Chart | None:
    """Returns the chart of one system; None where no run has evaluations on record."""
    palette = coloured(table)
    lines = _lines(table, palette)
    if not lines:
        return None
    banded = _banded(lines)
    lasts = [line.points[-1][0] for line in lines]
    x = axis_of("train time", "seconds", min(lasts), max(lasts), starts=min(line.points[0][0] for line in lines))
    y = _rise_axis([[summary.mean for _, summary in line.points] for line in lines])
    named, faint = [line for line in lines if line.name], [line for line in lines if not line.name]
    told = tooltip("label:N", "y:Q:.2f", "x:Q:.4~g", y=y.title, x=x.title, label="config")
    colour = config_colour([palette[line.row.config_id] for line in named], len(faint))
    base = {"x": x.channel("x"), "y": y.channel("y"), "color": colour}
    drawn, band = {**base, "tooltip": told}, {**base, "y": y.channel("low"), "y2": {"field": "high"}}
    pale = {"x": x.channel("x"), "y": y.channel("y"), "detail": channel("label:N"), "tooltip": told[:1]}
    targets, end = _targets(table, y), _budget(table.budget, x)
    # Never `opacity`: the renderer of PNG would draw each line into a picture of its own, for seconds.
    layers = [
        layer("faint", "line", pale, color=GREY, strokeWidth=0.8, strokeOpacity=0.45, **_STEPS),
        layer("bands", "area", band, opacity=1, fillOpacity=0.16, **_STEPS),
        *_rules("targets", targets, {"y": y.channel("y")}, {"x": {"value": 0}}),
        *_rules("budget", end, {"x": x.channel("x")}, {"y": {"value": HEIGHT}}),
        layer("curves", "line", drawn, "!datum.front", strokeWidth=1.2, strokeOpacity=0.9, **_STEPS),
        layer("curves", "line", drawn, "datum.front", strokeWidth=2.6, **_STEPS),
        # Where a line ends the config trains no more.
        layer("ends", "point", drawn, filled=True, size=40, opacity=1),
    ]
    datasets = {
        "faint": [point for line in faint for point in _points(line, x, y)],
        "curves": [{**point, "front": line.on_front} for line in named for point in _points(line, x, y)],
        "bands": [point for line in banded for point in _band(line, x, y)],
        "ends": [last for line in named if (last := _points(line, x, y)[-1])["y"] is not None],
        "targets": targets,
        "budget": end,
    }
    view: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "layer": layers}
    numbers = _numbers(table, named or lines)
    return chart(table, "Test accuracy over train time", _said(lines, banded, y), datasets, numbers, **view)


def _rise_axis(curves: Sequence[Sequence[float]]) -> Axis:
    """Returns the axis of accuracies that rise along curves.

    It shows where the lines end, and half of what the ends lie apart below them, but `LEAST_RISE` of the whole rise:
    lines come in from below. Bands do not widen it: those of two seeds would leave nothing of the lines.
    """
    means = [accuracy for curve in curves for accuracy in curve]
    reached = [curve[-1] for curve in curves]
    least, most = min(means), max(means)
    wanted = min(min(reached) - (max(reached) - min(reached)) / 2, most - LEAST_RISE * (most - least))
    return accuracy_axis(max(least, wanted), most)


def _lines(table: Table, palette: Mapping[str, tuple[str, str]]) -> list[Line]:
    """Returns a line for each config that is drawn, the coloured ones first."""
    rows = best_first([row for row in table.rows if table.curves.get(row.config_id)])
    rows.sort(key=lambda row: row.config_id not in palette)
    lines = []
    for row in rows[: len(palette) + MOST_FAINT]:
        name, own = palette.get(row.config_id, ("", ""))[0], table.curves[row.config_id]
        most = math.ceil((COLOURED_POINTS if name else FAINT_POINTS) / len(own))
        lines.append(Line(row, name, mean_curve([_thinned(curve, most) for curve in own])))
    return lines


def _banded(lines: Sequence[Line]) -> list[Line]:
    """Returns the lines of the front whose band is drawn."""
    means = [summary.mean for line in lines for _, summary in line.points]
    widest = WIDEST_BAND * (max(means) - min(means))
    found = [line for line in lines if line.name and line.on_front and 0 < line.band_height() <= widest]
    return found[:MOST_BANDS]


def _thinned(curve: Curve, most: int) -> Curve:
    """Leaves out evaluations between others, where a run has more of them than a line can show; never the last."""
    every = math.ceil(len(curve.seconds) / most)
    kept = slice((len(curve.seconds) - 1) % every, None, every)
    return Curve(curve.seconds[kept], curve.accuracies[kept])


def _points(line: Line, x: Axis, y: Axis) -> Rows:
    """Returns the points of a line; null, which breaks it, where it is outside of the plot."""
    same, points = {"config": line.name, "label": one_line(line.row.label)}, []
    for seconds, summary in line.points:
        accuracy = summary.mean / y.unit
        points.append({**same, "x": seconds / x.unit, "y": accuracy if y.low <= accuracy <= y.high else None})
    return points


def _band(line: Line, x: Axis, y: Axis) -> Rows:
    return [
        {"config": line.name, "x": seconds / x.unit, "low": y.clipped(one.low), "high": y.clipped(one.high)}
        for seconds, one in line.points
    ]


def _targets(table: Table, y: Axis) -> Rows:
    targets = [run.target for row in table.rows for run in row.ok if run.target is not None]
    wanted = sorted({one.at_least / y.unit for one in targets if one.metric == "test.accuracy"})
    return [{"y": at, "text": f"target {at:g} %"} for at in wanted if y.low < at < y.high]


def _budget(budget: Budget | None, x: Axis) -> Rows:
    if not budget or not x.low < budget.seconds / x.unit < x.high:
        return []
    return [{"x": budget.seconds / x.unit, "text": duration_text(budget.seconds)}]


def _rules(data: str, rows: Rows, at: dict[str, Any], words: dict[str, Any]) -> list[dict[str, Any]]:
    """Dashed rules, if there are any, with their text at the plot's lower or left edge."""
    if not rows:
        return []
    look = {"align": "left", "baseline": "bottom", "dx": 4, "dy": -3, "color": MUTED, "fontSize": FONT_SIZE}
    texts = [layer(data, "text", {**at, **words, "text": channel("text:N")}, **look, **own) for own in (HALO, {})]
    return [layer(data, "rule", at, color=INK, strokeWidth=1, strokeDash=[3, 3], opacity=0.7), *texts]


def _said(lines: Sequence[Line], banded: Sequence[Line], y: Axis) -> list[str]:
    several = any(line.points[-1][1].n > 1 for line in lines)
    some_hidden = any(line.on_front and line.name and line.band_height() for line in lines if line not in banded)
    bands = ""
    if banded:
        bands = f"Bands are 95 % t intervals{', where they do not hide lines' * some_hidden}."
    elif several:
        bands = "No bands: the 95 % t intervals would hide the lines."
    cut = min(summary.mean for line in lines for _, summary in line.points) / y.unit < y.low
    return [
        "Means over seeds." if several else "One seed each, so no bands.",
        "The higher a line at a given time, the better the config for that train time.",
        "An accuracy holds until the next evaluation.",
        "Thick lines are on the Pareto front." * any(line.on_front for line in lines),
        bands,
        f"The axis starts at {y.low:.0f} %; lines start below it." * cut,
    ]


def _numbers(table: Table, lines: Sequence[Line]) -> TextTable:
    """Test accuracies at parts of the longest train time that is drawn."""
    last = max(curve.seconds[-1] for line in lines for curve in table.curves[line.row.config_id])
    times = [last * share for share in (0.05, 0.1, 0.25, 0.5, 1.0)]
    rows = []
    for line in lines:
        reached = [[curve.at(time) for curve in table.curves[line.row.config_id]] for time in times]
        whole = [summarise(own) if None not in own else None for own in reached]
        rows.append((one_line(line.row.label), *(accuracy_text(one) if one else NOTHING for one in whole)))
    titles = "|".join(["config", *(f"#at {duration_text(float(f'{time:.3g}'))}" for time in times)])
    return text_table("Test accuracy at a train time", titles, rows)
