"""The interaction chart: means over the levels of one factor, a line for each level of another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.charts.theme import INK, PALETTE, frame
from harness.report.tables import Table
from harness.report.texts import one_line, shortened
from harness.results.effects import Effects
from harness.results.factors import Factor
from harness.statistics.designs import Term
from harness.statistics.intervals import Summary

if TYPE_CHECKING:
    import altair

MOST_PANELS = 3
WIDTH, HEIGHT = 210, 170  # of one panel's plot
_TITLES = {"accuracy": "Test accuracy (%)", "time": "Train time (s)"}
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
    found = table.effects
    drawn = [(one, list(_largest(one))) for one in (found.accuracy, found.time)] if found else []
    rows = [
        [_panel(one, term, means, _domain(one, own), first=not at) for at, (term, means) in enumerate(own)]
        for one, own in drawn
        if own
    ]
    if not rows:
        return None
    if all(len(row) == 1 for row in rows):
        rows = [[panel for row in rows for panel in row]]
    subtitle = "Mean over seeds and all other factors, times geometric"
    if any(mean.ci95 for _, own in drawn for _, means in own for mean in means):
        subtitle += "; bars: 95 % interval beside the mean of all"
    return Interactions(f"Interactions in {one_line(table.suite)} on {table.system}", subtitle, rows)


def _largest(effects: Effects) -> Iterator[tuple[Term, list[Summary]]]:
    """Yields the largest interaction of which every pair of levels is known, and others that are there."""
    sizes: dict[Term, float] = {}
    decided = set()
    for contrast, effect in zip(effects.contrasts, effects.effects, strict=True):
        if len(contrast.term) == 2 and effect.summary:
            sizes[contrast.term] = max(sizes.get(contrast.term, 0.0), abs(effect.summary.mean))
            decided |= {contrast.term} if effect.is_decided else set()
    largest = sorted(sizes, key=lambda term: -sizes[term])
    for term in [term for at, term in enumerate(largest) if not at or term in decided][:MOST_PANELS]:
        if means := effects.means(term):
            yield term, means


def _panel(
    effects: Effects, term: Term, means: Sequence[Summary], domain: tuple[float, float], *, first: bool
) -> Panel:
    both = [effects.design.factors[index] for index in term]
    swapped = len(both[0].levels) > len(both[1].levels)  # more levels make a longer axis, fewer make fewer lines
    lines, across = both[::-1] if swapped else both
    levels = itertools.product(*(range(len(factor.levels)) for factor in both))
    points = []
    for at, mean in zip(levels, means, strict=True):
        line, x = at[::-1] if swapped else at
        y, low, high = (_shown(effects, value) for value in (mean.mean, mean.low, mean.high))
        texts = {"x": _level_text(across, x, 16), "line": _level_text(lines, line, 22)}
        points.append({**texts, "y": y, "low": max(low, domain[0]), "high": min(high, domain[1])})
    return Panel(
        title=shortened(" x ".join(factor.name for factor in both), 38),
        points=points,
        x_title=shortened(across.name, 30),
        levels=[_level_text(across, level, 16) for level in range(len(across.levels))],
        line_title=shortened(lines.name, 30),
        lines=[_level_text(lines, level, 22) for level in range(len(lines.levels))],
        y_title=_TITLES[effects.question] if first else None,
        domain=domain,
        logarithmic=effects.question == "time" and domain[1] > 10 * domain[0],
    )


def _level_text(factor: Factor, level: int, most: int) -> str:
    return shortened(factor.at(level) if factor.is_star else factor.levels[level].text, most)


def _shown(effects: Effects, value: float) -> float:
    return 100 * value if effects.question == "accuracy" else math.exp(min(value, 700.0))


def _domain(effects: Effects, drawn: Sequence[tuple[Term, list[Summary]]]) -> tuple[float, float]:
    """Returns the ends of the vertical axis, the same in all panels of a row."""
    every = [mean for _, means in drawn for mean in means]
    span = max(max(mean.mean for mean in every) - min(mean.mean for mean in every), 0.01)
    most = _MOST_FOR_INTERVALS * span
    low = min(max(mean.low, mean.mean - most) for mean in every) - 0.06 * span
    high = max(min(mean.high, mean.mean + most) for mean in every) + 0.06 * span
    ends = _shown(effects, low), _shown(effects, high)
    return (max(0.0, ends[0]), min(100.0, ends[1])) if effects.question == "accuracy" else ends
