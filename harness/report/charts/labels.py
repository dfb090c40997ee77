"""Places for the chart's labels, so that they cover neither each other nor the points."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.report.texts import shortened

if TYPE_CHECKING:
    import numpy

Box = tuple[float, float, float, float]  # left, top, right, bottom; pixels, downwards from the plot's top left
Spot = tuple[float, float]

LINE, MOST_LINES = 30, 3
CHARACTER = 0.53  # mean width of a character, in font sizes
POINT = 7.0
NEAR = 10  # from further away a line leads to the point
_DISTANCES = (NEAR, 20, 34, 50, 70)
# Across and down from the point; of places that are equally good the first is taken.
_DIRECTIONS = ((0, -1), (0, 1), (1, -1), (1, 1), (1, 0), (-1, 0), (-1, -1), (-1, 1))
_ALIGN = {1: "left", 0: "center", -1: "right"}

_COVERS_A_LABEL = 1000.0
_COVERS_A_POINT = 60.0
_CROSSES_A_LEADER = 120.0
_PASSES_A_POINT = 25.0
_CROSSES_A_LINE = 12.0
_A_PIXEL_AWAY = 0.35
# Rather no label than one that hides much; the table has them all.
_TOO_MUCH = 160.0


class WantedLabel(NamedTuple):
    """A label to be placed at a point."""

    text: str
    x: float
    y: float
    strong: bool


def place_labels(
    wanted: Sequence[WantedLabel],
    points: Sequence[Spot],
    lines: Sequence[Box],
    plot: tuple[float, float],
    font_size: float,
) -> list[dict[str, Any]]:
    """Gives each label, in turn, the best of the places around its point; some find none.

    Args:
        points: every point of the chart.
        lines: level and upright lines that a label should rather not cross.
        plot: width and height.

    Returns:
        Of each label that has a place its `index` among those wanted, its `text`, whether it is `strong`, `align`
        (left, center or right), and from its point on the top of that side of it (`dx`, `dy`), where a leader ends
        (`near_dx`, `near_dy`), and whether it is so `far` that it needs one.
    """
    import numpy

    distances, directions = map(numpy.array, zip(*itertools.product(_DISTANCES, _DIRECTIONS), strict=True))
    shifts = directions * numpy.where(directions.all(axis=1), 0.75 * distances, distances)[:, None]  # [places, 2]
    steps = numpy.arange(1, 12)[:, None, None] / 12
    all_points, all_lines = _boxes([(x, y, x, y) for x, y in points]), _boxes(lines)
    strong_points = _boxes([(one.x, one.y, one.x, one.y) for one in wanted if one.strong])
    placed: list[numpy.ndarray] = []
    leaders: list[numpy.ndarray] = []
    labels = []
    for index, one in enumerate(wanted):
        text = _lines(one.text)
        size = numpy.array([max(map(len, text)) * CHARACTER * font_size, len(text) * (font_size + 2)])
        point = numpy.array([one.x, one.y])
        begin = point + shifts - size * (1 - directions) / 2
        end = begin + size
        boxes = numpy.hstack([begin, end])
        nearest = point.clip(begin, end)
        spots = point + (nearest - point) * steps
        leader = numpy.concatenate([spots, spots], axis=-1)  # boxes without a size along the line, [steps, places, 4]
        far = distances > NEAR

        cost = _A_PIXEL_AWAY * distances
        cost += _COVERS_A_LABEL * _near(boxes, _boxes(placed), 3).sum(axis=-1)
        cost += _COVERS_A_POINT * _near(boxes, all_points, POINT).sum(axis=-1)
        cost += _TOO_MUCH * _near(boxes, strong_points, POINT).sum(axis=-1)
        cost += _CROSSES_A_LINE * _near(boxes, all_lines, 1).sum(axis=-1)
        cost += _CROSSES_A_LEADER * _near(boxes, _boxes(leaders), 2).any(axis=-1)
        cost += _CROSSES_A_LEADER * far * _near(leader, _boxes(placed), 2).any(axis=(0, -1))
        cost += _PASSES_A_POINT * far * _near(leader[3:], all_points, 4).any(axis=(0, -1))
        cost[(begin < 0).any(axis=1) | (end > plot).any(axis=1)] = _TOO_MUCH
        best = int(cost.argmin())
        if cost[best] >= _TOO_MUCH:
            continue
        placed.append(boxes[best])
        leaders += [*leader[:, best]] if far[best] else []
        near_dx, near_dy = nearest[best] - point
        look = {"strong": one.strong, "align": _ALIGN[int(directions[best, 0])], "far": bool(far[best])}
        where = {"dx": shifts[best, 0], "dy": begin[best, 1] - one.y, "near_dx": near_dx, "near_dy": near_dy}
        where = {name: float(at) for name, at in where.items()}
        labels.append({"index": index, "text": "\n".join(text), **look, **where})
    return labels


def without_common_parts(texts: Sequence[str]) -> list[str]:
    """Drops what all labels say, where they are too long for a line and made of parts with commas."""
    parts = [text.split(", ") for text in texts]
    if len(texts) < 2 or max(map(len, texts)) <= LINE:
        return list(texts)
    common = set(parts[0]).intersection(*parts[1:])
    return [
        ", ".join(part for part in own if part not in common) or text for own, text in zip(parts, texts, strict=True)
    ]


def _boxes(boxes: Sequence[Box] | Sequence[numpy.ndarray]) -> numpy.ndarray:
    import numpy

    return numpy.array(boxes, dtype=float).reshape(-1, 4)


def _near(boxes: numpy.ndarray, others: numpy.ndarray, margin: float) -> numpy.ndarray:
    """Returns which boxes, [..., 4], come nearer to which of the others, [n, 4], than the margin: [..., n]."""
    left, top, right, bottom = (boxes[..., side, None] for side in range(4))
    across = (others[:, 0] - margin < right) & (others[:, 2] + margin > left)
    return across & (others[:, 1] - margin < bottom) & (others[:, 3] + margin > top)


def _lines(text: str) -> list[str]:
    """Breaks a label into few lines, with as much of both its ends as they hold."""
    most = LINE * MOST_LINES
    while len(lines := textwrap.wrap(shortened(text, most), LINE, break_on_hyphens=False)) > MOST_LINES:
        most -= 4
    return lines or [text]
