"""The loss on a plane around the trained weights."""

from __future__ import annotations

import math
from typing import Any

import altair
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.augment.batched import Batched, Recipe
from harness.data.cut import seen
from harness.data.split import take
from harness.errors import HarnessError
from harness.parameters import NonNegativeInt, PositiveFloat, PositiveInt
from harness.registry import picture
from harness.report.charts.theme import INK
from harness.visualize.charts import SEQUENTIAL, finished, log_axis_values, table, write_numbers
from harness.visualize.landscape import filter_normalised, objective, surface
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained

SIDE = 576  # of the plot
CELLS = 97  # the heat map's, each way, of 6 pixels: between the grid's points it is interpolated
BATCH = 250


@picture("surface")
def loss_surface(
    run: Trained,
    *,
    samples: PositiveInt = 250,
    points: PositiveInt = 15,
    radius: PositiveFloat = 1.0,
    seed: NonNegativeInt = 0,
) -> list[Picture]:
    """The loss of training images on a plane around the trained weights, with its contours.

    "Visualizing the Loss Landscape of Neural Nets" (arXiv 1712.09913): along two random directions that are normalised
    filter by filter, see `harness.visualize.landscape.filter_normalised`. Batch norm is in evaluation mode, images are
    not augmented. The numbers are written beside the picture as `surface.json`.

    Args:
        samples: training images, a share of each class
        points: of the grid along each direction; odd, so that the trained network is one of them
        radius: how far to go; at 1 a filter has moved by its own norm
        seed: of the two directions

    Raises:
        HarnessError: `points` is even or below 3, there are fewer images, or no loss is finite.
    """
    if points < 3 or points % 2 == 0:
        raise HarnessError(f"points={points}: the grid has no point at its centre", "take an odd number from 3 on")
    images, labels = _images(run, samples)
    network, generator = run.network, torch.Generator().manual_seed(seed)
    along = [filter_normalised(network, generator) for _ in range(2)]
    half = points // 2
    places = [radius * (number - half) / half for number in range(points)]

    def loss() -> Tensor:
        parts = zip(images.split(BATCH), labels.split(BATCH), strict=True)
        sums = [objective(network(x), y, run.spec.train.loss) * len(y) for x, y in parts]
        return torch.stack(sums).sum() / len(labels)

    losses = surface(network, loss, along, places)
    if not losses.isfinite().any():
        raise HarnessError(f"{run.title}: no loss on the plane is finite", "take a smaller radius")
    record = {"samples": len(labels), "radius": radius, "seed": seed, "places": places, "losses": losses.tolist()}
    write_numbers(run.folder.path, "surface", record)
    say = [
        f"Cross entropy of {len(labels)} training images; the cross is the trained network ({losses[half, half]:.3g}).",
        "Distances in filter norms along two random directions, filter by filter (arXiv 1712.09913).",
    ]
    overflowed = int((~losses.isfinite()).sum())
    if overflowed:
        say.append(f"White: {overflowed} of {losses.numel()} losses were not finite.")
    chart = finished(_chart(losses, radius), f"Loss surface · {run.title}", say)
    caption = (
        f"Loss (nats, log scale) around the trained weights of {run.title}, {points} x {points} points. {' '.join(say)}"
    )
    return [Picture("surface", caption, chart)]


def _images(run: Trained, samples: int) -> tuple[Tensor, Tensor]:
    """Returns training images as the network takes them, float [N, C, H, W], and their labels int64 [N]."""
    split = run.splits.train
    part = split.take(take(split.labels, samples, seed=0))
    mean, std = (tuple(each.flatten().tolist()) for each in run.mean_and_std)
    pixels = torch.from_numpy(seen(part, np.arange(len(part.labels)))).permute(0, 3, 1, 2)
    evaluate = Batched(Recipe(run.spec.data.augment, mean, std), pixels.device).evaluate
    return evaluate(pixels), torch.from_numpy(part.labels)


def contour(field: list[list[float]], level: float) -> list[tuple[float, float, float, float]]:
    """Returns the line on which a field has a value, as pieces (x, y, x2, y2) in grid units: marching squares.

    Each cell is cut into four triangles about its mean, so that no case is ambiguous; where a corner is not finite
    there is no line.
    """
    pieces = []
    for row in range(len(field) - 1):
        for column in range(len(field[0]) - 1):
            corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)]
            values = [field[y][x] for x, y in corners]
            if not all(map(math.isfinite, values)):
                continue
            centre, mean = (column + 0.5, row + 0.5), sum(values) / 4
            for number in range(4):
                after = (number + 1) % 4
                triangle = [(corners[number], values[number]), (corners[after], values[after]), (centre, mean)]
                ends = _crossings(triangle, level)
                if len(ends) == 2:
                    pieces.append((*ends[0], *ends[1]))
    return pieces


