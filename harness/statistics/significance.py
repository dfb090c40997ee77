"""Probabilities by Student's t, alone and corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy


def p_value(value: float, error: float, degrees_of_freedom: int) -> float:
    """Returns the two-sided probability of so large a value; seeds that agree to the last digit leave no error."""
    from scipy.special import stdtr

    if error <= 1e-12 * abs(value):
        return 0.0 if value else 1.0
    return 2 * float(stdtr(degrees_of_freedom, -abs(value) / error))


def holm(p_values: Sequence[float] | numpy.ndarray) -> list[float]:
    """Returns p-values corrected by Holm's method: below 5 %, not one is wrong in 95 % of families.

    As `statsmodels.stats.multitest.multipletests`, which takes seconds to import, and 0.2 s for its garbage collection.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979) 65.
    """
    import numpy

    p = numpy.asarray(p_values, float)
    in_order = numpy.argsort(p, kind="stable")
    times = numpy.arange(len(p), 0, -1)
    found = numpy.empty_like(p)
    found[in_order] = numpy.maximum.accumulate(numpy.minimum(1.0, times * p[in_order]))
    return found.tolist()
