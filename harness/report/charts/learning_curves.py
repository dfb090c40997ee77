"""Learning curves: accuracy and loss on the train and test split, by epoch or by train time, with a strip to brush."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.report.charts.axes import Axis, plain_time_axis
from harness.report.charts.curve_lines import MOST_COLOURED, best_first, config_colour, names_of
from harness.report.charts.theme import PALETTE, frame
from harness.report.numbers.curves import METRICS, SPLITS, ByEpoch, by_epoch, thinned
from harness.report.numbers.differences import at
from harness.report.numbers.fronts import TIME
from harness.report.tables import Table
from harness.report.texts import one_line

if TYPE_CHECKING:
    import altair

WIDTH, HEIGHT, STRIP = 700, 230, 44
MOST_POINTS = 120  # of a line
EPOCH = "Epoch"
_Y = {"accuracy": "Accuracy (%)", "loss": "Loss"}


@dataclass(frozen=True)
class LearningCurves:
    """The chart of one system as plain data.

    Attributes:
        palette: a colour for each config.
        points: `config`, `split`, `epoch`, `x`, and `accuracy` (%) and `loss` where they were measured.
        x: epochs from 1, or train time.
    """

    title: str
    subtitle: str
    x: Axis
    palette: dict[str, str]
    points: list[dict[str, Any]]

    def draw(self) -> altair.VConcatChart:
        """Returns the chart; what is brushed in the strip below fills the panels above.

        Raises:
            ImportError: altair is not installed.
        """
        import altair

        brush = altair.selection_interval(encodings=["x"], name="brush")
        panels = [self._panel(metric, brush) for metric in METRICS]
        return altair.VConcatChart(
            vconcat=[*panels, self._strip(brush)],
            datasets={"points": self.points},
            spacing=22,
            **frame(self.title, [self.subtitle]),
        )

    def _panel(self, metric: str, brush: Any) -> altair.LayerChart:
        import altair

        scale = {**self.x.scale(), "domain": brush}
        x = altair.X("x:Q", title=self.x.title, scale=altair.Scale(**scale), axis=self._ticks())
        y = altair.Y(f"{metric}:Q", title=_Y[metric], scale=altair.Scale(zero=False), axis=altair.Axis(tickCount=5))
        dashes = altair.Scale(domain=list(SPLITS), range=[[1, 0], [3, 3]])
        base = altair.Chart(altair.NamedData("points")).transform_filter(f"isValid(datum.{metric})")
        base = base.encode(x=x, y=y, color=config_colour(self.palette))
        lines = base.mark_line(strokeWidth=1.8, clip=True).encode(
            strokeDash=altair.StrokeDash("split:N", title="split", scale=dashes, sort=list(SPLITS))
        )
        told = [
            altair.Tooltip("config:N"),
            altair.Tooltip("split:N"),
            altair.Tooltip("epoch:Q", format="d"),
            altair.Tooltip(f"{metric}:Q", title=_Y[metric], format=".4~g"),
            altair.Tooltip("x:Q", title=self.x.title, format=".4~g"),
        ]
        # Points to hover on: seen only where the test split was evaluated seldom enough.
        spots = base.mark_point(filled=True, size=26, opacity=1, clip=True).encode(tooltip=told, detail="split:N")
        return altair.LayerChart(layer=[lines, spots], width=WIDTH, height=HEIGHT)

    def _strip(self, brush: Any) -> altair.Chart:
        import altair

        scale = altair.Scale(**self.x.scale())
        x = altair.X("x:Q", title="Drag here to look closer", scale=scale, axis=self._ticks())
        y = altair.Y("accuracy:Q", title=None, axis=None, scale=altair.Scale(zero=False))
        base = altair.Chart(altair.NamedData("points"), width=WIDTH, height=STRIP)
        only = base.transform_filter("datum.split == 'test' && isValid(datum.accuracy)")
        return only.mark_line(strokeWidth=1).encode(x=x, y=y, color=config_colour(self.palette)).add_params(brush)

    def _ticks(self) -> altair.Axis:
        """What is brushed may lie between round numbers, so none are fixed; there are only whole epochs."""
        import altair

        whole: dict[str, Any] = {"format": "d", "tickMinStep": 1} if self.x.title == EPOCH else {"format": "~f"}
        return altair.Axis(tickCount=8, **whole)


def learning_curves(table: Table, over: Literal["epoch", "seconds"]) -> LearningCurves | None:
    """Returns the chart of one system; None where no run has epochs on record."""
    shown = shown_by_epoch(table)
    if not shown:
        return None
    names = names_of([one_line(one.row.label) for one in shown])
    x = epoch_axis(shown) if over == "epoch" else elapsed_axis(shown, WIDTH)
    if x is None:
        return None
    points = [point for one, name in zip(shown, names, strict=True) for point in _points(one, name, x)]
    seeds = "Mean over seeds" if any(one.runs > 1 for one in shown) else "One seed each"
    loss = "; the train loss has label smoothing, the test loss none" if smoothed(shown) else ""
    return LearningCurves(
        title=f"{one_line(table.suite)} on {table.system}",
        subtitle=f"{seeds}; solid: test, dashed: train (taken during the epoch){loss}",
        x=x,
        palette=dict(zip(names, PALETTE, strict=False)),
        points=points,
    )


def smoothed(shown: Sequence[ByEpoch]) -> bool:
    """Tells whether train losses hold label smoothing, without which test losses are taken."""
    return any(at(one.row.runs[0].spec, "train.label_smoothing") for one in shown)


def epoch_axis(shown: Sequence[ByEpoch]) -> Axis:
    """Returns the axis of epochs, from the first to the last."""
    last = max(one.epochs[-1].number for one in shown)
    return Axis(EPOCH, 1.0, min(1.0, last - 1.0), float(last), False, WIDTH)


def elapsed_axis(shown: Sequence[ByEpoch], width: int) -> Axis | None:
    """Returns the axis of train time; None where no epoch's is known."""
    times = [[epoch.seconds for epoch in one.epochs if epoch.seconds] for one in shown]
    times = [own for own in times if own]
    return plain_time_axis([min(own) for own in times], [max(own) for own in times], width) if times else None


def shown_by_epoch(table: Table) -> list[ByEpoch]:
    """Returns the epochs of the configs that are drawn: those of the front first, then the most accurate."""
    with_curves = [row for row in table.rows if table.curves.get(row.config_id) or not row.ok_for(TIME.metric)]
    found = (by_epoch(row, table.epochs_of) for row in best_first(with_curves)[:MOST_COLOURED])
    return [one for one in found if one and one.epochs]


def _points(one: ByEpoch, name: str, x: Axis) -> list[dict[str, Any]]:
    points = []
    kept = [epoch for epoch in one.epochs if x.title == EPOCH or epoch.seconds]
    for epoch in thinned(kept, MOST_POINTS):
        where = epoch.number if x.title == EPOCH else (epoch.seconds or 0.0) / x.unit
        for split in SPLITS:
            accuracy, loss = (epoch.values.get(f"{split}.{metric}") for metric in METRICS)
            if accuracy is None and loss is None:
                continue
            point = {"config": name, "split": split, "epoch": epoch.number, "x": where, "loss": loss}
            points.append({**point, "accuracy": None if accuracy is None else 100 * accuracy})
    return points
