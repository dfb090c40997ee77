"""Lines over train time and over epochs: test accuracy; accuracy and loss of both splits; speed, waiting and power."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.durations import duration_text
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
    tooltip,
)
from harness.report.charts.theme import FONT_SIZE, HALO, INK, MUTED
from harness.report.epochs import METRICS, SPLITS, ByEpoch, Curve, by_epoch, mean_curve, thinned
from harness.report.fronts import TIME
from harness.report.rows import Row
from harness.report.tables import Table
from harness.report.texts import NOTHING, TextTable, listed, one_line, text_table
from harness.spec.settings import value_at

WIDTH, HEIGHT = 760, 380  # of the plot itself; title, axes and legend come on top
SIZE, FLAT_SIZE = (350, 260), (760, 110)  # of a panel beside others, and of one above others
LEAST_RISE = 0.15  # of the curves' whole rise, that their axis shows at least
CURVE_POINTS, MOST_POINTS = 400, 120  # of a line of accuracy over time, and of another
MOST_TICKS = 8  # of an axis of epochs
# Never `clip`: the renderer of PNG takes a tenth of a second for each line that has it.
_STEPS = {"interpolate": "step-after"}
_TITLES = {"accuracy": "Accuracy (%)", "loss": "Loss"}
# Title and factor.
_SPEEDS = {
    "samples_per_second": ("Samples/s", 1.0),
    "wait_share": ("Waited for data (%)", 100.0),
    "gpu_watts": ("GPU power (W)", 1.0),
}


class Line(NamedTuple):
    """The mean of a config's runs over train time."""

    row: Row
    name: str
    points: list[tuple[float, float]]


def curves(table: Table) -> Chart | None:
    """Returns the chart of test accuracy over train time; None where no run has evaluations on record."""
    palette, rows = coloured(table), {row.config_id: row for row in table.rows}
    lines = []
    for config_id, (name, _) in palette.items():
        if own := table.curves.get(config_id):
            most = math.ceil(CURVE_POINTS / len(own))
            fewer = [Curve(thinned(curve.seconds, most), thinned(curve.accuracies, most)) for curve in own]
            lines.append(Line(rows[config_id], name, mean_curve(fewer)))
    if not lines:
        return None
    lasts = [line.points[-1][0] for line in lines]
    x = axis_of("train time", "seconds", min(lasts), max(lasts), starts=min(line.points[0][0] for line in lines))
    y = _rise_axis([[accuracy for _, accuracy in line.points] for line in lines])
    told = tooltip("label:N", "y:Q:.2f", "x:Q:.4~g", y=y.title, x=x.title, label="config")
    colour = config_colour([palette[line.row.config_id] for line in lines])
    drawn = {"x": x.channel("x"), "y": y.channel("y"), "color": colour, "tooltip": told}
    at = (table.budget or 0.0) / x.unit
    targets, end = _targets(table, y), [{"x": at, "text": duration_text(at * x.unit)}] * (x.low < at < x.high)
    # Never `opacity`: the renderer of PNG would draw each line into a picture of its own, for seconds.
    layers = [
        *_rules("targets", targets, {"y": y.channel("y")}, {"x": {"value": 0}}),
        *_rules("budget", end, {"x": x.channel("x")}, {"y": {"value": HEIGHT}}),
        layer("curves", "line", drawn, "!datum.front", strokeWidth=1.2, strokeOpacity=0.9, **_STEPS),
        layer("curves", "line", drawn, "datum.front", strokeWidth=2.6, **_STEPS),
        # Where a line ends the config trains no more.
        layer("ends", "point", drawn, filled=True, size=40, opacity=1),
    ]
    points = [_line_points(line, x, y) for line in lines]
    datasets = {
        "curves": [point for own in points for point in own],
        "ends": [own[-1] for own in points if own[-1]["y"] is not None],
        "targets": targets,
        "budget": end,
    }
    several = any(len(table.curves[line.row.config_id]) > 1 for line in lines)
    others = sum(row.ranked for row in table.rows) - len(lines)
    cut = min(accuracy for line in lines for _, accuracy in line.points) / y.unit < y.low
    said = [
        "Means over seeds; the intervals of whole runs are in the table." if several else "One seed each.",
        "The higher a line at a given time, the better the config for that train time.",
        "An accuracy holds until the next evaluation.",
        "Thick lines are on the Pareto front." * any(point["front"] for point in datasets["curves"]),
        f"{others:,} more configs are not drawn." * (others > 0),
        f"The axis starts at {y.low:.0f} %; lines start below it." * cut,
    ]
    title, view = "Test accuracy over train time", {"width": WIDTH, "height": HEIGHT, "layer": layers}
    return chart(table, title, said, datasets, _ends(datasets["curves"], x=x.title, y=y.title), **view)


