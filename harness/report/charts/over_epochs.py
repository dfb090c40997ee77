"""Telemetry over time: speed, waiting and power of each epoch, over the train time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.report.charts.axes import Axis, plain_time_axis, value_channel
from harness.report.charts.chart import Chart, Grid, grid, layer, specification, tooltip
from harness.report.charts.configs import coloured, config_colour
from harness.report.charts.learning_curves import shown_by_epoch
from harness.report.charts.theme import frame
from harness.report.numbers.curves import ByEpoch, thinned
from harness.report.tables import Table
from harness.report.texts import NOTHING, one_line

WIDTH, HEIGHT = 760, 110
MOST_POINTS = 120  # of a line
# Title, factor, and the form of the numbers in the table.
PANELS = {
    "samples_per_second": ("Samples/s", 1.0, "{:,.0f}"),
    "wait_share": ("Waited for data (%)", 100.0, "{:.1f} %"),
    "gpu_watts": ("GPU power (W)", 1.0, "{:.0f} W"),
}


def over_epochs(table: Table, shown: Sequence[ByEpoch] | None = None) -> Chart | None:
    """Returns the chart of one system; None where no epoch's time is on record.

    Args:
        shown: the epochs of `shown_by_epoch`, where they have been read.
    """
    shown = shown_by_epoch(table) if shown is None else shown
    timed = [(one, [epoch for epoch in one.epochs if epoch.seconds]) for one in shown]
    timed = [(one, epochs) for one, epochs in timed if epochs]
    panels = [name for name in PANELS if any(name in epoch.values for _, epochs in timed for epoch in epochs)]
    if not panels:
        return None
    seconds = [[epoch.seconds or 0.0 for epoch in epochs] for _, epochs in timed]
    x = plain_time_axis([min(own) for own in seconds], [max(own) for own in seconds], WIDTH)
    palette = coloured(table)
    points = []
    for one, epochs in timed:
        for epoch in thinned(epochs, MOST_POINTS):
            own = {panel: epoch.values[panel] * PANELS[panel][1] for panel in panels if panel in epoch.values}
            where = {"epoch": epoch.number, "x": (epoch.seconds or 0.0) / x.unit}
            points.append({"config": palette[one.row.config_id][0], **where, **own})
    colour = config_colour([palette[one.row.config_id] for one, _ in timed], orient="bottom", columns=4)
    spec = specification(
        {"points": points},
        frame(
            f"{one_line(table.suite)} on {table.system}", ["A point for each epoch, where it ended; means over seeds"]
        ),
        vconcat=[_panel(name, points, x, colour, last=name == panels[-1]) for name in panels],
        spacing=12,
    )
    caption = "Of each epoch: a line that falls or jumps is a machine that throttled, or that others used."
    return Chart("Speed over the train time", caption, spec, _grid(shown, panels))


def _panel(
    name: str, points: Sequence[dict[str, Any]], x: Axis, colour: dict[str, Any], *, last: bool
) -> dict[str, Any]:
    title = PANELS[name][0]
    across = x.channel("x") | ({} if last else {"title": None})
    base = {"x": across, "y": value_channel(name, title, points, HEIGHT), "color": colour}
    told = tooltip("config:N", "epoch:Q:d", f"{name}:Q:,.4~g", **{name: title})
    known = f"isValid(datum.{name})"
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "layer": [
            layer("points", "line", base, known, strokeWidth=1.6),
            layer("points", "point", {**base, "tooltip": told}, known, filled=True, size=22),
        ],
    }


def _grid(shown: Sequence[ByEpoch], panels: Sequence[str]) -> Grid:
    """The least and the most of each line."""
    rows = []
    for one in shown:
        cells = []
        for name in panels:
            _, factor, form = PANELS[name]
            values = [epoch.values[name] * factor for epoch in one.epochs if name in epoch.values]
            least, most = (form.format(end(values)) for end in (min, max)) if values else (NOTHING, NOTHING)
            cells.append(f"{least} to {most}" if least != most else least)
        rows.append((one_line(one.row.label), *cells))
    titles = "|".join(["config", *(f"#{PANELS[name][0].partition(' (')[0]}" for name in panels)])
    return grid("Least and most of an epoch", titles, rows, "table.csv")
