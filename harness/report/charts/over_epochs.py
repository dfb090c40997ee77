"""Telemetry over time: speed, waiting and power of each epoch, over the train time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.charts.axes import LOG_FROM, Axis
from harness.report.charts.curve_lines import config_colour, names_of
from harness.report.charts.learning_curves import elapsed_axis, shown_by_epoch
from harness.report.charts.theme import PALETTE, frame
from harness.report.numbers.curves import thinned
from harness.report.tables import Table
from harness.report.texts import one_line

if TYPE_CHECKING:
    import altair

WIDTH, HEIGHT = 700, 120
MOST_POINTS = 120  # of a line
PANELS = {
    "samples_per_second": ("Samples/s", 1.0),
    "wait_share": ("Waited for data (%)", 100.0),
    "gpu_watts": ("GPU power (W)", 1.0),
}


@dataclass(frozen=True)
class OverEpochs:
    """The chart of one system as plain data.

    Attributes:
        panels: the names of `PANELS` that were measured.
        points: `config`, `epoch`, `x`, and a number for each panel.
    """

    title: str
    subtitle: str
    x: Axis
    palette: dict[str, str]
    panels: list[str]
    points: list[dict[str, Any]]

    def draw(self) -> altair.VConcatChart:
        """Returns the chart.

        Raises:
            ImportError: altair is not installed.
        """
        import altair

        colour = config_colour(self.palette)
        panels = []
        for name in self.panels:
            last = name == self.panels[-1]
            title = PANELS[name][0]
            x_title = self.x.title if last else None
            scale = altair.Scale(**self.x.scale())
            x = altair.X("x:Q", title=x_title, scale=scale, axis=altair.Axis(**self.x.ticks()))
            base = altair.Chart(altair.NamedData("points"), width=WIDTH, height=HEIGHT)
            base = base.transform_filter(f"isValid(datum.{name})").encode(x=x, y=self._up(name), color=colour)
            told = [
                altair.Tooltip("config:N"),
                altair.Tooltip("epoch:Q", format="d"),
                altair.Tooltip(f"{name}:Q", title=title, format=",.4~g"),
            ]
            panels.append(base.mark_line(strokeWidth=1.6) + base.mark_point(filled=True, size=22).encode(tooltip=told))
        return altair.VConcatChart(
            vconcat=panels,
            datasets={"points": self.points},
            spacing=16,
            **frame(self.title, [self.subtitle]),
        )

    def _up(self, name: str) -> altair.Y:
        """Returns a panel's vertical axis; logarithmic where a linear one would press the small values together."""
        import altair

        title, values = PANELS[name][0], [point[name] for point in self.points if name in point]
        low, high = min(values), max(values)
        if low > 0 and high / low > LOG_FROM:
            axis = Axis(title, 1.0, low / 1.2, high * 1.2, True, HEIGHT)
            ticks: dict[str, Any] = {**axis.ticks(), "format": ",~f"}
            scale = altair.Scale(**axis.scale())
            return altair.Y(f"{name}:Q", title=[title, "(log scale)"], scale=scale, axis=altair.Axis(**ticks))
        return altair.Y(f"{name}:Q", title=title, scale=altair.Scale(type="linear"), axis=altair.Axis(tickCount=4))


def over_epochs(table: Table) -> OverEpochs | None:
    """Returns the chart of one system; None where no epoch's time is on record."""
    shown = shown_by_epoch(table)
    x = elapsed_axis(shown, WIDTH)
    panels = [name for name in PANELS if any(name in epoch.values for one in shown for epoch in one.epochs)]
    if not x or not panels:
        return None
    names = names_of([one_line(one.row.label) for one in shown])
    points = []
    for one, name in zip(shown, names, strict=True):
        for epoch in thinned([epoch for epoch in one.epochs if epoch.seconds], MOST_POINTS):
            own = {panel: epoch.values[panel] * PANELS[panel][1] for panel in panels if panel in epoch.values}
            points.append({"config": name, "epoch": epoch.number, "x": (epoch.seconds or 0.0) / x.unit, **own})
    return OverEpochs(
        f"{one_line(table.suite)} on {table.system}",
        "A point for each epoch, where it ended; means over the seeds",
        x,
        dict(zip(names, PALETTE, strict=False)),
        panels,
        points,
    )
