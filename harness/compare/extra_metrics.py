"""The metrics of plug-ins of two configs, side by side over the seeds that both have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.metric import Declaration
from harness.results.answers import Pair
from harness.statistics.intervals import Summary, summarise


@dataclass(frozen=True)
class ComparedMetric:
    """One metric; there is no verdict, as its scatter over the test images is not known.

    Attributes:
        declared: its unit, its title, and which values are better.
        seeds: that both have a value of, by the same code.
        a, b: their means, each with the 95 % interval over these seeds.
        difference: of A minus B, the same.
    """

    name: str
    declared: Declaration
    seeds: tuple[int, ...]
    a: Summary
    b: Summary
    difference: Summary


def compared_metrics(pairs: Sequence[Pair]) -> Iterator[ComparedMetric]:
    """Yields the metrics that both runs of a seed have."""
    for name in dict.fromkeys(name for pair in pairs for name in pair.a.extra_metrics):
        found = [(pair.seed, pair.a.extra_metrics.get(name), pair.b.extra_metrics.get(name)) for pair in pairs]
        both = [(seed, a, b) for seed, a, b in found if a and b and a.code == b.code]
        values = [(seed, a.value, b.value) for seed, a, b in both if a.value is not None and b.value is not None]
        a, b = summarise([x for _, x, _ in values]), summarise([y for _, _, y in values])
        difference = summarise([x - y for _, x, y in values])
        if a and b and difference:
            yield ComparedMetric(name, both[0][1], tuple(seed for seed, _, _ in values), a, b, difference)
