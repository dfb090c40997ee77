"""The chart of accuracy over what it costs: a point per config, the Pareto front as a line."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.report.charts.axes import Axis, accuracy_axis, cost_axis
from harness.report.charts.encodings import Encoding, encodings
from harness.report.charts.labels import Align, Label, Wanted, place_labels, without_common_parts
from harness.report.charts.theme import FONT_SIZE, INK, MUTED, frame
from harness.report.numbers.fronts import Cost
from harness.report.numbers.rows import Row
from harness.report.tables import Table
from harness.report.texts import column_texts, one_line
from harness.results.columns import Column
from harness.statistics.intervals import Summary

if TYPE_CHECKING:
    import altair

_PROBABILITY = Column("", "", "probability")
LABEL_ALL_UP_TO = 12
SURE = 0.95  # of being on the front, or of not being on it
MANY = 40  # from here on the bars are faint
ALL_BARS_UP_TO = 200  # beyond, only those of the front are drawn


class Size(NamedTuple):
    """Of the plot itself, in pixels; title, axes and legend come on top."""

    width: int
    height: int


WIDE, NARROW = Size(700, 440), Size(264, 340)  # the second is for a phone


@dataclass(frozen=True)
class Paying:
    """A config and what it pays for its accuracy.

    Attributes:
        on_front: by its means.
        probability: of being on the front; None where it cannot be known.
    """

    row: Row
    paid: Summary
    on_front: bool
    probability: float | None

    @property
    def accuracy(self) -> Summary:
        """What it reaches."""
        return self.row.values["test_accuracy"]

    @property
    def place(self) -> str:
        """Whether it is on the front: `sure`, `unsure`, `perhaps` (not by its means) or `off`.

        One whose probability cannot be known is where its means put it.
        """
        if self.on_front:
            return "sure" if self.probability is None or self.probability >= SURE else "unsure"
        return "perhaps" if self.probability is not None and self.probability > 1 - SURE else "off"


@dataclass(frozen=True)
class AccuracyOverCost:
    """The chart of one system as plain data.

    Attributes:
        word: for what is paid.
        points: one for each config; `front` and `labels` likewise are the data of their layers.
    """

    title: str
    subtitle: list[str]
    x: Axis
    y: Axis
    size: Size
    word: str
    looks: Encoding
    points: list[dict[str, Any]]
    front: list[dict[str, Any]]
    labels: list[dict[str, Any]]

    def draw(self) -> altair.LayerChart:
        """Returns the chart.

        Raises:
            ImportError: altair is not installed.
        """
        import altair

        x, y = self.x, self.y
        across = altair.X("x:Q", title=x.title, scale=altair.Scale(**x.scale()), axis=altair.Axis(**x.ticks()))
        up = altair.Y("y:Q", title=y.title, scale=altair.Scale(**y.scale()), axis=altair.Axis(**y.ticks()))
        layers = [
            _front_line(across, up),
            *_bars_and_points(self.looks, self.word, across, up, len(self.points)),
            *_label_layers({label["align"] for label in self.labels}, across, up),
        ]
        return altair.LayerChart(
            layer=layers,
            # Data that stand apart are not copied and validated with each layer: half a second for 500 configs.
            datasets={"points": self.points, "front": self.front, "labels": self.labels},
            width=self.size.width,
            height=self.size.height,
            **frame(self.title, self.subtitle),
        )


def accuracy_over_cost(
    table: Table, paying: Sequence[Paying], cost: Cost, size: Size = WIDE
) -> AccuracyOverCost | None:
    """Returns the chart of one system; None where no config has both numbers.

    Args:
        paying: the configs that have them.
    """
    if not paying:
        return None
    rows = [one.row for one in paying]
    x, y = cost_axis([one.paid for one in paying], cost, size.width), accuracy_axis(rows, size.height)
    looks = encodings(rows, table.columns)
    points = [_point(one, x, y, cost, looks) for one in paying]
    front = sorted((point for point in points if point["on_front"]), key=lambda point: point["x"])
    steps = [{"x": point["x"], "y": point["y"]} for point in front]
    if front:
        steps.append({"x": x.high, "y": front[-1]["y"]})
    labels = [_label(label, x, y) for label in _labels(points, front, x, y)]
    title = f"{one_line(table.suite)} on {table.system}"
    return AccuracyOverCost(title, _subtitle(paying, bool(front)), x, y, size, cost.word, looks, points, steps, labels)


def _front_line(across: Any, up: Any) -> altair.Chart:
    import altair

    line = altair.Chart(altair.NamedData("front")).encode(x=across, y=up)
    return line.mark_line(interpolate="step-after", color=INK, strokeWidth=1.5, opacity=0.55, clip=True)


def _bars_and_points(looks: Encoding, word: str, across: Any, up: Any, configs: int) -> list[altair.Chart]:
    import altair

    colour = altair.Color(
        "colour:N",
        title=looks.colour_title,
        scale=altair.Scale(domain=list(looks.colours), range=list(looks.colours.values())),
        legend=altair.Legend(symbolOpacity=1, labelLimit=200) if len(looks.colours) > 1 else None,
    )
    base = altair.Chart(altair.NamedData("points")).encode(x=across, y=up, color=colour)
    bars = base.mark_rule(strokeWidth=1.4, opacity=0.35 if configs > MANY else 0.65, clip=True)
    told = {"label": "config", "accuracy": "test accuracy", "paid": word, "probability": "on the front"}
    marks = base.encode(tooltip=[altair.Tooltip(f"{name}:N", title=title) for name, title in told.items()])
    if looks.shapes:
        scale = altair.Scale(domain=list(looks.shapes), range=list(looks.shapes.values()))
        marks = marks.encode(shape=altair.Shape("shape:N", title=looks.shape_title, scale=scale))
    others = marks.mark_point(filled=True, stroke="white", strokeWidth=0.8, opacity=0.55, size=55)
    # An unsure place on the front: pale, and outlined with dashes; one that may be on it: outlined thinly.
    front = marks.mark_point(filled=True, stroke=INK, strokeWidth=1.5, opacity=1, size=120)
    unsure = marks.mark_point(filled=True, stroke=INK, strokeWidth=1.3, strokeDash=[3, 2], fillOpacity=0.4, size=120)
    perhaps = marks.mark_point(filled=True, stroke=INK, strokeWidth=0.9, strokeDash=[1, 2], fillOpacity=0.4, size=75)
    drawn = "" if configs <= ALL_BARS_UP_TO else "datum.on_front && "
    return [
        bars.encode(x="x_low:Q", x2="x_high:Q").transform_filter(f"{drawn}datum.x_high > datum.x_low"),
        bars.encode(y="y_low:Q", y2="y_high:Q").transform_filter(f"{drawn}datum.y_high > datum.y_low"),
        others.transform_filter("datum.place == 'off'"),
        perhaps.transform_filter("datum.place == 'perhaps'"),
        unsure.transform_filter("datum.place == 'unsure'"),
        front.transform_filter("datum.place == 'sure'"),
    ]


def _point(one: Paying, x: Axis, y: Axis, cost: Cost, looks: Encoding) -> dict[str, Any]:
    accuracy, paid = one.accuracy, one.paid
    return {
        "label": one_line(one.row.label),
        "probability": column_texts(_PROBABILITY, [one.probability])[0],
        "x": paid.mean / x.unit,
        "x_low": x.clamp(paid.low / x.unit),
        "x_high": x.clamp(paid.high / x.unit),
        "y": accuracy.mean / y.unit,
        "y_low": y.clamp(accuracy.low / y.unit),
        "y_high": y.clamp(accuracy.high / y.unit),
        "on_front": bool(one.on_front),
        "place": one.place,
        "colour": looks.colour_of(one.row),
        "shape": looks.shape_of(one.row),
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


def _label_layers(aligns: set[Align], across: Any, up: Any) -> list[altair.Chart]:
    import altair

    base = altair.Chart(altair.NamedData("labels"))
    leaders = base.mark_rule(color=MUTED, strokeWidth=0.8, opacity=0.8).transform_filter("datum.far")
    layers = [leaders.encode(x="point_x:Q", y="point_y:Q", x2="near_x", y2="near_y")]
    ink = altair.condition("datum.strong", altair.value(INK), altair.value(MUTED))
    for align in sorted(aligns):
        text = base.transform_filter(f"datum.align == '{align}'").encode(x=across, y=up, text="text:N")
        look: dict[str, Any] = {"align": align, "baseline": "top", "lineBreak": "\n"}
        look |= {"fontSize": FONT_SIZE, "lineHeight": FONT_SIZE + 2}
        layers.append(text.mark_text(**look, stroke="white", strokeWidth=3, strokeOpacity=0.85))  # a halo
        layers.append(text.mark_text(**look).encode(color=ink))
    return layers


def _subtitle(paying: Sequence[Paying], has_front: bool) -> list[str]:
    said = []
    if any(one.accuracy.n > 1 for one in paying):
        said.append("mean over seeds")
    if any(one.accuracy.ci95 is not None for one in paying):
        said.append("bars: 95 % t interval" + ", of the front only" * (len(paying) > ALL_BARS_UP_TO))
    if all(one.accuracy.n == 1 for one in paying):
        said.append("one seed each, so no interval")
    if has_front:
        said.append("line and outlined points: Pareto front")
    places = {one.place for one in paying}
    if places & {"unsure", "perhaps"}:
        said.append("dashed outlines: unsure, with the probability of being on the front")
    if any(not one.row.ranked for one in paying):
        said.append("synthetic data is not ranked")
    text = "; ".join(said)
    return textwrap.wrap(f"{text[:1].upper()}{text[1:]}", 110)
