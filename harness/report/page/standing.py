"""Which config is best by a number, and which cannot be told apart from it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.numbers.rows import Row
from harness.report.statistics.intervals import CONFIDENCE, Summary, chance_above, summarise
from harness.report.statistics.significance import holm


@dataclass(frozen=True)
class Contender:
    """A config and one number of its runs.

    Attributes:
        by_seed: the number; the larger the better.
    """

    row: Row
    by_seed: Mapping[Any, float]

    @functools.cached_property
    def summary(self) -> Summary:
        """Mean and interval."""
        summary = summarise(list(self.by_seed.values()))
        assert summary
        return summary


@dataclass(frozen=True)
class Standing:
    """What is known of the first place.

    Attributes:
        best: by its mean.
        ties: the others that may well be as good, the best means first.
        unknown: of those, the ones with less than two seeds in common with the best: nothing can be said of them.
    """

    best: Contender
    ties: tuple[Contender, ...]
    unknown: tuple[Contender, ...]
    others: int

    @property
    def known(self) -> bool:
        """Whether the noise is known at all."""
        return len(self.best.by_seed) > 1


def standing(contenders: Sequence[Contender]) -> Standing | None:
    """Returns who is first; None where nobody stands.

    A config ties with the best unless the paired t test over their common seeds, two-sided and corrected by Holm's
    method for the number of comparisons, says at 5 % that it is worse.
    """
    if not contenders:
        return None
    ranked = sorted(contenders, key=lambda one: (-one.summary.mean, one.row.label))
    best, others = ranked[0], ranked[1:]
    chances = [_two_sided(best, other) for other in others]
    tested = [index for index, chance in enumerate(chances) if chance is not None]
    corrected = dict(zip(tested, holm([chances[index] or 0.0 for index in tested]), strict=True))
    ties = tuple(one for at, one in enumerate(others) if corrected.get(at, 1.0) >= 1 - CONFIDENCE)
    unknown = tuple(one for at, one in enumerate(others) if chances[at] is None)
    return Standing(best, ties, unknown, len(others))


def _two_sided(best: Contender, other: Contender) -> float | None:
    common = best.by_seed.keys() & other.by_seed.keys()
    difference = summarise([best.by_seed[seed] - other.by_seed[seed] for seed in sorted(common, key=str)])
    if difference is None or difference.n < 2:
        return None
    above = chance_above(difference)
    if above is None:  # seeds that agree to the last digit
        return 1.0 if difference.mean == 0 else 0.0
    return min(1.0, 2 * above)
