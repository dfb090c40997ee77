"""Mean, standard deviation and 95 % interval over the seeds of a config; medians of times that have no end."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """What is known of one number from n seeds; one seed has neither a deviation nor an interval."""

    mean: float
    sd: float | None
    ci95: float | None
    n: int

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

    `sd` is the sample's (ddof 1); `ci95` is half the width of the Student-t interval of the mean.
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
    return Summary(mean, sd, t_quantile(n - 1) * sd / math.sqrt(n), n)


@functools.cache
def t_quantile(degrees_of_freedom: int, probability: float = 0.5 + CONFIDENCE / 2) -> float:
    """Returns Student's t below which a share `probability` lies; by default that of the two-sided 95 % interval."""
    from scipy.special import stdtrit  # scipy.stats would take a second longer to import

    return float(stdtrit(degrees_of_freedom, probability))


def chance_above(summary: Summary, value: float = 0.0) -> float | None:
    """Returns the p-value of Student's one-sided test that the mean lies above a value; None without a deviation."""
    from scipy.special import stdtr

    if not summary.sd:
        return None
    t = (summary.mean - value) / (summary.sd / math.sqrt(summary.n))
    return float(stdtr(summary.n - 1, -t))
