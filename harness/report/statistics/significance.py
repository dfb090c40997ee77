"""Probabilities by Student's t, alone and corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence


def p_value(value: float, error: float, degrees_of_freedom: int) -> float:
    """Returns the two-sided probability of so large a value; seeds that agree to the last digit leave no error."""
    from scipy.special import stdtr

    if error <= 1e-12 * abs(value):
        return 0.0 if value else 1.0
    return 2 * float(stdtr(degrees_of_freedom, -abs(value) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected by Holm's method: below 5 %, not one is wrong in 95 % of families.

    As `statsmodels.stats.multitest.multipletests`, which takes seconds to import, and 0.2 s for its garbage collection.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979) 65.
    """
    in_order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    found = list(p_values)
    so_far = 0.0
    for rank, index in enumerate(in_order):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[index]))
        found[index] = so_far
    return found
