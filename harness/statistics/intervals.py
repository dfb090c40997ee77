"""Mean, deviation and 95 % interval over seeds, and what else a report says of a number.

Where other runs would lie; quotients; censored medians; limits of shares; how far the best of several is flattered.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.statistics.crossed import half_width, tail_beyond

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """What is known of one number from n seeds; one seed has neither a deviation nor an interval.

    Attributes:
        sd: of the sample, between the seeds.
        ci95: half of the 95 % interval of the mean.
        over_images: s²_image / m of a number that is a mean over test images, too; see `harness.statistics.crossed`.
        images: how many.
        own: s²_rest / (n m), of what over_seeds holds of the images already.
        over_seeds, freedom: s²_seed / n and its degrees of freedom, where they are not sd² / n and n - 1.
        least, most: of the values; None where they are not known.
    """

    mean: float
    sd: float | None
    ci95: float | None
    n: int
    over_images: float = 0.0
    images: int = 0
    over_seeds: float | None = None
    freedom: float | None = None
    least: float | None = None
    most: float | None = None
    own: float = 0.0

    @property
    def has_noise(self) -> bool:
        """Whether it is known to vary, over the seeds or over the images."""
        over_seeds, _, over_images, _, own = self.parts
        return self.n > 1 and bool(over_seeds or over_images or own)

    def half_width(self, tail: float) -> float:
        """Returns half of the interval that leaves out `tail` at each end; two seeds or more."""
        return float(half_width(tail, *self.parts))

    @property
    def parts(self) -> tuple[float, float, float, int, float]:
        """What `harness.statistics.crossed` takes: s²_seed / n, its degrees of freedom, s²_image / m, m, own."""
        over_seeds = (self.sd or 0.0) ** 2 / self.n if self.over_seeds is None else self.over_seeds
        return over_seeds, self.freedom or self.n - 1, self.over_images, self.images, self.own

    @property
    def shows_range(self) -> bool:
        """Whether the interval says less than the values: ± of more than half of the mean."""
        return self.ci95 is not None and self.least is not None and self.ci95 > abs(self.mean) / 2

    @property
    def low(self) -> float:
        """The interval's lower end, or the mean where there is no interval."""
        return self.mean - (self.ci95 or 0.0)

    @property
    def high(self) -> float:
        """The interval's upper end, or the mean where there is no interval."""
        return self.mean + (self.ci95 or 0.0)


@dataclass(frozen=True)
class CensoredMedian:
    """A median of times of which some are only known to be later than the end of their run.

    Attributes:
        seconds: the median; None where it is one of those.
        above: what it is later than, where it is one of those.
    """

    seconds: float | None
    above: float | None = None


def summarise(values: Sequence[float | None]) -> Summary | None:
    """Returns the summary of the values that were measured, or None where none was.

    `ci95` is half the width of the Student-t interval over the seeds.
    """
    measured = [value for value in values if value is not None]
    n = len(measured)
    if n == 0:
        return None
    if not all(map(math.isfinite, measured)):
        return Summary(sum(measured) / n, None, None, n)
    mean = math.fsum(measured) / n
    if n == 1:
        return Summary(mean, None, None, 1)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in measured) / (n - 1))
    half = t_quantile(n - 1) * sd / math.sqrt(n)
    return Summary(mean, sd, half, n, least=min(measured), most=max(measured))


@functools.cache
def t_quantile(degrees_of_freedom: float, probability: float = 0.5 + CONFIDENCE / 2) -> float:
    """Returns Student's t below which a share `probability` lies; by default that of the two-sided 95 % interval."""
    from scipy.special import stdtrit  # scipy.stats would take a second longer to import

    return float(stdtrit(degrees_of_freedom, probability))


def expected_mean(ours: Summary, runs: int, over_images: float = 0.0, images: int = 0) -> tuple[float, float] | None:
    """Returns the 95 % prediction interval of the mean of `runs` other runs of the same recipe; None without noise.

    It is mean ± t(0.975, n - 1) · sd · √(1/n + 1/runs), as our mean of n and theirs both scatter, alike. On the same
    test images what is hard of them is in both means and cancels; what a network finds hard is in the sd between seeds.

    Args:
        over_images: variance of the difference of the two means that comes from the images; 0 on the same images.
        images: how many.

    Source: G. J. Hahn and W. Q. Meeker, Statistical Intervals, 1991, section 4.8.
    """
    if ours.sd is None:
        return None
    over_seeds = ours.sd**2 * (1 / ours.n + 1 / runs)
    half = float(half_width((1 - CONFIDENCE) / 2, over_seeds, ours.n - 1, over_images, images))
    return ours.mean - half, ours.mean + half


