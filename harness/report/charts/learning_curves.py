"""Learning curves: accuracy and loss on the train and test split, by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.report.charts.axes import value_channel
from harness.report.charts.chart import Chart, Grid, channel, grid, layer, specification, tooltip
from harness.report.charts.configs import coloured, config_colour
from harness.report.charts.theme import frame
from harness.report.numbers.curves import METRICS, SPLITS, ByEpoch, by_epoch, thinned
from harness.report.numbers.fronts import TIME
from harness.report.tables import Table
from harness.report.texts import NOTHING, listed, one_line
from harness.spec.settings import value_at as at

WIDTH, HEIGHT = 350, 260  # of a panel
MOST_POINTS = 120  # of a line
_Y = {"accuracy": "Accuracy (%)", "loss": "Loss"}


def learning_curves(table: Table, shown: Sequence[ByEpoch] | None = None) -> Chart | None:
    """Returns the chart of one system; None where no run has epochs on record.

    Args:
        shown: the epochs of `shown_by_epoch`, where they have been read.
    """
    shown = shown_by_epoch(table) if shown is None else shown
    if not shown:
        return None
    palette = coloured(table)
    own = [palette[one.row.config_id] for one in shown]
    colour = config_colour(own, orient="bottom", columns=4)
    seeds = "Mean over seeds" if any(one.runs > 1 for one in shown) else "One seed each"
    loss = "The train loss has label smoothing, the test loss none: they do not compare." * smoothed(shown)
    points = [point for one, (name, _) in zip(shown, own, strict=True) for point in _points(one, name)]
    spec = specification(
        {"points": points},
        frame(
            f"{one_line(table.suite)} on {table.system}", [f"{seeds}; solid: test, dashed: train", *[loss] * bool(loss)]
        ),
        hconcat=[_panel(metric, points, colour) for metric in METRICS],
        spacing=34,
    )
    others = sum(row.ranked for row in table.rows) - len(shown)
    lost = [f"{one_line(one.row.label)} ({one.lost})" for one in shown if one.lost]
    said = [
        "Solid lines are the test split, dashed ones the train split, taken during the epoch.",
        *[loss] * bool(loss),
        *[f"{others:,} more configs are not drawn."] * (others > 0),
        *[f"Epochs without an event in every run are left out: {listed(lost)}."] * bool(lost),
    ]
    return Chart("Accuracy and loss by epoch", " ".join(said), spec, _grid(shown))


def shown_by_epoch(table: Table) -> list[ByEpoch]:
    """Returns the epochs of the configs that have a colour, those of the front first, then the most accurate."""
    palette, rows = coloured(table), {row.config_id: row for row in table.rows}
    first = [rows[config_id] for config_id in palette]
    with_curves = [row for row in first if table.curves.get(row.config_id) or not row.ok_for(TIME.metric)]
    found = (by_epoch(row, table.epochs_of) for row in with_curves)
    return [one for one in found if one and one.epochs]


def smoothed(shown: Sequence[ByEpoch]) -> bool:
    """Tells whether train losses hold label smoothing, without which test losses are taken."""
    return any(at(one.row.runs[0].spec, "train.label_smoothing") for one in shown)


def _panel(metric: str, points: Sequence[dict[str, Any]], colour: dict[str, Any]) -> dict[str, Any]:
    whole = {"tickMinStep": 1, "format": "d", "tickCount": 8}
    dashes = {"domain": list(SPLITS), "range": [[1, 0], [3, 3]]}
    base = {
        "x": channel("epoch:Q", "Epoch", scale={"zero": False, "nice": False}, axis=whole),
        "y": value_channel(metric, _Y[metric], points, HEIGHT),
        "color": colour,
    }
    split = channel("split:N", "split", scale=dashes, sort=list(SPLITS), legend={"orient": "bottom"})
    told = tooltip("config:N", "split:N", "epoch:Q:d", f"{metric}:Q:.4~g", **{metric: _Y[metric]})
    known = f"isValid(datum.{metric})"
    # Points to hover on: seen only where the test split was evaluated seldom enough.
    spots = {**base, "tooltip": told, "detail": channel("split:N")}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "layer": [
            layer("points", "line", {**base, "strokeDash": split}, known, strokeWidth=1.8, clip=True),
            layer("points", "point", spots, known, filled=True, size=20, opacity=1, clip=True),
        ],
    }


def _points(one: ByEpoch, name: str) -> list[dict[str, Any]]:
    points = []
    for epoch in thinned(one.epochs, MOST_POINTS):
        for split in SPLITS:
            accuracy, loss = (epoch.values.get(f"{split}.{metric}") for metric in METRICS)
            if accuracy is None and loss is None:
                continue
            point = {"config": name, "split": split, "epoch": epoch.number, "loss": loss}
            points.append({**point, "accuracy": None if accuracy is None else 100 * accuracy})
    return points


def _grid(shown: Sequence[ByEpoch]) -> Grid:
    """Where the curves begin and end."""
    rows = []
    for one in shown:
        first, last = one.epochs[0].values, one.epochs[-1].values
        tested = [epoch for epoch in one.epochs if "test.accuracy" in epoch.values]
        best = max(tested, key=lambda epoch: epoch.values["test.accuracy"], default=None)
        ends = [_percent(first, "test"), _percent(last, "test"), _percent(last, "train")]
        ends += [f"{last[name]:.3g}" if name in last else NOTHING for name in ("test.loss", "train.loss")]
        peak = f"{_percent(best.values, 'test')} ({best.number})" if best else NOTHING
        rows.append((one_line(one.row.label), str(one.epochs[-1].number), *ends, peak))
    ends_of = "#test, first epoch|#test, last|#train, last|#test loss, last|#train loss, last"
    titles = f"config|#epochs|{ends_of}|#best test (epoch)"
    return grid("Learning curves: accuracy and loss", titles, rows, "table.csv")


def _percent(values: dict[str, float], split: str) -> str:
    value = values.get(f"{split}.accuracy")
    return NOTHING if value is None else f"{100 * value:.2f} %"
