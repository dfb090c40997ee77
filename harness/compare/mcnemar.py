"""McNemar's test: would the same networks differ on other test images?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.compare.outcomes import Outcomes
from harness.compare.pairs import Pair
from harness.errors import HarnessError


@dataclass(frozen=True)
class Discordant:
    """The test images that exactly one network of a pair recognised."""

    seed: int
    only_a: int
    only_b: int

    @property
    def p(self) -> float:
        """Of the exact two-sided test that each network is as likely to be the one that is right."""
        return min(1.0, 2 * min(self.p_above("a"), self.p_above("b")))

    def p_above(self, side: str) -> float:
        """Returns the p-value of the one-sided test that this side's network recognises more images."""
        from scipy.special import bdtr

        fewer = self.only_b if side == "a" else self.only_a
        return float(bdtr(fewer, self.only_a + self.only_b, 0.5)) if self.only_a + self.only_b else 1.0


@dataclass(frozen=True)
class McNemar:
    """The tests of all seeds, and what they say together; or why there is none.

    Attributes:
        p: of all pairs together, see `combined`; None without a pair.
        reason: why there is no test, or of which seeds there is none.
    """

    pairs: tuple[Discordant, ...]
    p: float | None
    reason: str = ""
    hint: str = ""

    @property
    def seeds_for(self) -> tuple[int, int]:
        """How many seeds' networks of A, and of B, recognise more images."""
        return sum(one.only_a > one.only_b for one in self.pairs), sum(one.only_b > one.only_a for one in self.pairs)


def mcnemar(pairs: Sequence[Pair]) -> McNemar:
    """Returns McNemar's test on the stored predictions of each pair whose images are the same.

    Source: Q. McNemar, Psychometrika 12 (1947) 153; T. G. Dietterich, Neural Computation 10 (1998) 1895.
    """
    found, problem = [], HarnessError("")
    for pair in pairs:
        try:
            found.append(_discordant(pair))
        except HarnessError as error:
            problem = problem if problem.message else error
    return McNemar(tuple(found), combined(found) if found else None, problem.message, problem.hint)


def combined(tests: Sequence[Discordant]) -> float:
    """Returns one p-value for the tests of m pairs: that none of the pairs differs.

    The tests share their images, so they depend on each other, and a sum of their counts would count each image m
    times. m / k times the k-th smallest p-value is valid however they depend; k is half of m, so it is at most twice
    the median. Each direction is combined by itself, so that pairs that contradict each other do not add up.

    Source: B. Rüger, Metrika 25 (1978) 171; C. J. DiCiccio, T. J. DiCiccio, J. P. Romano, Exact tests via multiple data
    splitting, Stat. Probab. Lett. 166 (2020) 108865.
    """
    m = len(tests)
    k = math.ceil(m / 2)
    sides = [min(1.0, m / k * sorted(test.p_above(side) for test in tests)[k - 1]) for side in ("a", "b")]
    return min(1.0, 2 * min(sides))


def _discordant(pair: Pair) -> Discordant:
    a, b = pair.a.outcomes(), pair.b.outcomes()
    if len(a.correct) != len(b.correct):
        message = f"the predictions of seed {pair.seed} are of {len(a.correct):,} and of {len(b.correct):,} test images"
        raise HarnessError(message, "compare configs with the same test images")
    _require_own(a, pair.a.images.samples, pair.seed)
    if a.labels_sha256 != b.labels_sha256:
        message = f"the predictions of seed {pair.seed} are of test images with other labels, or in another order"
        raise HarnessError(message, "run one of them again")
    only_a = int((a.correct & ~b.correct).sum())
    return Discordant(pair.seed, only_a, int((b.correct & ~a.correct).sum()))


def _require_own(outcomes: Outcomes, samples: int, seed: int) -> None:
    if len(outcomes.correct) != samples:
        message = f"stored predictions of seed {seed}: {len(outcomes.correct):,}, of {samples:,} test images"
        raise HarnessError(message, "run it again, or restore its predictions.npz")
