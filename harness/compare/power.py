"""How many seeds would show a difference, and which difference a number of seeds shows."""

from __future__ import annotations

import math

from harness.compare.differences import LEVEL
from harness.report.statistics.intervals import t_quantile

POWER = 0.8
MOST_SEEDS = 1000
# Noncentralities from which the other tail is 0, and the power 1, to ten digits; SciPy gives NaN for some beyond.
_ONE_SIDED, _CERTAIN = 6.0, 30.0


def power_of(effect: float, seeds: int, *, sides: int = 2) -> float:
    """Returns the power of Student's paired test at the 5 % level, by the noncentral t distribution.

    Args:
        effect: the true mean of the differences, in true deviations of the differences (d_z).
        sides: 2, or 1 for a test that looks upwards only.
    """
    from scipy.special import nctdtr

    noncentrality, df = abs(effect) * math.sqrt(seeds), seeds - 1
    critical = t_quantile(df, 1 - LEVEL / sides)
    if noncentrality > _CERTAIN + critical:
        return 1.0
    below = float(nctdtr(df, noncentrality, critical))
    other_tail = float(nctdtr(df, noncentrality, -critical)) if sides == 2 and noncentrality < _ONE_SIDED else 0.0
    return 1 - below + other_tail


def seeds_for(effect: float, *, power: float = POWER) -> int | None:
    """Returns the smallest number of seeds that shows an effect (d_z) with this power; None beyond `MOST_SEEDS`."""
    if effect == 0 or power_of(effect, MOST_SEEDS) < power:
        return None
    low, high = 1, MOST_SEEDS  # power grows with the seeds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(effect, middle) >= power else (middle, high)
    return high


def detectable(deviation: float, seeds: int, *, sides: int = 2, power: float = POWER) -> float:
    """Returns the mean difference that so many seeds show with this power.

    Args:
        deviation: of the differences between the seeds.
        sides: as of `power_of`.
    """
    from scipy.special import nctdtrinc

    critical = t_quantile(seeds - 1, 1 - LEVEL / sides)
    return float(nctdtrinc(seeds - 1, 1 - power, critical)) * deviation / math.sqrt(seeds)
