"""Accuracy over what it costs, in train time, energy or memory: a point per config, the Pareto front as a line."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.report.answer import accuracy_text
from harness.report.charts.axes import Axis, accuracy_axis, cost_axis
from harness.report.charts.chart import Chart, Grid, channel, grid, layer, specification, tooltip
from harness.report.charts.configs import Paying, coloured, config_colour, paying
from harness.report.charts.labels import Label, Wanted, place_labels, without_common_parts
from harness.report.charts.theme import FONT_SIZE, INK, MUTED, WHITE, frame
from harness.report.numbers.fronts import TIME, Cost
from harness.report.tables import Table
from harness.report.texts import column_texts, one_line
from harness.results.columns import INTERVAL, Column

_PROBABILITY = Column("", "", "probability")
LABEL_ALL_UP_TO = 20
MOST_POINTS = 400
MANY = 40  # from here on the bars are faint
ALL_BARS_UP_TO = 200  # beyond, only those of the front are drawn


class Size(NamedTuple):
    """Of the plot itself, in pixels; title, axes and legend come on top."""

    width: int
    height: int


WIDE, NARROW = Size(760, 380), Size(264, 340)  # labels are placed for a size: the second is for a phone


def accuracy_over_cost(table: Table, cost: Cost = TIME, size: Size = WIDE) -> Chart | None:
    """Returns the chart of one system; None where no config has both numbers."""
    every = paying(table, cost)
    if not every:
        return None
    best = sorted(every, key=lambda one: (not one.on_front, -one.accuracy.mean))
    shown = every if len(every) <= MOST_POINTS else best[:MOST_POINTS]
    cut = f"Drawn are the front and the most accurate: {len(shown)} of {len(every):,} configs" * (
        len(shown) < len(every)
    )
    x, y = (
        cost_axis([one.paid for one in shown], cost, size.width),
        accuracy_axis([one.row for one in shown], size.height),
    )
    palette = coloured(table)
    points = [_point(one, x, y, cost, palette) for one in shown]
    front = sorted((point for point in points if point["on_front"]), key=lambda point: point["x"])
    steps = [{"x": point["x"], "y": point["y"]} for point in front]
    if front:
        steps.append({"x": x.high, "y": front[-1]["y"]})
    named = [palette[one.row.config_id] for one in shown if one.row.config_id in palette]
    in_grey = len(shown) - len(named)
    spec = specification(
        {"points": points, "front": steps, "labels": [_label(one, x, y) for one in _labels(points, front, x, y)]},
        frame(f"{one_line(table.suite)} on {table.system}", _subtitle(shown, bool(front), cut)),
        width=size.width,
        height=size.height,
        layer=[
            _front_line(x, y),
            *_bars_and_points(config_colour(named, in_grey), cost.word, x, y, len(points)),
            *_label_layers(x, y),
        ],
    )
    return Chart(f"Accuracy over {cost.word}", _caption(shown, cost, cut), spec, _grid(every, cost))


def _front_line(x: Axis, y: Axis) -> dict[str, Any]:
    look = {"interpolate": "step-after", "color": INK, "strokeWidth": 1.5, "opacity": 0.55, "clip": True}
    return layer("front", "line", {"x": x.channel("x"), "y": y.channel("y")}, **look)


def _bars_and_points(colour: dict[str, Any], word: str, x: Axis, y: Axis, configs: int) -> list[dict[str, Any]]:
    base = {"x": x.channel("x"), "y": y.channel("y"), "color": colour}
    titles = {"label": "config", "accuracy": "test accuracy", "paid": word, "probability": "on the front"}
    marks = {**base, "tooltip": tooltip(*(f"{name}:N" for name in titles), **titles)}
    bar = {"strokeWidth": 1.4, "opacity": 0.35 if configs > MANY else 0.65, "clip": True}
    drawn = "" if configs <= ALL_BARS_UP_TO else "datum.on_front && "
    across = {**base, "x": x.channel("x_low"), "x2": {"field": "x_high"}}
    up = {**base, "y": y.channel("y_low"), "y2": {"field": "y_high"}}
    # An unsure place on the front: pale, and outlined with dashes; one that may be on it: outlined thinly.
    looks = {
        "off": {"stroke": WHITE, "strokeWidth": 0.8, "opacity": 0.75, "size": 55},
        "perhaps": {"stroke": INK, "strokeWidth": 0.9, "strokeDash": [1, 2], "fillOpacity": 0.5, "size": 75},
        "unsure": {"stroke": INK, "strokeWidth": 1.3, "strokeDash": [3, 2], "fillOpacity": 0.5, "size": 120},
        "sure": {"stroke": INK, "strokeWidth": 1.5, "opacity": 1, "size": 120},
    }
    return [
        layer("points", "rule", across, f"{drawn}datum.x_high > datum.x_low", **bar),
        layer("points", "rule", up, f"{drawn}datum.y_high > datum.y_low", **bar),
        *(
            layer("points", "point", marks, f"datum.place == '{place}'", filled=True, **look)
            for place, look in looks.items()
        ),
    ]


def _point(one: Paying, x: Axis, y: Axis, cost: Cost, palette: dict[str, tuple[str, str]]) -> dict[str, Any]:
    accuracy, paid = one.accuracy, one.paid
    return {
        "label": one_line(one.row.label),
        "config": palette.get(one.row.config_id, ("", ""))[0],
        "probability": column_texts(_PROBABILITY, [one.probability])[0],
        "x": paid.mean / x.unit,
        "x_low": x.clamp(paid.low / x.unit),
        "x_high": x.clamp(paid.high / x.unit),
        "y": accuracy.mean / y.unit,
        "y_low": y.clamp(accuracy.low / y.unit),
        "y_high": y.clamp(accuracy.high / y.unit),
        "on_front": one.on_front,
        "place": one.place,
        "accuracy": f"{accuracy.mean:.2%} (n = {accuracy.n})",
        "paid": f"{paid.mean:,.2f} s" if cost.kind == "seconds" else column_texts(Column("", "", cost.kind), [paid])[0],
    }


def _labels(points: list[dict[str, Any]], front: list[dict[str, Any]], x: Axis, y: Axis) -> list[Label]:
    """Labels the front, the greatest gains in accuracy first, and the others too where they are few."""
    texts = without_common_parts([point["label"] for point in points])
    unsure = [point["place"] in ("unsure", "perhaps") for point in points]
    shares = [point["probability"].replace(" ", "\u00a0") for point in points]
    texts = [f"{t} ({share})" if add else t for t, share, add in zip(texts, shares, unsure, strict=True)]
    where = [(x.pixel(point["x"]), y.pixels - y.pixel(point["y"])) for point in points]
    wanted = {id(p): Wanted(t, *at, p["on_front"]) for p, t, at in zip(points, texts, where, strict=True)}

    lines = []
    for point, (across, down) in zip(points, where, strict=True):
        lines.append((x.pixel(point["x_low"]), down, x.pixel(point["x_high"]), down))
        lines.append((across, y.pixels - y.pixel(point["y_high"]), across, y.pixels - y.pixel(point["y_low"])))
    corners = [(wanted[id(point)].x, wanted[id(point)].y) for point in front]
    for (left, down), (right, up) in zip(corners, [*corners[1:], (x.pixels, 0)], strict=False):
        lines.append((left, down, right, down))
        lines.append((right, up, right, down))

    gains = {id(after): after["y"] - before["y"] for before, after in itertools.pairwise(front)}
    order = sorted(front, key=lambda point: -gains.get(id(point), math.inf))
    order = [*front[-1:], *(point for point in order if point is not front[-1])]
    if len(points) <= LABEL_ALL_UP_TO and x.pixels >= WIDE.width:
        order += [point for point in points if not point["on_front"]]
    return place_labels([wanted[id(point)] for point in order], where, lines, (x.pixels, y.pixels), FONT_SIZE)


def _label(label: Label, x: Axis, y: Axis) -> dict[str, Any]:
    spots = {"": label.anchor, "point_": label.point, "near_": label.nearest}
    where = {f"{name}x": x.value(spot[0]) for name, spot in spots.items()}
    where |= {f"{name}y": y.value(y.pixels - spot[1]) for name, spot in spots.items()}
    return {**where, "text": label.text, "strong": label.strong, "align": label.align, "far": label.far}


def _label_layers(x: Axis, y: Axis) -> list[dict[str, Any]]:
    ends = {"x": x.channel("point_x"), "y": y.channel("point_y"), "x2": {"field": "near_x"}, "y2": {"field": "near_y"}}
    layers = [layer("labels", "rule", ends, "datum.far", color=MUTED, strokeWidth=0.8, opacity=0.8)]
    place = {"x": x.channel("x"), "y": y.channel("y"), "text": channel("text:N")}
    ink = {"condition": {"test": "datum.strong", "value": INK}, "value": MUTED}
    for align in ("left", "center", "right"):
        look = {
            "align": align,
            "baseline": "top",
            "lineBreak": "\n",
            "fontSize": FONT_SIZE,
            "lineHeight": FONT_SIZE + 2,
        }
        halo = {"stroke": WHITE, "strokeWidth": 3, "strokeOpacity": 0.85}
        own = f"datum.align == '{align}'"
        layers.append(layer("labels", "text", place, own, **look, **halo))
        layers.append(layer("labels", "text", {**place, "color": ink}, own, **look))
    return layers


def _subtitle(shown: Sequence[Paying], has_front: bool, cut: str) -> list[str]:
    said = []
    if any(one.accuracy.n > 1 for one in shown):
        said.append("mean over seeds")
    if any(one.accuracy.ci95 is not None for one in shown):
        said.append("bars: 95 % t interval" + ", of the front only" * (len(shown) > ALL_BARS_UP_TO))
    if all(one.accuracy.n == 1 for one in shown):
        said.append("one seed each, so no interval")
    if has_front:
        said.append("line and outlined points: Pareto front")
    if _unsure(shown):
        said.append("dashed outlines: unsure, with the probability of being on the front")
    if any(not one.row.ranked for one in shown):
        said.append("synthetic data is not ranked")
    text = "; ".join([*said, *([cut] if cut else [])])
    return textwrap.wrap(f"{text[:1].upper()}{text[1:]}", 110)


def _caption(shown: Sequence[Paying], cost: Cost, cut: str) -> str:
    several = any(one.accuracy.ci95 is not None for one in shown)
    what = "Up is more accurate, left is cheaper. The line is the Pareto front: no other config beats those in both."
    bars = " Bars are 95 % intervals over the seeds." if several else " One seed each, so there are no intervals."
    dashes = " A dashed outline: a place on the front that is unsure, with its probability." * _unsure(shown)
    return f"{what if cost is TIME else ''}{bars}{dashes}{f' {cut}.' if cut else ''}".strip()


def _unsure(shown: Sequence[Paying]) -> bool:
    return any(one.place in ("unsure", "perhaps") for one in shown)


def _grid(every: Sequence[Paying], cost: Cost) -> Grid:
    """What each config reaches and pays, those on the front first."""
    ordered = sorted(every, key=lambda one: (not one.on_front, -one.accuracy.mean))
    paid = column_texts(Column("", "", cost.kind, over=INTERVAL), [one.paid for one in ordered])
    probabilities = column_texts(_PROBABILITY, [one.probability for one in ordered])
    rows = [
        (one_line(one.row.label), accuracy_text(one.accuracy), text, "yes" if one.on_front else "no", probability)
        for one, text, probability in zip(ordered, paid, probabilities, strict=True)
    ]
    titles = f"config|#test accuracy|#{cost.word}|on the front|#how surely"
    return grid(f"Test accuracy and {cost.word}", titles, rows, "table.csv")
