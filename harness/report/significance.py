"""Probabilities by Student's t, alone and corrected for their number."""

from __future__ import annotations

import functools
from collections.abc import Sequence


@functools.cache
def t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Returns the quantile of Student's t."""
    from scipy.special import stdtrit  # scipy.stats would take a second longer to import

    return float(stdtrit(degrees_of_freedom, probability))


def p_value(value: float, error: float, degrees_of_freedom: int) -> float:
    """Returns the two-sided probability of so large a value; seeds that agree to the last digit leave no error."""
    from scipy.special import stdtr

    if error <= 1e-12 * abs(value):
        return 0.0 if value else 1.0
    return 2 * float(stdtr(degrees_of_freedom, -abs(value) / error))


def holm(ps: Sequence[float]) -> list[float]:
    """Returns the probabilities corrected for their number (Holm 1979): those below 0.05 err in one set of 20."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    corrected = [1.0] * len(ps)
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - place) * ps[index]))
        corrected[index] = largest
    return corrected