def learning_curves(table: Table) -> Chart | None:
    """Returns the chart of accuracy and loss of one system; None where no run has epochs on record."""
    shown = _shown(table)
    if not shown:
        return None
    palette = coloured(table)
    points = [point for one in shown for point in _split_points(one, palette[one.row.config_id][0])]
    first, last = (end((point["epoch"] for point in points), default=1) for end in (min, max))
    # Of few epochs Vega would mark halves, too, which read as 1, 2, 2, 3, 3.
    ticks = {"values": list(range(first, last + 1))} if last - first < MOST_TICKS else {"tickCount": MOST_TICKS}
    x = channel("epoch:Q", "Epoch", scale={"zero": False, "nice": False}, axis={"format": "d", **ticks})
    dashes = {"domain": list(SPLITS), "range": [[1, 0], [3, 3]]}
    split = channel("split:N", "split", scale=dashes, sort=list(SPLITS), legend={"orient": "bottom"})
    base = {"x": x, "color": _colour(table, shown), "strokeDash": split}
    panels = [_panel(name, _TITLES[name], points, base, ["split:N", "epoch:Q:d"], SIZE) for name in METRICS]
    others = sum(row.ranked for row in table.rows) - len(shown)
    lost = [f"{one_line(one.row.label)} ({one.lost})" for one in shown if one.lost]
    smoothed = any(value_at(one.row.runs[0].spec, "train.label_smoothing") for one in shown)
    said = [
        "Means over seeds." if any(one.runs > 1 for one in shown) else "One seed each.",
        "Solid lines are the test split, dashed ones the train split, taken during the epoch.",
        "The train loss has label smoothing, the test loss none: they do not compare." * smoothed,
        f"{others:,} more configs are not drawn." * (others > 0),
        f"Epochs without an event in every run are left out: {listed(lost, 2)}." * bool(lost),
    ]
    title, view = "Accuracy and loss by epoch", {"hconcat": panels, "spacing": 34}
    return chart(table, title, said, {"points": points}, _ends(points, epoch="epoch", **_TITLES), **view)


def over_epochs(table: Table) -> Chart | None:
    """Returns the chart of speed, waiting and power of one system; None where no epoch's time is on record."""
    shown = [one for one in _shown(table) if any(epoch.seconds for epoch in one.epochs)]
    timed = [[epoch for epoch in one.epochs if epoch.seconds] for one in shown]
    names = [name for name in _SPEEDS if any(name in epoch.values for epochs in timed for epoch in epochs)]
    if not names:
        return None
    firsts, lasts = ([epochs[at].seconds or 0.0 for epochs in timed] for at in (0, -1))
    x = axis_of("train time", "seconds", min(lasts), max(lasts), starts=min(firsts))
    palette = coloured(table)
    points = []
    for one, epochs in zip(shown, timed, strict=True):
        for epoch in thinned(epochs, MOST_POINTS):
            own = {name: epoch.values[name] * _SPEEDS[name][1] for name in names if name in epoch.values}
            where = {"epoch": epoch.number, "x": (epoch.seconds or 0.0) / x.unit}
            points.append({"config": palette[one.row.config_id][0], **where, **own})
    panels = []
    for name in names:
        across = x.channel("x") | ({} if name == names[-1] else {"title": None})
        base = {"x": across, "color": _colour(table, shown)}
        panels.append(_panel(name, _SPEEDS[name][0], points, base, ["epoch:Q:d"], FLAT_SIZE))
    said = [
        "A point for each epoch, where it ended; means over seeds.",
        "A line that falls or jumps shows throttling, or other work on the machine.",
    ]
    title, view = "Speed over the train time", {"vconcat": panels, "spacing": 12}
    return chart(
        table,
        title,
        said,
        {"points": points},
        _ends(points, x=x.title, **{one: _SPEEDS[one][0] for one in names}),
        **view,
    )


def _shown(table: Table) -> list[ByEpoch]:
    """Returns the epochs of the configs that have a colour, those of the front first, then the most accurate."""
    palette, rows = coloured(table), {row.config_id: row for row in table.rows}
    first = [rows[config_id] for config_id in palette]
    with_curves = [row for row in first if table.curves.get(row.config_id) or not row.ok_for(TIME.metric)]
    found = (by_epoch(row, table.epochs_of) for row in with_curves)
    return [one for one in found if one and one.epochs]


