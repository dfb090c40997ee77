"""Axes: unit, domain, and where a value lies in pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.charts.chart import channel
from harness.report.numbers.fronts import Cost
from harness.report.numbers.rows import Row
from harness.statistics.intervals import Summary

LOG_FROM = 10  # a span of times from which a linear axis would crowd the fast ones
MARGIN = 0.06
LEAST_RISE = 0.15  # of the curves' whole rise, that their axis shows at least
# Intervals of two seeds can be far wider than all the points lie apart: they then leave the plot at its edge.
MOST_FOR_INTERVALS = 1.0


@dataclass(frozen=True)
class Axis:
    """An axis in units of its own."""

    title: str
    unit: float
    low: float
    high: float
    logarithmic: bool
    pixels: int

    def pixel(self, value: float) -> float:
        """Returns the distance from the axis's lower end."""
        low, high, at = (self._linear(number) for number in (self.low, self.high, value))
        return (at - low) / (high - low) * self.pixels

    def value(self, pixel: float) -> float:
        """Returns what lies at a distance from the lower end."""
        low, high = self._linear(self.low), self._linear(self.high)
        at = low + pixel / self.pixels * (high - low)
        return 10**at if self.logarithmic else at

    def clamp(self, value: float) -> float:
        """Returns the value, or the end of the axis that it lies beyond."""
        return min(max(value, self.low), self.high)

    def inside(self, value: float) -> float | None:
        """Returns the value; None where it lies beyond the axis."""
        return value if self.low <= value <= self.high else None

    def scale(self) -> dict[str, Any]:
        """Returns the scale of Vega-Lite."""
        if self.logarithmic:  # it has no zero
            return {"type": "log", "domain": [self.low, self.high], "nice": False}
        return {"type": "linear", "domain": [self.low, self.high], "nice": False, "zero": False}

    def ticks(self) -> dict[str, Any]:
        """Returns ticks and their format."""
        if not self.logarithmic:
            return {"tickCount": 6}
        ticks = [
            digit * 10.0**power
            for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for digit in ((1, 2, 5) if self.high / self.low < 3000 else (1,))
        ]
        return {"values": [tick for tick in ticks if self.low <= tick <= self.high], "format": "~g"}

    def channel(self, field: str, **more: Any) -> dict[str, Any]:
        """Returns the encoding of a field."""
        return channel(f"{field}:Q", self.title, scale=self.scale(), axis=self.ticks(), **more)

    def _linear(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


def cost_axis(paid: Sequence[Summary], cost: Cost, pixels: int) -> Axis:
    """Returns the axis of what is paid; logarithmic where it spans more than a factor of ten."""
    least, most = min(one.mean for one in paid), max(one.mean for one in paid)
    logarithmic = least > 0 and most / least > LOG_FROM
    middle = math.sqrt(least * most) if logarithmic else most / 3
    unit, name = time_unit(middle) if cost.kind == "seconds" else _UNITS[cost.kind](middle)
    low, high = _domain(paid, unit, logarithmic, least_span=0.1 * most / unit or 1.0)
    title = f"{cost.word[:1].upper()}{cost.word[1:]} ({name}{', log scale' if logarithmic else ''})"
    return Axis(title, unit, low if logarithmic else max(0.0, low), high, logarithmic, pixels)


def accuracy_axis(rows: Sequence[Row], pixels: int) -> Axis:
    """Returns the axis of test accuracies, in percent."""
    low, high = _domain([row.values["test_accuracy"] for row in rows], 0.01, False, least_span=0.2)
    return Axis("Test accuracy (%)", 0.01, max(0.0, low), min(100.0, high) if high < 101 else 100.0, False, pixels)


def plain_time_axis(times: Sequence[float], ends: Sequence[float], pixels: int) -> Axis:
    """Returns the axis of train times within runs.

    Args:
        times: all that are drawn, above 0.
        ends: the last of each config; logarithmic where they span more than a factor of ten.
    """
    logarithmic = max(ends) / min(ends) > LOG_FROM
    unit, name = time_unit(math.sqrt(min(times) * max(ends)) if logarithmic else max(ends) / 3)
    low = min(times) * 0.95 if logarithmic else 0.0
    return Axis(_time_title(name, logarithmic), unit, low / unit, max(ends) * 1.02 / unit, logarithmic, pixels)


def curve_axes(curves: Sequence[Sequence[tuple[float, Summary]]], width: int, height: int) -> tuple[Axis, Axis]:
    """Returns the axes of train time and accuracy for lines of (seconds, accuracy).

    Time is logarithmic where the configs' whole train times span more than a factor of ten. The axis of accuracy shows
    where the lines end, and half of what the ends lie apart below them, but `LEAST_RISE` of the whole rise: lines
    come in from below. Bands do not widen it: those of two seeds would leave nothing of the lines.
    """
    firsts, lasts = [curve[0][0] for curve in curves], [curve[-1][0] for curve in curves]
    logarithmic = min(firsts) > 0 and max(lasts) / min(lasts) > LOG_FROM
    middle = math.sqrt(min(firsts) * max(lasts)) if logarithmic else max(lasts) / 3
    unit, name = time_unit(middle)
    ends = (min(firsts) * 0.95, max(lasts) * 1.06) if logarithmic else (0.0, max(lasts) * 1.03)
    x = Axis(_time_title(name, logarithmic), unit, ends[0] / unit, ends[1] / unit, logarithmic, width)
    means = [100 * summary.mean for curve in curves for _, summary in curve]
    reached = [100 * curve[-1][1].mean for curve in curves]
    least, most = min(means), max(means)
    wanted = min(min(reached) - (max(reached) - min(reached)) / 2, most - LEAST_RISE * (most - least))
    least = max(least, wanted)
    margin = max(MARGIN * (most - least), 0.1)
    return x, Axis("Test accuracy (%)", 0.01, max(0.0, least - margin), min(100.0, most + margin), False, height)


def value_channel(field: str, title: str, points: Sequence[Mapping[str, Any]], pixels: int) -> dict[str, Any]:
    """Returns a vertical axis; logarithmic where a linear one would press the small values together."""
    values = [point[field] for point in points if point.get(field) is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low > 0 and high / low > LOG_FROM:
        axis = Axis(title, 1.0, low / 1.2, high * 1.2, True, pixels)
        ticks = {**axis.ticks(), "format": ",~f"}
        return channel(f"{field}:Q", scale=axis.scale(), axis=ticks) | {"title": [title, "(log scale)"]}
    return channel(f"{field}:Q", title, scale={"type": "linear", "zero": False}, axis={"tickCount": 5})


def time_unit(seconds: float) -> tuple[float, str]:
    """Returns what one of the unit is worth in seconds, and its name."""
    return (1.0, "s") if seconds < 300 else (60.0, "min") if seconds < 3600 else (3600.0, "h")


def _joules(joules: float) -> tuple[float, str]:
    return (1.0, "J") if joules < 1e3 else (1e3, "kJ") if joules < 1e6 else (1e6, "MJ")


def _bytes(size: float) -> tuple[float, str]:
    return (2.0**20, "MiB") if size < 2**30 else (2.0**30, "GiB")


_UNITS = {"joules": _joules, "bytes": _bytes}


def _time_title(unit: str, logarithmic: bool) -> str:
    return f"Train time ({unit}{', log scale' if logarithmic else ''})"


def _domain(values: Sequence[Summary], unit: float, logarithmic: bool, least_span: float) -> tuple[float, float]:
    scaled = [value.mean / unit for value in values]
    lows, highs = [value.low / unit for value in values], [value.high / unit for value in values]
    if logarithmic:
        lows = [low if low > 0 else mean for low, mean in zip(lows, scaled, strict=True)]
        scaled, lows, highs = ([math.log10(value) for value in part] for part in (scaled, lows, highs))
        least_span = 0.0
    span = max(max(scaled) - min(scaled), least_span)
    centre = (max(scaled) + min(scaled)) / 2
    most = MOST_FOR_INTERVALS * span
    low = min(centre - span / 2, max(min(lows), min(scaled) - most))
    high = max(centre + span / 2, min(max(highs), max(scaled) + most))
    margin = MARGIN * (high - low)
    ends = (low - margin, high + margin)
    return (10 ** ends[0], 10 ** ends[1]) if logarithmic else ends
