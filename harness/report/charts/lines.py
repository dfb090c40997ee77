"""Lines over train time and over epochs: test accuracy; accuracy and loss of both splits; speed, waiting and power."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

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
    numbers_table,
    tooltip,
)
from harness.report.charts.theme import FONT_SIZE, HALO, INK, MUTED
from harness.report.epochs import METRICS, SPLITS, ByEpoch, Curve, by_epoch, mean_curve, thinned
from harness.report.tables import Table
from harness.report.texts import listed, one_line
from harness.spec.settings import value_at

WIDTH, HEIGHT = 760, 380  # of the plot itself; title, axes and legend come on top
SIZE, FLAT_SIZE = (350, 260), (760, 110)  # of a panel beside others, and of one above others
LEAST_RISE = 0.15  # of the curves' whole rise, that their axis shows at least
CURVE_POINTS, MOST_POINTS = 400, 120  # of a line of accuracy over time, and of another
MOST_TICKS = 8  # of an axis of epochs
# Never `clip`: the renderer of PNG takes a tenth of a second for each line that has it.
ENDS = "Where the lines end"
_STEPS = {"interpolate": "step-after"}
_TITLES = {"accuracy": "Accuracy (%)", "loss": "Loss"}
# Title and factor.
_SPEEDS = {
    "samples_per_second": ("Samples/s", 1.0),
    "wait_share": ("Waited for data (%)", 100.0),
    "gpu_watts": ("Power of all GPUs (W)", 1.0),
}


def curves(table: Table) -> Chart | None:
    """Returns the chart of test accuracy over train time; None where no run has evaluations on record."""
    palette, rows = coloured(table), {row.config_id: row for row in table.rows}
    means: dict[str, list[tuple[float, float]]] = {}
    for config_id in palette:
        if own := table.curves.get(config_id):
            most = math.ceil(CURVE_POINTS / len(own))
            fewer = [Curve(thinned(curve.seconds, most), thinned(curve.accuracies, most)) for curve in own]
            means[config_id] = mean_curve(fewer)
    if not means:
        return None
    (firsts, _), (lasts, _) = (zip(*(own[end] for own in means.values()), strict=True) for end in (0, -1))
    x = axis_of("train time", "seconds", min(lasts), max(lasts), starts=min(firsts))
    y = _rise_axis([[accuracy for _, accuracy in own] for own in means.values()])
    told = tooltip("label:N", "y:Q:.2f", "x:Q:.4~g", y=y.title, x=x.title, label="config")
    colour = config_colour([palette[config_id] for config_id in means])
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
    points: list[Rows] = []
    for config_id, own in means.items():
        row = rows[config_id]
        front, label = bool(row.values["on_front"]), one_line(row.label)
        same = {"config": palette[config_id][0], "label": label, "front": front}
        scaled = [(seconds / x.unit, accuracy / y.unit) for seconds, accuracy in own]
        # Null, outside of the plot, breaks a line.
        points.append([{**same, "x": at, "y": high if y.low <= high <= y.high else None} for at, high in scaled])
    ends = [own[-1] for own in points]
    datasets = {
        "curves": [point for own in points for point in own],
        "ends": [point for point in ends if point["y"] is not None],
        "targets": targets,
        "budget": end,
    }
    several = any(len(table.curves[config_id]) > 1 for config_id in means)
    cut = min(accuracy for own in means.values() for _, accuracy in own) / y.unit < y.low
    said = [
        "Means over seeds; the intervals of whole runs are in the table." if several else "One seed each.",
        "The higher a line at a given time, the better the config for that train time.",
        "An accuracy holds until the next evaluation.",
        "Thick lines are on the Pareto front." * any(point["front"] for point in ends),
        _not_drawn(table, len(means)),
        f"The axis starts at {y.low:.0f} %; lines start below it." * cut,
    ]
    numbers = numbers_table(ENDS, ends, config="config", x=x.title, y=y.title)
    view = {"width": WIDTH, "height": HEIGHT, "layer": layers}
    return chart(table, "Test accuracy over train time", said, datasets, numbers, **view)


def learning_curves(table: Table) -> Chart | None:
    """Returns the chart of accuracy and loss of one system; None where no run has epochs on record."""
    shown, palette = _shown(table), coloured(table)
    if not shown:
        return None
    points = [point for one in shown for point in _split_points(one, palette[one.row.config_id][0])]
    first, last = (end((point["epoch"] for point in points), default=1) for end in (min, max))
    # Of few epochs Vega would mark halves, too, which read as 1, 2, 2, 3, 3.
    ticks = {"values": list(range(first, last + 1))} if last - first < MOST_TICKS else {"tickCount": MOST_TICKS}
    x = channel("epoch:Q", "Epoch", scale={"zero": False, "nice": False}, axis={"format": "d", **ticks})
    dashes = {"domain": list(SPLITS), "range": [[1, 0], [3, 3]]}
    split = channel("split:N", "split", scale=dashes, sort=list(SPLITS), legend={"orient": "bottom"})
    base = {"x": x, "color": _colour(table, shown), "strokeDash": split}
    panels = [_panel(name, _TITLES[name], points, base, ["split:N", "epoch:Q:d"], SIZE) for name in METRICS]
    lost = [f"{one_line(one.row.label)} ({one.lost})" for one in shown if one.lost]
    smoothed = any(value_at(one.row.runs[0].spec, "train.label_smoothing") for one in shown)
    said = [
        "Means over seeds." if any(one.runs > 1 for one in shown) else "One seed each.",
        "Solid lines are the test split, dashed ones the train split, taken during the epoch.",
        "The train loss has label smoothing, the test loss none: they do not compare." * smoothed,
        _not_drawn(table, len(shown)),
        f"Epochs without an event in every run are left out: {listed(lost, 2)}." * bool(lost),
    ]
    ends = list({(point["config"], point["split"]): point for point in points}.values())
    numbers = numbers_table(ENDS, ends, config="config", split="split", epoch="epoch", **_TITLES)
    view = {"hconcat": panels, "spacing": 34}
    return chart(table, "Accuracy and loss by epoch", said, {"points": points}, numbers, **view)


def over_epochs(table: Table) -> Chart | None:
    """Returns the chart of speed, waiting and power of one system; None where no epoch's time is on record."""
    palette = coloured(table)
    timed = [(one, own) for one in _shown(table) if (own := [epoch for epoch in one.epochs if epoch.get("seconds")])]
    names = [name for name in _SPEEDS if any(name in epoch for _, epochs in timed for epoch in epochs)]
    if not names:
        return None
    firsts, lasts = ([epochs[at]["seconds"] for _, epochs in timed] for at in (0, -1))
    x = axis_of("train time", "seconds", min(lasts), max(lasts), starts=min(firsts))
    points = []
    for one, epochs in timed:
        for epoch in thinned(epochs, MOST_POINTS):
            own = {name: epoch[name] * _SPEEDS[name][1] for name in names if name in epoch}
            where = {"epoch": epoch["epoch"], "x": epoch["seconds"] / x.unit}
            points.append({"config": palette[one.row.config_id][0], **where, **own})
    panels = []
    for name in names:
        across = x.channel("x") | ({} if name == names[-1] else {"title": None})
        base = {"x": across, "color": _colour(table, [one for one, _ in timed])}
        panels.append(_panel(name, _SPEEDS[name][0], points, base, ["epoch:Q:d"], FLAT_SIZE))
    said = [
        "A point for each epoch, where it ended; means over seeds.",
        "A line that falls or jumps shows throttling, or other work on the machine.",
    ]
    ends = list({point["config"]: point for point in points}.values())
    numbers = numbers_table(ENDS, ends, config="config", x=x.title, **{name: _SPEEDS[name][0] for name in names})
    view = {"vconcat": panels, "spacing": 12}
    return chart(table, "Speed over the train time", said, {"points": points}, numbers, **view)


def _shown(table: Table) -> list[ByEpoch]:
    """Returns the epochs of the configs that have a colour, those of the front first, then the most accurate."""
    palette, rows = coloured(table), {row.config_id: row for row in table.rows}
    first = [rows[config_id] for config_id in palette]
    with_curves = [row for row in first if table.curves.get(row.config_id) or not row.values["train_seconds"]]
    found = (by_epoch(row, table.epochs_of) for row in with_curves)
    return [one for one in found if one and one.epochs]


def _not_drawn(table: Table, drawn: int) -> str:
    others = sum(row.ranked for row in table.rows) - drawn
    return f"{others:,} more configs are not drawn." * (others > 0)


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
            accuracy, loss = (epoch.get(f"{split}.{metric}") for metric in METRICS)
            if accuracy is not None or loss is not None:
                point = {"config": name, "split": split, "epoch": epoch["epoch"], "loss": loss}
                points.append({**point, "accuracy": None if accuracy is None else 100 * accuracy})
    return points


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
