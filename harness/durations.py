"""Durations as people write them: 60s, 1.5min, 2h."""

from __future__ import annotations

import math
import re

UNITS: dict[str, float] = {"s": 1.0, "min": 60.0, "h": 3600.0}
HINT = "write a number and s, min or h, e.g. 60s, 1.5min or 2h"
DURATION_PATTERN = r"^([0-9]+\.?[0-9]*|\.[0-9]+) ?(s|min|h)$"


def parse_duration(text: str) -> float:
    """Returns seconds; a number without a unit is refused, as nobody could tell what it counts.

    Raises:
        ValueError: the text is no duration, or none above zero.
    """
    found = re.match(DURATION_PATTERN, text.strip())
    seconds = float(found[1]) * UNITS[found[2]] if found else math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"'{text}' is no duration: {HINT}")
    return seconds


def duration_text(seconds: float) -> str:
    """Returns a duration in the largest unit that leaves at least one of it, with up to three digits."""
    unit, size = next(((unit, size) for unit, size in reversed(UNITS.items()) if seconds >= size), ("s", 1.0))
    return f"{seconds / size:.4g} {unit}"


def rounded_text(seconds: float) -> str:
    """Returns a duration as a guess is told: `42 s`, `12 min`, `3 h 10 min`, `2 d 5 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds else "0 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        hours, minutes = divmod(round(seconds / 600) * 10, 60)  # to ten minutes
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
