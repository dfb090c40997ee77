"""The interaction chart: means over the levels of one factor, a line for each level of another."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from harness.report.answer import seconds_text
from harness.report.charts.axes import Axis, Spread, accuracy_axis, cost_axis
from harness.report.charts.chart import Chart, Rows, channel, chart, grid, layer
from harness.report.charts.theme import INK, PALETTE
from harness.report.numbers.fronts import TIME
from harness.report.tables import Table
from harness.report.texts import shortened, span
from harness.results.effects import Effects
from harness.results.factors import Factor
from harness.statistics.designs import Term

MOST_PANELS = 3
WIDTH, HEIGHT = 210, 170  # of one panel's plot
# Each panel has a legend of its own: its lines are the levels of its own factor.
_LEGENDS = {"resolve": {"scale": {"color": "independent"}}}


def interactions(table: Table) -> Chart | None:
    """Returns the chart of one system, a row of panels for each number; None where there is no interaction to draw."""
    found = table.effects
    datasets: dict[str, Rows] = {}
    rows, cells = [], []
    for effects in (found.accuracy, found.time) if found else ():
        of_accuracy, drawn = effects.question == "accuracy", list(_largest(effects))
        if not drawn:
            continue
        every = [mean for _, means in drawn for mean in means]
        y = accuracy_axis(every, HEIGHT) if of_accuracy else cost_axis(every, TIME, HEIGHT)
        panels = []
        for term, means in drawn:
            name = f"{effects.question} {len(panels)}"
            panel, datasets[name] = _panel(name, [effects.design.factors[index] for index in term], means, y)
            panels.append(panel)
            y = dataclasses.replace(y, title="")  # the first panel has it
            for point in datasets[name]:
                numbers = [point[end] * y.unit for end in ("y", "low", "high")]
                mean, *bar = (f"{100 * own:.2f} %" if of_accuracy else seconds_text(own) for own in numbers)
                cells.append((panel["title"]["text"], point["line"], point["x"], mean, span(*bar)))
        rows.append(panels)
    if not rows:
        return None
    if all(len(row) == 1 for row in rows):
        rows = [[panel for row in rows for panel in row]]
    barred = any(point["low"] < point["high"] for points in datasets.values() for point in points)
    said = [
        "Means over seeds and all other factors (times: geometric).",
        "Bars: 95 % intervals beside the mean of all." * barred,
        "Parallel lines: no interaction; lines that cross or diverge: an interaction.",
    ]
    its_grid = grid("Means of the interactions", "interaction|line|across|#mean|#bar", cells, "what_mattered.csv")
    view = {"vconcat": [{"hconcat": row, "spacing": 34, **_LEGENDS} for row in rows], "spacing": 30, **_LEGENDS}
    return chart(table, "Interactions", said, datasets, its_grid, **view)


def _largest(effects: Effects) -> Iterator[tuple[Term, list[Spread]]]:
    """Yields the largest interaction of which every pair of levels is known, and others that are there.

    Beside each are the means of all pairs of levels: accuracies as fractions, times in seconds.
    """
    sizes: dict[Term, float] = {}
    decided = set()
    for contrast, effect in zip(effects.contrasts, effects.effects, strict=True):
        if len(contrast.term) == 2 and effect.summary:
            sizes[contrast.term] = max(sizes.get(contrast.term, 0.0), abs(effect.summary.mean))
            decided |= {contrast.term} if effect.is_decided else set()
    largest = sorted(sizes, key=lambda term: -sizes[term])
    for term in [term for at, term in enumerate(largest) if not at or term in decided][:MOST_PANELS]:
        if means := effects.means(term):
            spreads = [Spread(one.mean, one.low, one.high) for one in means]
            yield term, spreads if effects.question == "accuracy" else [Spread(*map(_seconds, one)) for one in spreads]


def _seconds(logarithm: float) -> float:
    return math.exp(min(logarithm, 700.0))


def _panel(name: str, both: Sequence[Factor], means: Sequence[Spread], y: Axis) -> tuple[dict[str, Any], Rows]:
    """Returns the panel of an interaction, and its points: the data set that has its name."""
    swapped = len(both[0].levels) > len(both[1].levels)  # more levels make a longer axis, fewer make fewer lines
    lines, across = both[::-1] if swapped else both
    line_texts, x_texts = _texts(lines, 22), _texts(across, 16)
    points = []
    for at, mean in zip(itertools.product(*(range(len(factor.levels)) for factor in both)), means, strict=True):
        line, x = at[::-1] if swapped else at
        low, high = y.ends(mean)
        points.append({"x": x_texts[x], "line": line_texts[line], "y": mean.mean / y.unit, "low": low, "high": high})

    angle = {"labelAngle": 0 if max(map(len, x_texts)) * len(x_texts) <= 28 else -35}
    no_gaps = {"paddingInner": 0, "paddingOuter": 0}
    colours = {"domain": line_texts, "range": list(PALETTE[: len(line_texts)])}
    legend = {
        "orient": "bottom",
        "titleOrient": "left",
        "offset": 4,
        "symbolOpacity": 1,
        "labelLimit": 150,
        "columns": 2,
    }
    # So that bars do not cover each other.
    apart = {"domain": line_texts, "range": [share * WIDTH / len(x_texts) for share in (0.43, 0.57)]}
    base = {
        "x": channel("x:N", shortened(across.name, 30), sort=x_texts, axis=angle, scale=no_gaps),
        "y": y.channel("y"),
        "color": channel("line:N", shortened(lines.name, 30), sort=line_texts, scale=colours, legend=legend),
        "xOffset": channel("line:N", sort=line_texts, scale=apart),
    }
    bars = {**base, "y": y.channel("low"), "y2": {"field": "high"}}
    title = shortened(" x ".join(factor.name for factor in both), 38)
    panel = {
        "title": {"text": title, "fontSize": 13, "anchor": "start", "color": INK},
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
