"""The variance between the seeds of a config, with what the other configs of its table tell of it.

Three seeds say little of how far seeds scatter: Student's t with two degrees of freedom leaves hardly any difference
standing among the many comparisons of a table. The configs of a table are trained alike, so their variances are drawn
together, as far as they are alike: they are taken for draws of a scaled inverse chi-squared distribution, whose scale
and degrees of freedom are estimated from all of them. Where they differ much, little is borrowed.

A variance is never made smaller than it was measured, so a config that scatters far more than the others keeps that;
docs/method.md has the levels that this leaves.

Source: G. K. Smyth, Linear models and empirical Bayes methods, Stat. Appl. Genet. Mol. Biol. 3 (2004) 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

ALIKE = 1e-12  # numbers closer than this differ by the rounding of floats
LEAST_CONFIGS, LEAST_SEEDS = 4, 3


def moderated_variances(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the variance of each config between its seeds, [configs], and the degrees of freedom that it borrows.

    NaN, and nothing borrowed, where there are too few: four configs that have three seeds, and vary.

    Args:
        values: [configs, seeds], NaN where a run is missing.
    """
    import numpy as np
    from scipy.special import digamma, polygamma

    seeds = (~np.isnan(values)).sum(1)
    found = np.full(len(values), np.nan)
    enough = seeds >= LEAST_SEEDS
    variances = found.copy()
    variances[enough] = np.nanvar(values[enough], axis=1, ddof=1)
    fitted = enough & (variances > ALIKE**2)  # seeds that all collapsed alike tell nothing of the others
    if fitted.sum() < LEAST_CONFIGS:
        return found, 0.0
    own, freedom = variances[fitted], seeds[fitted] - 1.0
    logs = np.log(own) - digamma(freedom / 2) + np.log(freedom / 2)
    spread = float(logs.var(ddof=1) - polygamma(1, freedom / 2).mean())
    together = float(freedom.sum())
    if spread > 0:
        borrowed = min(2 * _inverse_trigamma(spread), together)
        scale = float(np.exp(logs.mean() + digamma(borrowed / 2) - np.log(borrowed / 2)))
    else:  # no more different than the seeds make them
        borrowed, scale = together, float(np.exp(logs.mean()))
    of_all = np.where(enough, seeds - 1.0, np.nan)
    mixed = (borrowed * scale + of_all * variances) / (borrowed + of_all)
    return np.maximum(mixed, variances), borrowed


def _inverse_trigamma(value: float) -> float:
    """Returns where the trigamma function has a value, by Newton's method (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    found = 0.5 + 1 / value
    for _ in range(100):
        trigamma = float(polygamma(1, found))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, found))
        found += step
        if abs(step) < 1e-9 * found:
            break
    return found
