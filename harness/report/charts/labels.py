"""Places for the chart's labels, so that they cover neither each other nor the points."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.report.texts import shortened

Box = tuple[float, float, float, float]  # left, top, right, bottom; pixels, downwards from the plot's top left
Spot = tuple[float, float]
Align = Literal["left", "center", "right"]

LINE, MOST_LINES = 30, 3
CHARACTER = 0.53  # mean width of a character, in font sizes
POINT = 7.0
NEAR = 10  # from further away a line leads to the point
_DISTANCES = (NEAR, 20, 34, 50, 70)
_DIRECTIONS: tuple[tuple[int, int], ...] = (
    (1, 0),
    (1, 1),
    (1, -1),
    (-1, -1),
    (-1, 1),
    (-1, 0),
    (0, -1),
    (0, 1),
)

_COVERS_A_LABEL = 1000.0
_COVERS_A_POINT = 60.0
_CROSSES_A_LEADER = 120.0
_PASSES_A_POINT = 25.0
_CROSSES_A_LINE = 12.0
_A_PIXEL_AWAY = 0.35
# Rather no label than one that hides much; the table has them all.
_TOO_MUCH = 160.0


@dataclass(frozen=True)
class Wanted:
    """A label to be placed at a point."""

    text: str
    x: float
    y: float
    strong: bool


@dataclass(frozen=True)
class Label:
    """A placed label: `anchor` is the top of its left, middle or right; `nearest` is where a leader would end."""

    text: str
    strong: bool
    align: Align
    anchor: Spot
    point: Spot
    nearest: Spot
    far: bool


def place_labels(
    wanted: Sequence[Wanted],
    points: Sequence[Spot],
    lines: Sequence[Box],
    plot: tuple[float, float],
    font_size: float,
) -> list[Label]:
    """Gives each label, in turn, the best of the places around its point; some find none.

    Args:
        points: every point of the chart.
        lines: level and upright lines that a label should rather not cross.
        plot: width and height.
    """
    import numpy

    def obstacles(boxes: Sequence[Box]) -> Any:
        return numpy.array(boxes, dtype=float).reshape(-1, 4)

    all_points, all_lines = obstacles([(x, y, x, y) for x, y in points]), obstacles(lines)
    strong_points = obstacles([(one.x, one.y, one.x, one.y) for one in wanted if one.strong])
    boxes: list[Box] = []
    leaders: list[Box] = []
    labels: list[Label] = []
    for one in wanted:
        text = "\n".join(_lines(one.text))
        width = max(map(len, text.split("\n"))) * CHARACTER * font_size
        height = (text.count("\n") + 1) * (font_size + 2)
        choices = []
        for distance, align, box in _places(one.x, one.y, width, height):
            if box[0] < 0 or box[1] < 0 or box[2] > plot[0] or box[3] > plot[1]:
                continue
            leader = _leader(one, box) if distance > NEAR else []
            cost = _COVERS_A_LABEL * _hits(box, obstacles(boxes), 3)
            cost += _COVERS_A_POINT * _hits(box, all_points, POINT)
            cost += _TOO_MUCH * _hits(box, strong_points, POINT)
            cost += _CROSSES_A_LINE * _hits(box, all_lines, 1)
            cost += _CROSSES_A_LEADER * (_hits(box, obstacles(leaders), 2) > 0)
            cost += _CROSSES_A_LEADER * _touches(leader, obstacles(boxes), 2)
            cost += _PASSES_A_POINT * _touches(leader[3:], all_points, 4)
            choices.append((cost + distance * _A_PIXEL_AWAY, distance, align, box, leader))
        cost, distance, align, box, leader = min(choices, default=(_TOO_MUCH, 0, "left", (0.0, 0.0, 0.0, 0.0), []))
        if cost >= _TOO_MUCH:
            continue
        boxes.append(box)
        leaders += leader
        across = {"left": box[0], "center": (box[0] + box[2]) / 2, "right": box[2]}[align]
        nearest = _nearest(one, box)
        labels.append(Label(text, one.strong, align, (across, box[1]), (one.x, one.y), nearest, distance > NEAR))
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


def _nearest(one: Wanted, box: Box) -> Spot:
    return min(max(one.x, box[0]), box[2]), min(max(one.y, box[1]), box[3])


def _leader(one: Wanted, box: Box) -> list[Box]:
    """Returns spots along the line from the point to the label, as boxes without a size."""
    x, y = _nearest(one, box)
    spots = [(one.x + (x - one.x) * step / 12, one.y + (y - one.y) * step / 12) for step in range(1, 12)]
    return [(*spot, *spot) for spot in spots]


def _hits(box: Box, others: Any, margin: float) -> int:
    """Returns how many of the other boxes, an array [n, 4], come nearer to the box than the margin."""
    left, top, right, bottom = (others[:, side] for side in range(4))
    across = (left - margin < box[2]) & (right + margin > box[0])
    return int((across & (top - margin < box[3]) & (bottom + margin > box[1])).sum())


def _touches(spots: list[Box], others: Any, margin: float) -> bool:
    """Tells whether any of the spots is nearer to any of the boxes, an array [n, 4], than the margin."""
    import numpy

    if not spots or not len(others):
        return False
    x, y = numpy.array(spots)[:, 0, None], numpy.array(spots)[:, 1, None]
    across = (others[:, 0] - margin < x) & (x < others[:, 2] + margin)
    return bool((across & (others[:, 1] - margin < y) & (y < others[:, 3] + margin)).any())


def _places(x: float, y: float, width: float, height: float) -> Iterator[tuple[int, Align, Box]]:
    for distance in _DISTANCES:
        for across, down in _DIRECTIONS:
            shift = distance * 0.75 if across and down else distance
            left = (x - shift - width, x - width / 2, x + shift)[across + 1]
            top = (y - shift - height, y - height / 2, y + shift)[down + 1]
            align: Align = ("right", "center", "left")[across + 1]
            yield distance, align, (left, top, left + width, top + height)


def _lines(text: str) -> list[str]:
    """Breaks a label into few lines, with as much of both its ends as they hold."""
    most = LINE * MOST_LINES
    while len(lines := textwrap.wrap(shortened(text, most), LINE, break_on_hyphens=False)) > MOST_LINES:
        most -= 4
    return lines or [text]