def _colour(table: Table, shown: Sequence[ByEpoch]) -> dict[str, Any]:
    palette = coloured(table)
    return config_colour([palette[one.row.config_id] for one in shown], orient="bottom", columns=4)


def _panel(
    name: str,
    title: str,
    points: Sequence[Mapping[str, Any]],
    base: dict[str, Any],
    told: Sequence[str],
    size: tuple[int, int],
) -> dict[str, Any]:
    """Returns a panel of one number: lines with points to hover on, which are seen where there are few."""
    width, height = size
    base = {**base, "y": _values(name, title, points)}
    spots = {**base, "tooltip": tooltip("config:N", *told, f"{name}:Q:,.4~g", **{name: title})}
    if spots.pop("strokeDash", None):
        spots["detail"] = channel("split:N")
    known = f"isValid(datum.{name})"
    layers = [
        layer("points", "line", base, known, strokeWidth=1.7),
        layer("points", "point", spots, known, filled=True, size=20, opacity=1),
    ]
    return {"width": width, "height": height, "layer": layers}


def _values(field: str, title: str, points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns a vertical axis; logarithmic where a linear one would press the small values together."""
    values = [point[field] for point in points if point.get(field) is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if is_wide(low, high):
        return Axis(title, 1.0, low / 1.2, high * 1.2, True).channel(field) | {"title": [title, "(log scale)"]}
    return channel(f"{field}:Q", title, scale={"type": "linear", "zero": False}, axis={"tickCount": 5})


def _split_points(one: ByEpoch, name: str) -> Rows:
    points = []
    for epoch in thinned(one.epochs, MOST_POINTS):
        for split in SPLITS:
            accuracy, loss = (epoch.values.get(f"{split}.{metric}") for metric in METRICS)
            if accuracy is None and loss is None:
                continue
            point = {"config": name, "split": split, "epoch": epoch.number, "loss": loss}
            points.append({**point, "accuracy": None if accuracy is None else 100 * accuracy})
    return points


def _ends(points: Rows, **titles: str) -> TextTable:
    """Returns what each line ends with.

    Args:
        titles: of the numbers, by field.
    """
    last = {(point["config"], point.get("split", "")): point for point in points}
    split = any(name for _, name in last)
    rows = [
        (*line[: 1 + split], *(NOTHING if point.get(one) is None else f"{point[one]:,.4g}" for one in titles))
        for line, point in last.items()
    ]
    names = "|".join(["config", *["split"] * split, *(f"#{title}" for title in titles.values())])
    return text_table("Where the lines end", names, rows)


def _rise_axis(curves: Sequence[Sequence[float]]) -> Axis:
    """Returns the axis of accuracies that rise along curves.

    It shows where the lines end, and half of what the ends lie apart below them, but `LEAST_RISE` of the whole rise:
    lines come in from below.
    """
    means = [accuracy for curve in curves for accuracy in curve]
    reached = [curve[-1] for curve in curves]
    least, most = min(means), max(means)
    wanted = min(min(reached) - (max(reached) - min(reached)) / 2, most - LEAST_RISE * (most - least))
    return accuracy_axis(max(least, wanted), most)


def _line_points(line: Line, x: Axis, y: Axis) -> Rows:
    """Returns the points of a line; null, which breaks it, where it is outside of the plot."""
    front = bool(line.row.values["on_front"])
    same = {"config": line.name, "label": one_line(line.row.label), "front": front}
    scaled = ((seconds / x.unit, accuracy / y.unit) for seconds, accuracy in line.points)
    return [{**same, "x": at, "y": high if y.low <= high <= y.high else None} for at, high in scaled]


def _targets(table: Table, y: Axis) -> Rows:
    targets = [run.target for row in table.rows for run in row.ok if run.target is not None]
    wanted = sorted({one.at_least / y.unit for one in targets if one.metric == "test.accuracy"})
    return [{"y": at, "text": f"target {at:g} %"} for at in wanted if y.low < at < y.high]


def _rules(data: str, rows: Rows, at: dict[str, Any], words: dict[str, Any]) -> list[dict[str, Any]]:
    """Dashed rules, if there are any, with their text at the plot's lower or left edge."""
    if not rows:
        return []
    look = {"align": "left", "baseline": "bottom", "dx": 4, "dy": -3, "color": MUTED, "fontSize": FONT_SIZE}
    texts = [layer(data, "text", {**at, **words, "text": channel("text:N")}, **look, **own) for own in (HALO, {})]
    return [layer(data, "rule", at, color=INK, strokeWidth=1, strokeDash=[3, 3], opacity=0.7), *texts]
