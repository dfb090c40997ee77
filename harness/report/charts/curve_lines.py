"""Which configs the charts of curves draw, in which colour and with which bands."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.report.charts.labels import without_common_parts
from harness.report.numbers.curves import Curve, mean_curve
from harness.report.numbers.rows import Row
from harness.report.tables import Table
from harness.report.texts import one_line, shortened
from harness.statistics.intervals import Summary

if TYPE_CHECKING:
    import altair

MOST_COLOURED = 8
MOST_FAINT = 40
MOST_BANDS = 4
WIDEST_BAND = 0.4  # of the axis, by its mean height; wider ones hide the lines
# Points of a line: a screen shows no more, and of many faint ones there need not be as many.
COLOURED_POINTS, FAINT_POINTS = 400, 60


@dataclass(frozen=True)
class Line:
    """The mean of a config's runs over train time."""

    row: Row
    name: str
    coloured: bool
    banded: bool
    points: list[tuple[float, Summary]]

    @property
    def on_front(self) -> bool:
        """Whether the config is on the front, by its means."""
        return bool(self.row.values["on_front"])

    def band_height(self) -> float:
        """Returns the mean height of the band over its time; 0 where there is none, or only one of two seeds."""
        if self.points[-1][1].n <= 2:
            return 0.0
        held = [(after - at, 2 * (now.ci95 or 0.0)) for (at, now), (after, _) in itertools.pairwise(self.points)]
        held.append((1e-9, 2 * (self.points[-1][1].ci95 or 0.0)))  # of a single evaluation, too
        return sum(seconds * height for seconds, height in held) / sum(seconds for seconds, _ in held)


def drawn(table: Table) -> list[Row]:
    """Returns the rows that have curves to draw, see `best_first`."""
    return best_first([row for row in table.rows if table.curves.get(row.config_id)])


def best_first(rows: Sequence[Row]) -> list[Row]:
    """Returns the ranked rows, those of the front first, then by accuracy."""
    ranked = [row for row in rows if row.ranked]
    return sorted(ranked, key=lambda row: (not row.values["on_front"], -row.values["test_accuracy"].mean))


def lines_of(table: Table) -> list[Line]:
    """Returns a line for each config that is drawn, the coloured ones first."""
    rows = drawn(table)[: MOST_COLOURED + MOST_FAINT]
    names = names_of([one_line(row.label) for row in rows])
    lines = []
    for index, (row, name) in enumerate(zip(rows, names, strict=True)):
        curves, coloured = table.curves[row.config_id], index < MOST_COLOURED
        most = math.ceil((COLOURED_POINTS if coloured else FAINT_POINTS) / len(curves))
        lines.append(Line(row, name, coloured, False, mean_curve([_thinned(curve, most) for curve in curves])))
    means = [summary.mean for line in lines for _, summary in line.points]
    widest = WIDEST_BAND * (max(means, default=0.0) - min(means, default=0.0))
    narrow = [line for line in lines if line.coloured and line.on_front and 0 < line.band_height() <= widest]
    banded = {line.name for line in narrow[:MOST_BANDS]}
    return [dataclasses.replace(line, banded=line.name in banded) for line in lines]


def names_of(labels: Sequence[str]) -> list[str]:
    """Returns a short name for each label, no two alike."""
    names = [shortened(text, 40) for text in without_common_parts(labels)]
    return [f"{name} ({index})" if name in names[:index] else name for index, name in enumerate(names)]


def config_colour(palette: Mapping[str, str], title: str = "config") -> altair.Color:
    """Returns the colour of the lines of each config.

    Args:
        palette: a colour for each name, in the legend's order.
        title: of the legend.
    """
    import altair

    return altair.Color(
        "config:N",
        title=title,
        sort=list(palette),
        scale=altair.Scale(domain=list(palette), range=list(palette.values())),
        legend=altair.Legend(symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1, labelLimit=260),
    )


def _thinned(curve: Curve, most: int) -> Curve:
    """Leaves out evaluations between others, where a run has more of them than a line can show; never the last."""
    every = math.ceil(len(curve.seconds) / most)
    kept = slice((len(curve.seconds) - 1) % every, None, every)
    return Curve(curve.seconds[kept], curve.accuracies[kept])
