"""What the paired differences of a few seeds say: mean, interval, size."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.statistics.intervals import Summary, summarise
from harness.statistics.pairs import ALIKE


@dataclass(frozen=True)
class Differences:
    """The differences of n seeds.

    Attributes:
        summary: mean, deviation over the seeds, and the interval; of accuracies over test images as well.
    """

    values: tuple[float, ...]
    summary: Summary

    @property
    def constant(self) -> bool:
        """Whether all seeds differ by the same, but for the rounding of floats: their noise is not known."""
        return is_constant(self.values)

    @functools.cached_property
    def effect_size(self) -> float | None:
        """Hedges' g_z: the mean in deviations between the seeds; None below three seeds."""
        return hedges_g(self.values)


def hedges_g(values: Sequence[float]) -> float | None:
    """Returns Hedges' g_z: Cohen's d_z = mean / sd of the differences, without its bias in small samples.

    Source: L. V. Hedges, Distribution theory for Glass's estimator of effect size, J. Educ. Stat. 6 (1981) 107, eq. 6e;
    D. Lakens, Calculating and reporting effect sizes, Front. Psychol. 4 (2013) 863.
    """
    if len(values) < 3 or is_constant(values):
        return None
    summary, m = summarise(values), len(values) - 1
    assert summary is not None and summary.sd
    correction = math.exp(math.lgamma(m / 2) - math.lgamma((m - 1) / 2)) / math.sqrt(m / 2)
    return correction * summary.mean / summary.sd


def is_constant(values: Sequence[float]) -> bool:
    """Tells whether the differences are alike, but for the rounding of floats."""
    return len(values) > 1 and max(values) - min(values) <= ALIKE
