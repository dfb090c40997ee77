"""Accuracy over what it costs, in train time, energy or memory: a point per config, the Pareto front as a line."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.records.result import metric
from harness.report.answer import accuracy_text
from harness.report.charts.axes import Axis, accuracy_axis, cost_axis
from harness.report.charts.chart import (
    Chart,
    Grid,
    Rows,
    channel,
    chart,
    coloured,
    config_colour,
    grid,
    layer,
    tooltip,
)
from harness.report.charts.labels import Box, Spot, WantedLabel, place_labels, without_common_parts
from harness.report.charts.theme import FONT_SIZE, HALO, INK, MUTED, WHITE
from harness.report.numbers.fronts import TIME, Cost
from harness.report.numbers.rows import Row
from harness.report.tables import Table
from harness.report.texts import column_texts, one_line
from harness.results.columns import INTERVAL, Column
from harness.statistics.intervals import Summary, summarise
from harness.statistics.pareto import pareto_front

SURE = 0.95  # of being on the front, or of not being on it
LABEL_ALL_UP_TO = 20
MOST_POINTS = 400
MANY = 40  # from here on the bars are faint
ALL_BARS_UP_TO = 200  # beyond, only those of the front are drawn
# Width and height of the plot itself, in pixels; title, axes and legend come on top. Labels are placed for a size: the
# second is for a phone.
WIDE, NARROW = (760, 380), (264, 340)
_PROBABILITY = Column("", "", "probability")
# An unsure place on the front: pale, and outlined with dashes; one that may be on it: outlined thinly.
_LOOKS: dict[str, dict[str, Any]] = {
    "off": {"stroke": WHITE, "strokeWidth": 0.8, "opacity": 0.75, "size": 55},
    "perhaps": {"stroke": INK, "strokeWidth": 0.9, "strokeDash": [1, 2], "fillOpacity": 0.5, "size": 75},
    "unsure": {"stroke": INK, "strokeWidth": 1.3, "strokeDash": [3, 2], "fillOpacity": 0.5, "size": 120},
    "sure": {"stroke": INK, "strokeWidth": 1.5, "opacity": 1, "size": 120},
}


class Paying(NamedTuple):
    """A config and what it pays for its accuracy.

    Attributes:
        on_front: by its means.
        probability: of being on the front; None where it cannot be known.
    """

    row: Row
    accuracy: Summary
    paid: Summary
    on_front: bool
    probability: float | None

    @property
    def place(self) -> str:
        """Whether it is on the front: `sure`, `unsure`, `perhaps` (not by its means) or `off`.

        One whose probability cannot be known is where its means put it.
        """
        if self.on_front:
            return "sure" if self.probability is None or self.probability >= SURE else "unsure"
        return "perhaps" if self.probability is not None and self.probability > 1 - SURE else "off"


def paying(table: Table, cost: Cost) -> list[Paying]:
    """Returns the configs that have both numbers, those of the front first, then the most accurate.

    Only ranked ones are on the front.
    """
    found = []
    for row in table.rows:
        accuracy = row.values["test_accuracy"]
        if accuracy and row.values[cost.name] is not None and (row.ranked or cost is TIME):
            paid = summarise([metric(run, cost.metric) for run in row.ok_for(cost.metric)])
            assert paid
            found.append((row, accuracy, paid))
    front = iter(pareto_front([(accuracy.mean, paid.mean) for row, accuracy, paid in found if row.ranked]))
    own = [
        Paying(row, accuracy, paid, row.ranked and next(front), row.values[cost.probability])
        for row, accuracy, paid in found
    ]
    return sorted(own, key=lambda one: (not one.on_front, -one.accuracy.mean))


def accuracy_over_cost(table: Table, cost: Cost = TIME, size: tuple[int, int] = WIDE) -> Chart | None:
    """Returns the chart of one system; None where no config has both numbers."""
    every = paying(table, cost)
    if not every:
        return None
    shown, (width, height) = every[:MOST_POINTS], size
    x, y = cost_axis([one.paid for one in shown], cost, width), accuracy_axis([one.accuracy for one in shown], height)
    palette = coloured(table)
    points = [_point(one, x, y, cost, palette) for one in shown]
    front = sorted((point for point in points if point["on_front"]), key=lambda point: point["x"])
    steps = [{"x": point["x"], "y": point["y"]} for point in front]
    steps += [{"x": x.high, "y": point["y"]} for point in front[-1:]]
    named = [palette[one.row.config_id] for one in shown if one.row.config_id in palette]
    colour = config_colour(named, len(shown) - len(named))
    line = {"interpolate": "step-after", "color": INK, "strokeWidth": 1.5, "opacity": 0.55, "clip": True}
    return chart(
        table,
        f"Accuracy over {cost.word}",
        _said(every, shown),
        {"points": points, "front": steps, "labels": _labels(points, front, steps, x, y)},
        _grid(every, cost),
        width=width,
        height=height,
        layer=[
            layer("front", "line", {"x": x.channel("x"), "y": y.channel("y")}, **line),
            *_bars_and_points(colour, cost.word, x, y, len(points)),
            *_label_layers(x, y),
        ],
    )


def _bars_and_points(colour: dict[str, Any], word: str, x: Axis, y: Axis, configs: int) -> list[dict[str, Any]]:
    base = {"x": x.channel("x"), "y": y.channel("y"), "color": colour}
    titles = {"label": "config", "accuracy": "test accuracy", "paid": word, "probability": "on the front"}
    marks = {**base, "tooltip": tooltip(*(f"{name}:N" for name in titles), **titles)}
    bar = {"strokeWidth": 1.4, "opacity": 0.35 if configs > MANY else 0.65, "clip": True}
    drawn = "" if configs <= ALL_BARS_UP_TO else "datum.on_front && "
    across = {**base, "x": x.channel("x_low"), "x2": {"field": "x_high"}}
    up = {**base, "y": y.channel("y_low"), "y2": {"field": "y_high"}}
    return [
        layer("points", "rule", across, f"{drawn}datum.x_high > datum.x_low", **bar),
        layer("points", "rule", up, f"{drawn}datum.y_high > datum.y_low", **bar),
        *(
            layer("points", "point", marks, f"datum.place == '{place}'", filled=True, **look)
            for place, look in _LOOKS.items()
        ),
    ]


def _point(one: Paying, x: Axis, y: Axis, cost: Cost, palette: dict[str, tuple[str, str]]) -> dict[str, Any]:
    accuracy, paid = one.accuracy, one.paid
    (x_low, x_high), (y_low, y_high) = x.ends(paid), y.ends(accuracy)
    return {
        "label": one_line(one.row.label),
        "config": palette.get(one.row.config_id, ("", ""))[0],
        "probability": column_texts(_PROBABILITY, [one.probability])[0],
        "x": paid.mean / x.unit,
        "x_low": x_low,
        "x_high": x_high,
        "y": accuracy.mean / y.unit,
        "y_low": y_low,
        "y_high": y_high,
        "on_front": one.on_front,
        "place": one.place,
        "accuracy": f"{accuracy.mean:.2%} (n = {accuracy.n})",
        "paid": column_texts(Column("", "", cost.kind), [paid])[0],
    }


def _labels(points: Rows, front: Rows, steps: Rows, x: Axis, y: Axis) -> Rows:
    """Labels the front, the greatest gains in accuracy first, and the others too where they are few."""

    def spot(point: dict[str, Any], across: str = "x", up: str = "y") -> Spot:
        return x.pixel(point[across]), y.pixels - y.pixel(point[up])

    def box(one: Spot, other: Spot) -> Box:
        return min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1])

    lines = [box(spot(point, "x_low"), spot(point, "x_high")) for point in points]
    lines += [box(spot(point, up="y_low"), spot(point, up="y_high")) for point in points]
    for one, after in itertools.pairwise(steps):
        corner = spot({"x": after["x"], "y": one["y"]})
        lines += [box(spot(one), corner), box(corner, spot(after))]

    wanted = {}
    for point, text in zip(points, without_common_parts([point["label"] for point in points]), strict=True):
        share = f" ({point['probability']})".replace(" %", "\u00a0%") * (point["place"] in ("unsure", "perhaps"))
        wanted[id(point)] = WantedLabel(text + share, *spot(point), point["on_front"])
    gains = {id(after): after["y"] - one["y"] for one, after in itertools.pairwise(front)}
    order = [*front[-1:], *sorted(front[:-1], key=lambda point: -gains.get(id(point), math.inf))]
    if len(points) <= LABEL_ALL_UP_TO and x.pixels >= WIDE[0]:
        order += [point for point in points if not point["on_front"]]
    spots = [spot(point) for point in points]
    placed = place_labels([wanted[id(point)] for point in order], spots, lines, (x.pixels, y.pixels), FONT_SIZE)
    return [{**label, **{name: order[label["index"]][name] for name in ("x", "y")}} for label in placed]


def _label_layers(x: Axis, y: Axis) -> list[dict[str, Any]]:
    """Labels are placed in pixels from their points: a page makes the plot as wide as there is room."""
    at = {"x": x.channel("x"), "y": y.channel("y")}
    ends = {"x2Offset": {"expr": "datum.near_dx"}, "y2Offset": {"expr": "datum.near_dy"}}
    place = {**at, "text": channel("text:N")}
    ink = {"condition": {"test": "datum.strong", "value": INK}, "value": MUTED}
    look = {"align": {"expr": "datum.align"}, "baseline": "top", "lineBreak": "\n"}
    look |= {"dx": {"expr": "datum.dx"}, "dy": {"expr": "datum.dy"}}
    look |= {"fontSize": FONT_SIZE, "lineHeight": FONT_SIZE + 2}
    to = {"x2": {"field": "x"}, "y2": {"field": "y"}}
    return [
        layer("labels", "rule", {**at, **to}, "datum.far", color=MUTED, strokeWidth=0.8, opacity=0.8, **ends),
        layer("labels", "text", place, **look, **HALO),
        layer("labels", "text", {**place, "color": ink}, **look),
    ]


def _said(every: Sequence[Paying], shown: Sequence[Paying]) -> list[str]:
    bars = "Bars are 95 % t intervals" + ", of the front only" * (len(shown) > ALL_BARS_UP_TO)
    several, unsure = any(one.accuracy.n > 1 for one in shown), any(one.place in ("unsure", "perhaps") for one in shown)
    front = "Line and outlined points: the Pareto front; no other config is both more accurate and cheaper."
    cut = f"Drawn are the front and the most accurate: {len(shown)} of {len(every):,} configs."
    return [
        "Means over seeds." if several else "One seed each, so there are no intervals.",
        f"{bars}." * any(one.accuracy.ci95 is not None for one in shown),
        front * shown[0].on_front,
        "Dashed outlines: uncertain, with the probability of being on the front." * unsure,
        "Synthetic data is not ranked." * any(not one.row.ranked for one in shown),
        cut * (len(shown) < len(every)),
    ]


def _grid(every: Sequence[Paying], cost: Cost) -> Grid:
    """What each config reaches and pays."""
    paid = column_texts(Column("", "", cost.kind, over=INTERVAL), [one.paid for one in every])
    probabilities = column_texts(_PROBABILITY, [one.probability for one in every])
    rows = [
        (one_line(one.row.label), accuracy_text(one.accuracy), text, "yes" if one.on_front else "no", probability)
        for one, text, probability in zip(every, paid, probabilities, strict=True)
    ]
    titles = f"config|#test accuracy|#{cost.word}|on the front|#how surely"
    return grid(f"Test accuracy and {cost.word}", titles, rows)
