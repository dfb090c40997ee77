"""A regression gate: is the new one shown to be slower, or less accurate, by more than is allowed?

A gate that fails by chance is switched off, so it fails only where the regression is beyond the noise: where the
one-sided 95 % bound lies above the limit. What it cannot see with so few seeds, it says.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.compare.comparison import ConfigPair
from harness.errors import HarnessError
from harness.results.answers import Question
from harness.statistics.intervals import Summary, chance_above
from harness.statistics.pairs import ALIKE, LEVEL, holm
from harness.statistics.power import Noise, detectable


@dataclass(frozen=True)
class Limit:
    """How much worse is allowed.

    Attributes:
        at_most: the loss of accuracy as a fraction, or the growth of train time as a fraction of it.
    """

    question: Question
    at_most: float

    @property
    def threshold(self) -> float:
        """The limit on the scale on which the test is made: a fraction, or the logarithm of a ratio."""
        return self.at_most if self.question == "accuracy" else math.log1p(self.at_most)


@dataclass(frozen=True)
class Check:
    """What a gate finds of one config.

    Attributes:
        worse: how much worse the new one is, on the limit's scale.
        bound: the end of the one-sided 95 % interval: so much worse at least.
        p: that it is worse than the limit; corrected by Holm's method over the configs of the gate.
        detectable: so much worse (on the limit's scale) is found 8 times of 10 with these seeds; None without noise.
        died: seeds of the new one that did not end ok, and of the old one did: with any, the gate fails.
    """

    comparison: ConfigPair
    limit: Limit
    worse: Summary
    bound: float
    p: float
    state: Literal["passes", "fails"]
    detectable: float | None
    died: tuple[int, ...] = ()


def check(comparisons: Sequence[ConfigPair], limit: Limit) -> list[Check]:
    """Holds each A, the new one, against its B.

    Raises:
        HarnessError: it cannot be decided for one of them: a gate that cannot see must not be green.
    """
    losses = [_loss(one, limit) for one in comparisons]
    chances = [_chance(loss, limit.threshold) for loss in losses]
    found = []
    for comparison, loss, p in zip(comparisons, losses, holm(chances).tolist(), strict=True):
        reach, seen = 0.0, None
        if loss.has_noise:
            reach, seen = loss.half_width(LEVEL), limit.threshold + detectable(Noise.of(loss), loss.n, sides=1)
        died = tuple(sorted(set(comparison.a.died) & set(comparison.b.seeds)))
        state = "fails" if p < LEVEL or died else "passes"
        found.append(Check(comparison, limit, loss, loss.mean - reach, p, state, seen, died))
    return found


def _loss(comparison: ConfigPair, limit: Limit) -> Summary:
    """Returns how much worse A is, over the seeds."""
    is_accuracy = limit.question == "accuracy"
    found = comparison.accuracy if is_accuracy else comparison.time
    refused = f"{'--fail-if-worse' if is_accuracy else '--fail-if-slower'} cannot be decided for '{comparison.a.label}'"
    if found.difference is None:
        raise HarnessError(f"{refused}: {found.reason}", found.hint)
    if found.difference.n < 2:
        raise HarnessError(f"{refused} by one seed", "run at least two seeds of it, better five")
    return dataclasses.replace(found.difference, mean=-found.difference.mean) if is_accuracy else found.difference


def _chance(loss: Summary, threshold: float) -> float:
    """Returns the p-value of the one-sided test that the loss is above the threshold; 0 or 1 where seeds are alike."""
    above = chance_above(loss, threshold)
    return float(loss.mean <= threshold + ALIKE) if above is None else above
