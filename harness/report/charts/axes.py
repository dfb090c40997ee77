"""Axes: unit, domain, and where a value lies in pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.report.charts.chart import channel
from harness.report.numbers.fronts import Cost
from harness.statistics.intervals import Summary

LOG_FROM = 10  # a span of values from which a linear axis would crowd the small ones
MARGIN = 0.06
LEAST_RISE = 0.15  # of the curves' whole rise, that their axis shows at least
# Intervals of two seeds can be far wider than all the points lie apart: they then leave the plot at its edge.
MOST_FOR_INTERVALS = 1.0
# Of each kind of number: from what value on a unit is taken, what one of it is worth, and its name.
_UNITS = {
    "seconds": ((3600.0, 3600.0, "h"), (300.0, 60.0, "min"), (0.0, 1.0, "s")),
    "joules": ((1e6, 1e6, "MJ"), (1e3, 1e3, "kJ"), (0.0, 1.0, "J")),
    "bytes": ((2.0**30, 2.0**30, "GiB"), (0.0, 2.0**20, "MiB")),
}


class Spread(NamedTuple):
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """An axis in units of its own; its title may be empty."""

    title: str
    unit: float
    low: float
    high: float
    logarithmic: bool
    pixels: int

    def pixel(self, value: float) -> float:
        """Returns the distance from the axis's lower end."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low) * self.pixels
        return (value - self.low) / (self.high - self.low) * self.pixels

    def ends(self, summary: Summary | Spread) -> tuple[float, float]:
        """Returns the ends of an interval in units of the axis, or the axis's own where they lie beyond."""
        low, high = (min(max(end / self.unit, self.low), self.high) for end in (summary.low, summary.high))
        return low, high

    def channel(self, field: str, **more: Any) -> dict[str, Any]:
        """Returns the encoding of a field, with scale and ticks."""
        scale = {"type": "log" if self.logarithmic else "linear", "domain": [self.low, self.high]}
        return channel(f"{field}:Q", self.title or None, scale=scale, axis=self._ticks(), **more)

    def _ticks(self) -> dict[str, Any]:
        if not self.logarithmic:
            return {"tickCount": 6}
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        digits = (1, 2, 5) if self.high / self.low < 3000 else (1,)
        ticks = [digit * 10.0**power for power in powers for digit in digits]
        return {"values": [tick for tick in ticks if self.low <= tick <= self.high], "format": ",~f"}


def cost_axis(paid: Sequence[Summary | Spread], cost: Cost, pixels: int) -> Axis:
    """Returns the axis of what is paid; logarithmic where it spans more than a factor of ten."""
    least, most = min(one.mean for one in paid), max(one.mean for one in paid)
    logarithmic = _is_wide(least, most)
    unit, name = unit_of(cost.kind, math.sqrt(least * most) if logarithmic else most / 3)
    low, high = _domain(paid, unit, logarithmic, least_span=0.1 * most / unit or 1.0)
    title = _titled(cost.word, name, logarithmic)
    return Axis(title, unit, low if logarithmic else max(0.0, low), high, logarithmic, pixels)


def accuracy_axis(accuracies: Sequence[Summary | Spread], pixels: int) -> Axis:
    """Returns the axis of test accuracies, in percent."""
    low, high = _domain(accuracies, 0.01, False, least_span=0.2)
    return Axis("Test accuracy (%)", 0.01, max(0.0, low), min(100.0, high), False, pixels)


def time_axis(firsts: Sequence[float], lasts: Sequence[float], pixels: int) -> Axis:
    """Returns the axis of train times within runs; logarithmic where the ends span more than a factor of ten.

    Args:
        firsts: where each config begins, in seconds.
        lasts: where each ends.
    """
    low, high = min(firsts), max(lasts)
    logarithmic = low > 0 and _is_wide(min(lasts), high)
    unit, name = unit_of("seconds", math.sqrt(low * high) if logarithmic else high / 3)
    low, high = (low * 0.95, high * 1.06) if logarithmic else (0.0, high * 1.03)
    return Axis(_titled("train time", name, logarithmic), unit, low / unit, high / unit, logarithmic, pixels)


def rise_axis(curves: Sequence[Sequence[float]], pixels: int) -> Axis:
    """Returns the axis of accuracies, fractions, that rise along curves; in percent.

    It shows where the lines end, and half of what the ends lie apart below them, but `LEAST_RISE` of the whole rise:
    lines come in from below. Bands do not widen it: those of two seeds would leave nothing of the lines.
    """
    means = [100 * accuracy for curve in curves for accuracy in curve]
    reached = [100 * curve[-1] for curve in curves]
    least, most = min(means), max(means)
    wanted = min(min(reached) - (max(reached) - min(reached)) / 2, most - LEAST_RISE * (most - least))
    least = max(least, wanted)
    margin = max(MARGIN * (most - least), 0.1)
    return Axis("Test accuracy (%)", 0.01, max(0.0, least - margin), min(100.0, most + margin), False, pixels)


def value_channel(field: str, title: str, points: Sequence[Mapping[str, Any]], pixels: int) -> dict[str, Any]:
    """Returns a vertical axis; logarithmic where a linear one would press the small values together."""
    values = [point[field] for point in points if point.get(field) is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if _is_wide(low, high):
        axis = Axis(title, 1.0, low / 1.2, high * 1.2, True, pixels)
        return axis.channel(field) | {"title": [title, "(log scale)"]}
    return channel(f"{field}:Q", title, scale={"type": "linear", "zero": False}, axis={"tickCount": 5})


def unit_of(kind: str, value: float) -> tuple[float, str]:
    """Returns what one of the unit is worth that such a value is written in, and its name."""
    return next((worth, name) for start, worth, name in _UNITS[kind] if value >= start)


def _is_wide(low: float, high: float) -> bool:
    return low > 0 and high / low > LOG_FROM


def _titled(word: str, unit: str, logarithmic: bool) -> str:
    return f"{word[:1].upper()}{word[1:]} ({unit}{', log scale' if logarithmic else ''})"


def _domain(
    values: Sequence[Summary | Spread], unit: float, logarithmic: bool, least_span: float
) -> tuple[float, float]:
    """Returns the ends of an axis that shows all means, and of their intervals `MOST_FOR_INTERVALS` beside them."""
    import numpy

    means, lows, highs = numpy.array([(value.mean, value.low, value.high) for value in values]).T / unit
    if logarithmic:
        means, lows, highs = numpy.log10([means, numpy.where(lows > 0, lows, means), highs])
        least_span = 0.0
    span = max(means.max() - means.min(), least_span)
    centre = (means.max() + means.min()) / 2
    most = MOST_FOR_INTERVALS * span
    low = min(centre - span / 2, max(lows.min(), means.min() - most))
    high = max(centre + span / 2, min(highs.max(), means.max() + most))
    margin = MARGIN * (high - low)
    ends = float(low - margin), float(high + margin)
    return (10 ** ends[0], 10 ** ends[1]) if logarithmic else ends
