"""Places for the chart's labels, so that they cover neither each other nor the points."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
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
_DIRECTIONS = ((1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1), (-1, 0), (0, -1), (0, 1))

_COVERS_A_LABEL = 1000.0
_COVERS_A_POINT = 60.0
_CROSSES_A_LEADER = 120.0
_PASSES_A_POINT = 25.0
_CROSSES_A_LINE = 12.0
_A_PIXEL_AWAY = 0.35
# Rather no label than one that hides much; the table has them all.
_TOO_MUCH = 160.0


class Wanted(NamedTuple):
    """A label to be placed at a point."""

    text: str
    x: float
    y: float
    strong: bool


class _Place(NamedTuple):
    """Where a label may stand: `leader` has spots along the line that leads to it, as boxes without a size."""

    distance: int
    align: str
    box: Box
    nearest: Spot
    leader: list[Box]


def place_labels(
    wanted: Sequence[Wanted],
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
        Of each label that has a place its `text`, whether it is `strong`, `align` (left, center or right), the top of
        that side of it (`x`, `y`), its point (`point_x`, `point_y`), where a leader ends (`near_x`, `near_y`), and
        whether it is so `far` that it needs one.
    """
    all_points, all_lines = _boxes([(x, y, x, y) for x, y in points]), _boxes(lines)
    strong_points = _boxes([(one.x, one.y, one.x, one.y) for one in wanted if one.strong])
    boxes: list[Box] = []
    leaders: list[Box] = []
    labels = []
    for one in wanted:
        text = "\n".join(_lines(one.text))
        width = max(map(len, text.split("\n"))) * CHARACTER * font_size
        height = (text.count("\n") + 1) * (font_size + 2)
        choices = []
        for place in _places(one, width, height):
            box, leader = place.box, place.leader
            if box[0] < 0 or box[1] < 0 or box[2] > plot[0] or box[3] > plot[1]:
                continue
            cost = place.distance * _A_PIXEL_AWAY
            cost += _COVERS_A_LABEL * _near([box], boxes, 3).sum()
            cost += _COVERS_A_POINT * _near([box], all_points, POINT).sum()
            cost += _TOO_MUCH * _near([box], strong_points, POINT).sum()
            cost += _CROSSES_A_LINE * _near([box], all_lines, 1).sum()
            cost += _CROSSES_A_LEADER * _near([box], leaders, 2).any()
            cost += _CROSSES_A_LEADER * _near(leader, boxes, 2).any()
            cost += _PASSES_A_POINT * _near(leader[3:], all_points, 4).any()
            choices.append((cost, place))
        least, best = min(choices, default=(_TOO_MUCH, None))
        if best is None or least >= _TOO_MUCH:
            continue
        boxes.append(best.box)
        leaders += best.leader
        left, top, right, _ = best.box
        x = {"left": left, "center": (left + right) / 2, "right": right}[best.align]
        ends = {"point_x": one.x, "point_y": one.y, "near_x": best.nearest[0], "near_y": best.nearest[1]}
        far = best.distance > NEAR
        labels.append({"text": text, "strong": one.strong, "align": best.align, "x": x, "y": top, **ends, "far": far})
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


def _boxes(boxes: Sequence[Box] | numpy.ndarray) -> numpy.ndarray:
    import numpy

    return numpy.asarray(boxes, dtype=float).reshape(-1, 4)


def _near(boxes: Sequence[Box], others: Sequence[Box] | numpy.ndarray, margin: float) -> numpy.ndarray:
    """Returns which boxes come nearer to which of the others than the margin, [boxes, others]."""
    import numpy

    own, other = _boxes(boxes)[:, None], _boxes(others)[None]
    begin, end = other[..., :2] - margin < own[..., 2:], other[..., 2:] + margin > own[..., :2]
    return numpy.all(begin & end, axis=-1)


def _places(one: Wanted, width: float, height: float) -> Iterator[_Place]:
    for distance in _DISTANCES:
        for across, down in _DIRECTIONS:
            shift = distance * 0.75 if across and down else distance
            left = (one.x - shift - width, one.x - width / 2, one.x + shift)[across + 1]
            top = (one.y - shift - height, one.y - height / 2, one.y + shift)[down + 1]
            x, y = min(max(one.x, left), left + width), min(max(one.y, top), top + height)
            steps = [step / 12 for step in range(1, 12)] if distance > NEAR else []
            spots = [(one.x + (x - one.x) * step, one.y + (y - one.y) * step) for step in steps]
            align, box = ("right", "center", "left")[across + 1], (left, top, left + width, top + height)
            yield _Place(distance, align, box, (x, y), [(*spot, *spot) for spot in spots])


def _lines(text: str) -> list[str]:
    """Breaks a label into few lines, with as much of both its ends as they hold."""
    most = LINE * MOST_LINES
    while len(lines := textwrap.wrap(shortened(text, most), LINE, break_on_hyphens=False)) > MOST_LINES:
        most -= 4
    return lines or [text]
