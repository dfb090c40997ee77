"""Samples of means over seeds: where the means could lie, given how far the seeds scatter.

Fronts and prices are functions of many means at once. Each is computed on every sample, and its spread over the
samples is how unsure it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

SAMPLES = 2000
_RANDOM_SEED = 20260101  # fixed, so that the same records always give the same report


def samples_of_means(
    numbers: Sequence[Mapping[Any, float]], scales: Sequence[int], samples: int = SAMPLES
) -> numpy.ndarray:
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
    import numpy

    seeds = {seed: index for index, seed in enumerate(dict.fromkeys(seed for own in numbers for seed in own))}
    means = numpy.array([math.fsum(own.values()) / len(own) for own in numbers])
    deviations = numpy.zeros((len(numbers), len(seeds)))
    for row, own in enumerate(numbers):
        for seed, value in own.items():
            deviations[row, seeds[seed]] = value - means[row]
    counts = numpy.array([len(own) for own in numbers])
    freedom = numpy.full(max(scales) + 1, len(seeds))
    numpy.minimum.at(freedom, list(scales), counts - 1)

    random = numpy.random.default_rng(_RANDOM_SEED)
    weights = random.standard_normal((samples, len(seeds)))
    variances = random.chisquare(freedom, (samples, len(freedom))) / freedom
    errors = weights @ deviations.T / numpy.sqrt(counts * (counts - 1))
    return means + errors / numpy.sqrt(variances)[:, list(scales)]
