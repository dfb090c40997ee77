"""Accuracy over what it costs, in train time, energy or memory: a point per config, the Pareto front as a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    is_wide,
    layer,
    numbers_table,
    tooltip,
)
from harness.report.charts.theme import FONT_SIZE, HALO, INK, WHITE
from harness.report.fronts import TIME, Cost, Place
from harness.report.tables import Table
from harness.report.texts import column_texts, one_line, shortened, without_common_parts
from harness.results.columns import INTERVAL, Column
from harness.statistics.intervals import Summary

MOST_POINTS = 400
MANY = 40  # from here on the bars are faint
ALL_BARS_UP_TO = 200  # beyond, only those of the front are drawn
WIDTH, HEIGHT = 760, 380  # of the plot itself; title, axes and legend come on top
_PROBABILITY = Column("", "", "probability")
# An unsure place on the front: pale, and outlined with dashes; one that may be on it: outlined thinly.
_LOOKS: dict[str, dict[str, Any]] = {
    "off": {"stroke": WHITE, "strokeWidth": 0.8, "opacity": 0.75, "size": 55},
    "perhaps": {"stroke": INK, "strokeWidth": 0.9, "strokeDash": [1, 2], "fillOpacity": 0.5, "size": 75},
    "unsure": {"stroke": INK, "strokeWidth": 1.3, "strokeDash": [3, 2], "fillOpacity": 0.5, "size": 120},
    "sure": {"stroke": INK, "strokeWidth": 1.5, "opacity": 1, "size": 120},
}


def accuracy_over_cost(table: Table, cost: Cost = TIME) -> Chart | None:
    """Returns the chart of one system; None where no config has both numbers."""
    front = next((front for front in table.fronts if front.cost is cost), None)
    if front is None:
        return None
    every = sorted(front.places, key=lambda one: (not one.on_front, -one.accuracy.mean))
    shown, palette = every[:MOST_POINTS], coloured(table)
    x = axis_of(cost.word, cost.kind, *_span([one.paid for one in shown]))
    y = accuracy_axis(*_span([one.accuracy for one in shown]))
    points = [_point(one, x, y, cost, palette) for one in shown]
    best = sorted((point for point in points if point["on_front"]), key=lambda point: point["x"])
    steps = [{"x": point["x"], "y": point["y"]} for point in best]
    steps += [{"x": x.high, "y": point["y"]} for point in best[-1:]]
    named = [palette[one.row.config_id] for one in shown if one.row.config_id in palette]
    at = {"x": x.channel("x"), "y": y.channel("y")}
    base = {**at, "color": config_colour(named, len(shown) - len(named))}
    titles = {"label": "config", "accuracy": "test accuracy", "paid": cost.word, "probability": "on the front"}
    marks = {**base, "tooltip": tooltip(*(f"{name}:N" for name in titles), **titles)}
    bar = {"strokeWidth": 1.4, "opacity": 0.35 if len(points) > MANY else 0.65, "clip": True}
    drawn = "" if len(points) <= ALL_BARS_UP_TO else "datum.on_front && "
    across = {**base, "x": x.channel("x_low"), "x2": {"field": "x_high"}}
    up = {**base, "y": y.channel("y_low"), "y2": {"field": "y_high"}}
    # No config is cheaper and more accurate than one of the front: the room to its upper left is free.
    text = {**at, "text": channel("text:N")}
    near = {"align": {"expr": "datum.side"}, "dx": {"expr": "datum.side == 'left' ? 4 : -4"}, "dy": -12}
    near |= {"limit": {"expr": "datum.room * width"}, "fontSize": FONT_SIZE}
    return chart(
        table,
        f"Accuracy over {cost.word}",
        _said(every, shown),
        {"points": points, "front": steps, "labels": _labels(best, x, y)},
        numbers_table(f"Test accuracy and {cost.word}", points, **titles),
        width=WIDTH,
        height=HEIGHT,
        layer=[
            layer("front", "line", at, interpolate="step-after", color=INK, strokeWidth=1.5, opacity=0.55, clip=True),
            layer("points", "rule", across, f"{drawn}datum.x_high > datum.x_low", **bar),
            layer("points", "rule", up, f"{drawn}datum.y_high > datum.y_low", **bar),
            *(
                layer("points", "point", marks, f"datum.place == '{place}'", filled=True, **look)
                for place, look in _LOOKS.items()
            ),
            layer("labels", "text", text, **near, **HALO),
            layer("labels", "text", text, **near, color=INK),
        ],
    )


def _span(values: Sequence[Summary]) -> tuple[float, float]:
    """Returns the ends of what is shown: all means, and as much of their intervals as the means lie apart.

    Intervals of two seeds can be far wider: they leave the plot at its edge.
    """
    lows, means, highs = zip(*((one.low, one.mean, one.high) for one in values), strict=True)
    least, most = min(means), max(means)
    if is_wide(least, most):
        lows = [low for low in lows if low > 0] or [least]
        return max(min(lows), least**2 / most), min(max(highs), most**2 / least)
    room = max(most - least, 0.1 * most)
    return max(min(lows), least - room), min(max(highs), most + room)


def _point(one: Place, x: Axis, y: Axis, cost: Cost, palette: dict[str, tuple[str, str]]) -> dict[str, Any]:
    accuracy, paid = one.accuracy, one.paid
    return {
        "label": one_line(one.row.label),
        "config": palette.get(one.row.config_id, ("", ""))[0],
        "probability": column_texts(_PROBABILITY, [one.probability])[0],
        "x": paid.mean / x.unit,
        "x_low": x.clipped(paid.low),
        "x_high": x.clipped(paid.high),
        "y": accuracy.mean / y.unit,
        "y_low": y.clipped(accuracy.low),
        "y_high": y.clipped(accuracy.high),
        "on_front": one.on_front,
        "place": one.sureness,
        "accuracy": f"{accuracy_text(accuracy)} (n = {accuracy.n})",
        "paid": column_texts(Column("", "", cost.kind, over=INTERVAL), [paid])[0],
    }


def _labels(front: Rows, x: Axis, y: Axis) -> Rows:
    """Labels the front from the top down, where there is room below the label before."""
    found: Rows = []
    texts = without_common_parts([point["label"] for point in front])
    for point, text in reversed(list(zip(front, texts, strict=True))):
        height = HEIGHT * y.share(point["y"])
        if found and HEIGHT * y.share(found[-1]["y"]) - height < FONT_SIZE + 2:
            continue
        across = x.share(point["x"])
        share = f" ({point['probability']})".replace(" %", "\u00a0%") * (point["place"] == "unsure")
        side = {"side": "left", "room": 1 - across} if across < 0.5 else {"side": "right", "room": across}
        found.append({"text": shortened(text, 40) + share, "x": point["x"], "y": point["y"], **side})
    return found


def _said(every: Sequence[Place], shown: Sequence[Place]) -> list[str]:
    bars = "Bars are 95 % t intervals" + ", of the front only" * (len(shown) > ALL_BARS_UP_TO)
    several = any(one.accuracy.n > 1 for one in shown)
    unsure = any(one.sureness in ("unsure", "perhaps") for one in shown)
    front = "Line and outlined points: the Pareto front; no other config is both more accurate and cheaper."
    cut = f"Drawn are the front and the most accurate: {len(shown)} of {len(every):,} configs."
    return [
        "Means over seeds." if several else "One seed each, so there are no intervals.",
        f"{bars}." * any(one.accuracy.ci95 is not None for one in shown),
        front * shown[0].on_front,
        "Dashed outlines: uncertain, with the probability of being on the front." * unsure,
        cut * (len(shown) < len(every)),
    ]
