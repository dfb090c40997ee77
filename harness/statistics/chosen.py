"""How far the best of several configs is flattered by having been chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


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
