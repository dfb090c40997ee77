"""The median of paired ratios, and how sure it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any


def median_of(ratios: Sequence[float]) -> dict[str, Any]:
    """Returns the `median`, the bounds `low` and `high` of its 95 % interval, and how many `pairs` there are.

    The bounds are order statistics of the ratios (Conover, Practical Nonparametric Statistics, 3.2).
    """
    ordered = sorted(ratios)
    margin, middle = math.ceil(0.98 * math.sqrt(len(ordered))), len(ordered) // 2
    return {
        "median": statistics.median(ordered),
        "low": ordered[max(middle - margin, 0)],
        "high": ordered[min(middle + margin, len(ordered) - 1)],
        "pairs": len(ordered),
    }
