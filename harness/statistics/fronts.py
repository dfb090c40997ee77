"""The Pareto front: what no other config beats in both accuracy and cost, by the means and by samples of them.

Samples of means say where the means could lie, given how far the seeds scatter. A front is a function of many means at
once: it is computed on every sample, and its spread over the samples is how unsure it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SAMPLES = 2000
_RANDOM_SEED = 20260101  # fixed, so that the same records always give the same report


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Tells of each (accuracy, cost) whether it is on the front.

    A point is beaten by one that is at least as good in both and better in one; so equal points stay together.
    """
    front = [False] * len(points)
    best_accuracy = float("-inf")
    best_cost = float("nan")
    for index in sorted(range(len(points)), key=lambda at: (points[at][1], -points[at][0])):
        accuracy, cost = points[index]
        if accuracy > best_accuracy or (accuracy == best_accuracy and cost == best_cost):
            front[index] = True
            best_accuracy, best_cost = accuracy, cost
    return front


def pareto_fronts(accuracy: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Does the same for many samples at once.

    Args:
        accuracy, cost: [samples, configs].

    Returns:
        Whether each config is on the front of each sample, [samples, configs].
    """
    import numpy as np

    order = np.argsort(cost, axis=1)
    paid = np.take_along_axis(cost, order, axis=1)
    if (paid[:, 1:] == paid[:, :-1]).any():  # else it need not be sorted by both, which takes longer
        order = np.lexsort((-accuracy, cost), axis=1)
    accuracy, cost = (np.take_along_axis(values, order, axis=1) for values in (accuracy, cost))
    best = np.maximum.accumulate(accuracy, axis=1)
    ahead = np.full_like(accuracy, True, dtype=bool)
    ahead[:, 1:] = accuracy[:, 1:] > best[:, :-1]
    twin = np.zeros_like(ahead)
    twin[:, 1:] = (accuracy[:, 1:] == accuracy[:, :-1]) & (cost[:, 1:] == cost[:, :-1])
    first = np.maximum.accumulate(np.where(twin, 0, np.arange(accuracy.shape[1])), axis=1)
    ahead = np.take_along_axis(ahead, first, axis=1)  # twins share the lot of the first of them
    front = np.empty_like(ahead)
    np.put_along_axis(front, order, ahead, axis=1)
    return front


def samples_of_means(
    numbers: Sequence[Mapping[Any, float]], scales: Sequence[int], samples: int = SAMPLES
) -> np.ndarray:
    """Draws means by a paired t bootstrap: a parametric one, as three seeds are too few to be drawn from.

    A sample moves each mean by the sum over its seeds of `(value - mean) * z[seed]`, scaled so that it is Student's t
    with n - 1 degrees of freedom around the mean. The normal weights z are shared by all means: seeds are the sampling
    unit, and what a seed's runs have in common moves together. The chi-squared scale that makes t of them is shared by
    the means of one group. Where all are in one, the share of the samples in which the difference of two means over
    the same seeds is below 0 is the one-sided p value of the paired t test. Where each config has a scale of its own,
    the means are not tied to the n - 1 directions in which few seeds happened to scatter.
    docs/method.md compares these with other ways to resample.

    Args:
        numbers: of each mean, its values by seed; two seeds or more.
        scales: the group of each mean, from 0; its degrees of freedom are those of its mean with the fewest seeds.
        samples: how many to draw.

    Returns:
        The means, [samples, len(numbers)].
    """
    import numpy as np

    seeds = {seed: index for index, seed in enumerate(dict.fromkeys(seed for own in numbers for seed in own))}
    means = np.array([math.fsum(own.values()) / len(own) for own in numbers])
    deviations = np.zeros((len(numbers), len(seeds)))
    for row, own in enumerate(numbers):
        for seed, value in own.items():
            deviations[row, seeds[seed]] = value - means[row]
    counts = np.array([len(own) for own in numbers])
    freedom = np.full(max(scales) + 1, len(seeds))
    np.minimum.at(freedom, list(scales), counts - 1)

    random = np.random.default_rng(_RANDOM_SEED)
    weights = random.standard_normal((samples, len(seeds)))
    variances = random.chisquare(freedom, (samples, len(freedom))) / freedom
    errors = weights @ deviations.T / np.sqrt(counts * (counts - 1))
    return means + errors / np.sqrt(variances)[:, list(scales)]
