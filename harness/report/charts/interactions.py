"""The interaction chart: means over the levels of one factor, a line for each level of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.charts.theme import INK, PALETTE, frame
from harness.report.factors.mattered import Mattered, WhatMattered
from harness.report.tables import Table
from harness.report.texts import one_line, shortened

if TYPE_CHECKING:
    import altair

MOST_PANELS = 3
LEAST_SHARE = 0.01
WIDTH, HEIGHT = 210, 170  # of one panel's plot
_TITLES = {"test_accuracy": "Test accuracy (%)", "train_seconds": "Train time (s)"}
# Intervals of two seeds are far wider than the levels lie apart: they leave the panel at its edge.
_MOST_FOR_INTERVALS = 0.75


@dataclass(frozen=True)
class Panel:
    """An interaction as plain data: a line for each level of one factor, over the levels of another.

    Attributes:
        points: `x`, `line`, `y`, and the ends `low` and `high` of the interval.
        levels: across, in their order.
        lines: the levels that have a line, in their order.
        domain: the ends of the vertical axis.
        y_title: None where the panel before has it.
    """

    title: str
    points: list[dict[str, Any]]
    x_title: str
    levels: list[str]
    line_title: str
    lines: list[str]
    y_title: str | None
    domain: tuple[float, float]
    logarithmic: bool

    def draw(self) -> altair.LayerChart:
        """Returns the panel."""
        import altair

        angle = 0 if max(map(len, self.levels)) * len(self.levels) <= 28 else -35
        bands = altair.Scale(paddingInner=0, paddingOuter=0)
        x = altair.X("x:N", sort=self.levels, title=self.x_title, axis=altair.Axis(labelAngle=angle), scale=bands)
        kind: dict[str, Any] = {"type": "log"} if self.logarithmic else {"type": "linear", "zero": False}
        scale = altair.Scale(domain=list(self.domain), nice=False, **kind)
        y = altair.Y("y:Q", title=self.y_title, scale=scale, axis=altair.Axis(tickCount=5))
        colour = altair.Color(
            "line:N",
            sort=self.lines,
            title=self.line_title,
            scale=altair.Scale(domain=self.lines, range=list(PALETTE[: len(self.lines)])),
            legend=altair.Legend(
                orient="bottom", titleOrient="left", symbolOpacity=1, labelLimit=150, columns=2, offset=4
            ),
        )
        step = WIDTH / len(self.levels)
        # So that bars do not cover each other.
        apart = altair.Scale(domain=self.lines, range=[0.43 * step, 0.57 * step])
        shift = altair.XOffset("line:N", sort=self.lines, scale=apart)
        base = altair.Chart(altair.Data(values=self.points)).encode(x=x, y=y, color=colour, xOffset=shift)
        return altair.LayerChart(
            layer=[
                base.mark_line(strokeWidth=2),
                base.mark_rule(strokeWidth=1.4, opacity=0.65).encode(y="low:Q", y2="high:Q"),
                base.mark_point(filled=True, size=55, opacity=1),
            ],
            width=WIDTH,
            height=HEIGHT,
            title=altair.TitleParams(self.title, fontSize=13, anchor="start", color=INK),
        )


@dataclass(frozen=True)
class Interactions:
    """The chart of one system: a row of panels for each number."""

    title: str
    subtitle: str
    rows: list[list[Panel]]

    def draw(self) -> altair.VConcatChart:
        """Returns the chart.

        Raises:
            ImportError: altair is not installed.
        """
        import altair

        rows = [
            altair.HConcatChart(hconcat=[panel.draw() for panel in row], spacing=34).resolve_scale(color="independent")
            for row in self.rows
        ]
        chart = altair.VConcatChart(vconcat=rows, spacing=30, **frame(self.title, [self.subtitle]))
        return chart.resolve_scale(color="independent")


def interactions(table: Table) -> Interactions | None:
    """Returns the chart of one system; None where there is no interaction to draw."""
    drawn = [(found, _largest(found)) for found in table.effects]
    rows = [
        [_panel(found, one, _domain(found, own), first=at == 0) for at, one in enumerate(own)]
        for found, own in drawn
        if own
    ]
    if not rows:
        return None
    if all(len(row) == 1 for row in rows):
        rows = [[panel for row in rows for panel in row]]
    subtitle = "Mean over seeds and all other factors, times geometric"
    if any(level.half_width for _, own in drawn for one in own for level in one.estimate.means):
        subtitle += "; bars: 95 % t interval, seeds as blocks"
    return Interactions(f"Interactions in {one_line(table.suite)} on {table.system}", subtitle, rows)


def _largest(found: WhatMattered) -> list[Mattered]:
    """Returns the largest interaction of which every pair of levels is known, and others that explain something."""
    known = [one for one in found.effects if len(one.estimate.term) == 2 and one.estimate.means]
    return [one for at, one in enumerate(known[:MOST_PANELS]) if not at or (one.estimate.share or 0.0) >= LEAST_SHARE]


def _panel(found: WhatMattered, one: Mattered, domain: tuple[float, float], *, first: bool) -> Panel:
    lines, across = (one.crossing.factors[index] for index in one.estimate.term)
    names = [one.crossing.names()[index] for index in one.estimate.term]
    if len(lines.levels) > len(across.levels):  # more levels make a longer axis, fewer make fewer lines
        lines, across, names = across, lines, names[::-1]
    return Panel(
        title=shortened(one.name, 38),
        points=_points(found, one, domain),
        x_title=shortened(names[1], 30),
        levels=[shortened(text, 16) for text in across.levels],
        line_title=shortened(names[0], 30),
        lines=[shortened(text, 22) for text in lines.levels],
        y_title=_TITLES[found.metric] if first else None,
        domain=domain,
        logarithmic=found.metric == "train_seconds" and domain[1] > 10 * domain[0],
    )


def _points(found: WhatMattered, one: Mattered, domain: tuple[float, float]) -> list[dict[str, Any]]:
    first, second = (one.crossing.factors[index].levels for index in one.estimate.term)
    swapped = len(first) > len(second)
    points = []
    for at, level in enumerate(one.estimate.means):
        texts = first[at // len(second)], second[at % len(second)]
        line, x = texts[::-1] if swapped else texts
        half = level.half_width or 0.0
        y, low, high = (_shown(found, value) for value in (level.mean, level.mean - half, level.mean + half))
        ends = max(low, domain[0]), min(high, domain[1])
        points.append({"x": shortened(x, 16), "line": shortened(line, 22), "y": y, "low": ends[0], "high": ends[1]})
    return points


def _shown(found: WhatMattered, value: float) -> float:
    return 100 * value if found.metric == "test_accuracy" else math.exp(min(value, 700.0))


def _domain(found: WhatMattered, drawn: Sequence[Mattered]) -> tuple[float, float]:
    """Returns the ends of the vertical axis, the same in all panels of a row."""
    levels = [level for one in drawn for level in one.estimate.means]
    means = [level.mean for level in levels]
    span = max(max(means) - min(means), 0.01)
    most = _MOST_FOR_INTERVALS * span
    half = [min(level.half_width or 0.0, most) for level in levels]
    low = min(mean - width for mean, width in zip(means, half, strict=True)) - 0.06 * span
    high = max(mean + width for mean, width in zip(means, half, strict=True)) + 0.06 * span
    ends = _shown(found, low), _shown(found, high)
    return (max(0.0, ends[0]), min(100.0, ends[1])) if found.metric == "test_accuracy" else ends