def _crossings(triangle: list[tuple[tuple[float, float], float]], level: float) -> list[tuple[float, float]]:
    found = []
    for number in range(3):
        (start, low), (end, high) = triangle[number], triangle[(number + 1) % 3]
        if (low < level) != (high < level):
            share = (level - low) / (high - low)
            found.append((start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])))
    return found


def _chart(losses: Tensor, radius: float) -> altair.LayerChart:
    logs = losses.clamp(min=1e-12).log10()
    finite = logs[logs.isfinite()]
    low, high = float(finite.min()), float(finite.max())
    fine = F.interpolate(logs[None, None], size=(CELLS, CELLS), mode="bilinear", align_corners=True)[0, 0]
    cells = _cells(fine.tolist(), radius)
    levels = log_axis_values(10**low, 10**high)
    lines, labels = _contours(fine.tolist(), levels, radius)

    place = altair.Scale(domain=[-radius, radius], nice=False, zero=False)
    x = altair.X("x:Q", title="first direction / filter norms", scale=place, axis=altair.Axis(grid=False, tickCount=8))
    y = altair.Y("y:Q", title="second direction / filter norms", scale=place, axis=altair.Axis(grid=False, tickCount=8))
    legend = altair.Legend(values=levels, format="~g", gradientLength=SIDE * 0.6, title=["loss", "(log scale)"])
    shade = altair.Color(
        "loss:Q", scale=altair.Scale(type="log", scheme=SEQUENTIAL, domain=[10**low, 10**high]), legend=legend
    )
    heat = (
        altair.Chart(table(cells)).mark_rect(clip=True, strokeWidth=0).encode(x=x, x2="x2", y=y, y2="y2", color=shade)
    )
    line = altair.Chart(table(lines)).mark_rule(color="white", strokeWidth=1.1, opacity=0.9, strokeCap="round")
    halo = altair.Chart(table(labels)).mark_text(fontSize=11, stroke=INK, strokeWidth=3, strokeOpacity=0.75)
    text = altair.Chart(table(labels)).mark_text(fontSize=11, color="white")
    cross = altair.Chart(table([{"x": 0, "y": 0}])).mark_point(
        shape="cross", size=90, color="white", filled=True, opacity=1
    )
    drawn = [
        heat,
        line.encode(x=x, x2="x2", y=y, y2="y2"),
        halo.encode(x=x, y=y, text="text:N"),
        text.encode(x=x, y=y, text="text:N"),
        cross.encode(x=x, y=y),
    ]
    return altair.LayerChart(layer=drawn, width=SIDE, height=SIDE)


def _cells(logs: list[list[float]], radius: float) -> list[dict[str, float]]:
    """Returns a rectangle about each value of a fine grid; those at the border reach beyond the plot."""
    width = 2 * radius / (len(logs) - 1)
    cells = []
    for row, values in enumerate(logs):
        for column, value in enumerate(values):
            if math.isfinite(value):
                x, y = -radius + (column - 0.5) * width, -radius + (row - 0.5) * width
                cells.append({"x": x, "x2": x + width, "y": y, "y2": y + width, "loss": 10**value})
    return cells


def _contours(
    logs: list[list[float]], levels: list[float], radius: float
) -> tuple[list[dict[str, float]], list[dict[str, Any]]]:
    width = 2 * radius / (len(logs) - 1)
    lines, labels = [], []
    for level in levels:
        pieces = [tuple(-radius + end * width for end in piece) for piece in contour(logs, math.log10(level))]
        lines += [dict(zip(("x", "y", "x2", "y2"), piece, strict=True)) for piece in pieces]
        inside = [piece for piece in pieces if max(map(abs, piece)) < 0.93 * radius]
        if inside:  # where the line is highest, labels of nested contours stand above one another
            top = max(inside, key=lambda piece: piece[1] - 0.2 * abs(piece[0]))
            labels.append({"x": top[0], "y": top[1], "text": f"{level:g}"})
    return lines, labels
