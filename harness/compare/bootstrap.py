"""The BCa bootstrap interval of a mean over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.report.statistics.intervals import CONFIDENCE

if TYPE_CHECKING:
    import numpy as np

# From here on it holds the truth nearly as often as it promises; `python benchmarks/method/coverage.py` measures it.
LEAST_SEEDS = 20
RESAMPLES = 4999


def bca_interval(values: Any, resamples: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the 95 % BCa interval of the mean.

    Source: B. Efron, Better bootstrap confidence intervals, J. Am. Stat. Assoc. 82 (1987) 171; `scipy.stats.bootstrap`.

    Args:
        values: [..., n]: the last axis is the seeds.
        resamples: drawn with a fixed seed, so that the same values give the same interval.
    """
    import numpy as np
    from scipy import stats  # a second to import

    found = stats.bootstrap(
        (np.asarray(values, float),),
        np.mean,
        axis=-1,
        n_resamples=resamples,
        batch=200,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return found.low, found.high