def next_value(values: Sequence[float]) -> tuple[float, float] | None:
    """Returns the 95 % prediction interval of one more value like these, all above zero; None for fewer than three.

    It is that of Student's t over the logarithms, mean ± t(0.975, n - 1) · sd · √(1 + 1/n): times are skewed, and an
    interval of their factors does not reach below zero.

    Source: G. J. Hahn and W. Q. Meeker, Statistical Intervals, 1991, section 4.7.
    """
    logs = summarise([math.log(value) for value in values])
    if logs is None or logs.sd is None or logs.n < 3:
        return None
    half = t_quantile(logs.n - 1) * logs.sd * math.sqrt(1 + 1 / logs.n)
    return math.exp(logs.mean - half), math.exp(logs.mean + half)


def ratio_interval(above: Summary, below: Summary, pairs: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Returns the 95 % interval of a quotient of two means; None where that of the mean below holds 0.

    It holds each quotient r for which `above - r * below` may be 0.

    Args:
        above, below: two means with intervals.
        pairs: the values of both, (above, below), of the seeds that both have: in these they may move together.

    Source: E. C. Fieller, Some problems in interval estimation, J. R. Stat. Soc. B 16 (1954) 175.
    """
    tail = (1 - CONFIDENCE) / 2
    far_above, far_below = above.half_width(tail), below.half_width(tail)
    if far_below >= abs(below.mean):
        return None
    together = 0.0
    if len(pairs) > 1:
        tops, bottoms = zip(*pairs, strict=True)
        together = t_quantile(len(pairs) - 1) ** 2 * statistics.covariance(tops, bottoms) / len(pairs)
    together = max(-far_above * far_below, min(far_above * far_below, together))
    square, middle = below.mean**2 - far_below**2, above.mean * below.mean - together
    root = math.sqrt(max(0.0, middle**2 - square * (above.mean**2 - far_above**2)))
    return (middle - root) / square, (middle + root) / square


def censored_median(reached: Sequence[float], ends: Sequence[float]) -> CensoredMedian | None:
    """Returns the median of times, of which some are only known to be later than the end of their run.

    Where the median is one of those, its bound is the median with such runs counted at their end: no time is less than
    that, so neither is the median.

    Args:
        reached: the known times.
        ends: of the runs that did not get there.
    """
    if not reached and not ends:
        return None
    if len(reached) > len(ends):
        return CensoredMedian(statistics.median([*reached, *[math.inf] * len(ends)]))
    return CensoredMedian(None, statistics.median([*reached, *ends]))


def share_at_most(count: int, of: int) -> float:
    """Returns the one-sided upper 95 % limit of a share, e.g. 0.45 for 0 of 5.

    Source: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934) 404.
    """
    from scipy.special import betaincinv

    return 1.0 if count == of else float(betaincinv(count + 1, of - count, CONFIDENCE))


def chance_above(summary: Summary, value: float = 0.0) -> float | None:
    """Returns the p-value of Student's one-sided test that the mean lies above a value; None without noise."""
    return float(tail_beyond(summary.mean - value, *summary.parts)) if summary.has_noise else None


def flattery_of_best(values: np.ndarray) -> float | None:
    """Returns by how much the highest of k means lies above its truth, on average, where all k are equally good.

    It is E(max of k normals) · s / √n, where s is the deviation of a run about the sum of its config's and its seed's
    mean, pooled over the configs: what a seed does to all of them alike favours none. Where the configs differ in
    truth, the choice flatters less; so this is the most, of configs that may all be the best.

    Args:
        values: [k, seeds], NaN where a run is missing; only seeds that all have are used.

    Returns:
        None with less than two configs, or two seeds in common.

    Source: order statistics of normal samples, H. A. David and H. N. Nagaraja, Order Statistics, 2003, section 3.1.
    """
    import numpy as np
    from scipy.special import ndtr

    common = values[:, ~np.isnan(values).any(axis=0)]
    configs, seeds = common.shape
    if configs < 2 or seeds < 2:
        return None
    residuals = common - common.mean(1, keepdims=True) - common.mean(0) + common.mean()
    deviation = np.sqrt((residuals**2).sum() / (configs - 1) / (seeds - 1))
    z = np.linspace(-9, 9, 4001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    largest = np.trapezoid(z * configs * density * ndtr(z) ** (configs - 1), z)  # E(max), by the density of the largest
    return float(largest * deviation / np.sqrt(seeds))
