"""The interaction chart: means over the levels of one factor, a line for each level of another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from harness.report.charts.chart import Chart, Rows, channel, chart, grid, layer
from harness.report.charts.theme import INK, PALETTE
from harness.report.tables import Table
from harness.report.texts import shortened
from harness.results.effects import Effects
from harness.results.factors import Factor
from harness.statistics.designs import Term
from harness.statistics.intervals import Summary

MOST_PANELS = 3
WIDTH, HEIGHT = 210, 170  # of one panel's plot
_TITLES = {"accuracy": "Test accuracy (%)", "time": "Train time (s)"}
# Intervals of two seeds are far wider than the levels lie apart: they leave the panel at its edge.
_MOST_FOR_INTERVALS = 0.75
# Each panel has a legend of its own: its lines are the levels of its own factor.
_LEGENDS = {"resolve": {"scale": {"color": "independent"}}}


def interactions(table: Table) -> Chart | None:
    """Returns the chart of one system, a row of panels for each number; None where there is no interaction to draw."""
    found = table.effects
    drawn = [(one, list(_largest(one))) for one in (found.accuracy, found.time)] if found else []
    datasets: dict[str, Rows] = {}
    rows, cells = [], []
    for effects, own in drawn:
        panels = []
        for term, means in own:
            name, domain = f"{effects.question} {len(panels)}", _domain(effects, [means for _, means in own])
            panel, points = _panel(name, effects, term, means, domain, _TITLES[effects.question] if not panels else "")
            panels.append(panel)
            datasets[name] = points
            for point in points:
                numbers = f"{point['y']:.4g}", f"{point['low']:.4g} to {point['high']:.4g}"
                cells.append((panel["title"]["text"], point["line"], point["x"], *numbers))
        rows += [panels] if panels else []
    if not rows:
        return None
    if all(len(row) == 1 for row in rows):
        rows = [[panel for row in rows for panel in row]]
    barred = any(mean.ci95 for _, own in drawn for _, means in own for mean in means)
    said = [
        "Means over seeds and all other factors (times: geometric).",
        "Bars: 95 % intervals beside the mean of all." * barred,
        "Parallel lines: the factors act apart; lines that cross or fan out: one depends on the other.",
    ]
    heading = "Means of the interactions: test accuracy in %, or train time in s"
    its_grid = grid(heading, "interaction|line|across|#mean|#bar", cells, "what_mattered.csv")
    view = {"vconcat": [{"hconcat": row, "spacing": 34, **_LEGENDS} for row in rows], "spacing": 30, **_LEGENDS}
    return chart(table, "Interactions", said, datasets, its_grid, **view)


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
    name: str, effects: Effects, term: Term, means: Sequence[Summary], domain: tuple[float, float], y_title: str
) -> tuple[dict[str, Any], Rows]:
    """Returns the panel of an interaction, and its points: the data set that has its name.

    Args:
        domain: the ends of the vertical axis.
        y_title: empty where the panel before has it.
    """
    both = [effects.design.factors[index] for index in term]
    swapped = len(both[0].levels) > len(both[1].levels)  # more levels make a longer axis, fewer make fewer lines
    lines, across = both[::-1] if swapped else both
    line_texts, x_texts = _texts(lines, 22), _texts(across, 16)
    points = []
    for at, mean in zip(itertools.product(*(range(len(factor.levels)) for factor in both)), means, strict=True):
        line, x = at[::-1] if swapped else at
        y, low, high = (_shown(effects, value) for value in (mean.mean, mean.low, mean.high))
        ends = {"low": max(low, domain[0]), "high": min(high, domain[1])}
        points.append({"x": x_texts[x], "line": line_texts[line], "y": y, **ends})

    logarithmic = effects.question == "time" and domain[1] > 10 * domain[0]
    angle = 0 if max(map(len, x_texts)) * len(x_texts) <= 28 else -35
    step = WIDTH / len(x_texts)
    # So that bars do not cover each other.
    apart = {"domain": line_texts, "range": [0.43 * step, 0.57 * step]}
    base = {
        "x": channel(
            "x:N",
            shortened(across.name, 30),
            sort=x_texts,
            axis={"labelAngle": angle},
            scale={"paddingInner": 0, "paddingOuter": 0},
        ),
        "y": channel(
            "y:Q",
            y_title or None,
            scale={"type": "log" if logarithmic else "linear", "domain": list(domain)},
            axis={"tickCount": 5},
        ),
        "color": channel(
            "line:N",
            shortened(lines.name, 30),
            sort=line_texts,
            scale={"domain": line_texts, "range": list(PALETTE[: len(line_texts)])},
            legend={
                "orient": "bottom",
                "titleOrient": "left",
                "symbolOpacity": 1,
                "labelLimit": 150,
                "columns": 2,
                "offset": 4,
            },
        ),
        "xOffset": {"field": "line", "type": "nominal", "sort": line_texts, "scale": apart},
    }
    bars = {**base, "y": {**base["y"], "field": "low"}, "y2": {"field": "high"}}
    panel = {
        "title": {
            "text": shortened(" x ".join(factor.name for factor in both), 38),
            "fontSize": 13,
            "anchor": "start",
            "color": INK,
        },
        "width": WIDTH,
        "height": HEIGHT,
        "layer": [
            layer(name, "line", base, strokeWidth=2),
            layer(name, "rule", bars, strokeWidth=1.4, opacity=0.65),
            layer(name, "point", base, filled=True, size=55, opacity=1),
        ],
    }
    return panel, points


def _texts(factor: Factor, most: int) -> list[str]:
    """Returns the levels of a factor, in their order."""
    texts = (factor.at(at) if factor.is_star else level.text for at, level in enumerate(factor.levels))
    return [shortened(text, most) for text in texts]


def _shown(effects: Effects, value: float) -> float:
    return 100 * value if effects.question == "accuracy" else math.exp(min(value, 700.0))


def _domain(effects: Effects, drawn: Sequence[Sequence[Summary]]) -> tuple[float, float]:
    """Returns the ends of the vertical axis, the same in all panels of a row."""
    every = [mean for means in drawn for mean in means]
    span = max(max(mean.mean for mean in every) - min(mean.mean for mean in every), 0.01)
    most = _MOST_FOR_INTERVALS * span
    low = min(max(mean.low, mean.mean - most) for mean in every) - 0.06 * span
    high = max(min(mean.high, mean.mean + most) for mean in every) + 0.06 * span
    ends = _shown(effects, low), _shown(effects, high)
    return (max(0.0, ends[0]), min(100.0, ends[1])) if effects.question == "accuracy" else ends
