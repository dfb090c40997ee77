"""What the paired differences of a few seeds say: mean, interval, test, size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.statistics.intervals import Summary, chance_above, summarise

LEVEL = 0.05  # a verdict is wrong so often where there is no difference


@dataclass(frozen=True)
class Differences:
    """The differences of n seeds.

    Attributes:
        summary: mean, sample deviation, half the 95 % Student-t interval.
        p: of the two-sided paired t-test that the mean is 0; None without noise to judge by.
        effect_size: Hedges' g_z, the mean in deviations of the differences; None below three seeds.
    """

    values: tuple[float, ...]
    summary: Summary
    p: float | None
    effect_size: float | None

    @property
    def constant(self) -> bool:
        """Whether all seeds differ by the same, but for the rounding of floats: then the noise is not known."""
        return is_constant(self.values)


def differences_of(values: Sequence[float]) -> Differences:
    """Returns what the differences of at least one seed say."""
    summary = summarise(values)
    if summary is None:
        raise ValueError("no differences")
    return Differences(tuple(values), summary, p_of(values), hedges_g(values))


def p_of(values: Sequence[float]) -> float | None:
    """Returns the p-value of Student's two-sided test that the mean of the differences is 0.

    Differences that are all 0 give 1. None for a single one, and where all are alike and not 0: nothing tells then
    how much they would vary.
    """
    if len(values) < 2:
        return None
    if is_constant(values):
        return 1.0 if math.isclose(values[0], 0.0, abs_tol=1e-12) else None
    summary = summarise(values)
    above = chance_above(summary) if summary else None
    return None if above is None else 2 * min(above, 1 - above)


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
    return len(values) > 1 and max(values) - min(values) <= 1e-12
