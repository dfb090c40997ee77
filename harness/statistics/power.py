"""How many seeds would show a difference, and which difference a number of seeds shows."""

from __future__ import annotations

import bisect
import math
from typing import NamedTuple

from harness.statistics.intervals import CONFIDENCE, Summary, t_quantile
from harness.statistics.pairs import LEVEL

POWER = 0.8
MOST_SEEDS = 1000


class Noise(NamedTuple):
    """What hides a mean difference.

    Attributes:
        deviation: of the differences between the seeds.
        over_images: s²_image / m, see `harness.statistics.crossed`, which no seed makes smaller.
        images: m.
        borrowed: degrees of freedom, see `harness.statistics.moderated`.
    """

    deviation: float
    over_images: float = 0.0
    images: int = 0
    borrowed: float = 0.0

    @staticmethod
    def of(difference: Summary) -> Noise:
        """Returns that of a measured difference."""
        over_seeds, freedom, over_images, images, own = difference.parts
        n = difference.n
        return Noise(math.sqrt(max(over_seeds, own) * n), over_images, images, freedom - (n - 1))


def seeds_for(difference: float, noise: Noise, *, level: float = LEVEL) -> int | None:
    """Returns the smallest number of seeds that shows a difference 8 times of 10; None beyond `MOST_SEEDS`.

    Args:
        difference: the true mean of the differences.
        level: of the test; of one of k comparisons `LEVEL / k`.
    """
    far = abs(difference)
    if far == 0 or detectable(noise, MOST_SEEDS, level=level) > far:
        return None
    seeds = range(MOST_SEEDS)  # more of them show less
    return bisect.bisect_left(seeds, True, lo=2, key=lambda n: detectable(noise, n, level=level) <= far)


def seeds_between(
    difference: float, noise: Noise, freedom: float, *, level: float = LEVEL
) -> tuple[int | None, int | None]:
    """Returns between which ends, 95 %, the number of seeds lies that shows a difference 8 times of 10.

    Few seeds know their own deviation badly: its interval is that of the chi-squared distribution, and each end is what
    `seeds_for` has of an end of it. An end beyond `MOST_SEEDS` is None. The mean of normal differences tells nothing of
    their deviation, so this holds as well for the difference that the same seeds found.

    Args:
        difference, level: as of `seeds_for`.
        freedom: degrees of freedom of the deviation.
    """
    from scipy.special import chdtri

    tail = (1 - CONFIDENCE) / 2
    ends = (noise.deviation * math.sqrt(freedom / float(chdtri(freedom, share))) for share in (tail, 1 - tail))
    low, high = (seeds_for(difference, noise._replace(deviation=end), level=level) for end in ends)
    return low, high


def detectable(noise: Noise, seeds: int, *, sides: int = 2, level: float = LEVEL) -> float:
    """Returns the mean difference that so many seeds show 8 times of 10.

    As half of an interval it is the root of the sum of squares of what each part would hide by itself: exact for seeds
    alone and for images alone, and between them the power is 0.80 to 0.82 (simulated, `tests/statistics`).

    Args:
        sides: 2, or 1 for a test that looks upwards only.
        level: as of `seeds_for`.
    """
    from scipy.special import nctdtrinc, ndtri

    freedom = seeds - 1 + noise.borrowed
    critical = t_quantile(freedom, 1 - level / sides)
    of_seeds = float(nctdtrinc(freedom, 1 - POWER, critical)) * noise.deviation / math.sqrt(seeds)
    if not noise.over_images:
        return of_seeds
    quantile = t_quantile(max(noise.images - 1, 1), 1 - level / sides) + float(ndtri(POWER))
    return math.hypot(of_seeds, quantile * math.sqrt(noise.over_images))
