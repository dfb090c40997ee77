"""The configs of a table compared, each pair of them: over the seeds, and of accuracies over the test images as well.

A table is one family of tests. Its best config was chosen by the numbers that it is then compared by, so it is too good
by its own luck. Over all pairs no choice can go wrong: every verdict that it could have led to is among them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.statistics.crossed import ImageNoise, tail_beyond
from harness.statistics.intervals import CONFIDENCE, Summary
from harness.statistics.moderated import ALIKE, moderated_variances

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.05  # of a family of comparisons: so often one of its verdicts is wrong where nothing differs
MOST_PAIRS = 100_000  # whose p-values are all exact
AT_ONCE = 200_000  # pairs in memory

Verdict = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Paired differences; numbers of one, or arrays.

    Attributes:
        difference: mean over the seeds that both have; NaN without one.
        seeds: how many both have.
        over_seeds: s²_seed / n, see `harness.statistics.crossed`; NaN with less than two seeds.
        freedom: its degrees of freedom.
        over_images, images, own: as in `ImageNoise`; 0 where nothing is measured on images.
    """

    difference: Any
    seeds: Any
    over_seeds: Any
    freedom: Any
    over_images: Any = 0.0
    images: int = 0
    own: Any = 0.0

    @functools.cached_property
    def variance(self) -> Any:
        """Of the mean; 0 where all differ by the same."""
        import numpy as np

        return np.maximum(self.over_seeds, self.own) + self.over_images

    @functools.cached_property
    def p(self) -> Any:
        """Of no difference, two-sided. NaN where nothing can be said: with less than two seeds, for a pair that was
        tested on different images, and where all differ by the same; 1 where all differences are 0.
        """
        return 2 * self._tail(abs(self.difference), 0.5)

    def noise_of(self, found: Summary, at: Any = ()) -> Summary:
        """Returns the summary of one of the differences with its noise, and the interval that follows.

        Args:
            at: its place, of arrays.
        """
        import numpy as np

        parts = (self.over_seeds, self.freedom, self.over_images, self.own)
        over_seeds, freedom, over_images, own = (float(np.asarray(part)[at]) for part in parts)
        if math.isnan(over_seeds + over_images):
            return found
        noise = {"over_seeds": over_seeds, "freedom": freedom, "over_images": over_images, "own": own}
        found = dataclasses.replace(found, images=self.images, **noise)
        return dataclasses.replace(found, ci95=found.half_width((1 - CONFIDENCE) / 2))

    def p_beyond(self, margin: float) -> Any:
        """Of a difference of the margin or more, in either direction: of two one-sided tests the larger one.

        Source: D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987) 657.
        """
        return self._tail(margin - abs(self.difference), float(margin <= 0))

    def _tail(self, distance: Any, without_noise: float) -> Any:
        import numpy as np

        tail = tail_beyond(distance, self.over_seeds, self.freedom, self.over_images, self.images, self.own)
        alike = np.where(np.abs(self.difference) < ALIKE, without_noise, np.nan)
        return np.where(self.variance == 0, alike, tail)


@dataclass(frozen=True)
class Best:
    """Which config has the highest mean, and what the others are beside it; indices, the highest means first.

    Attributes:
        equivalent, undecided: those that may well be as good; the others are worse.
        unknown: of the undecided ones, those of which nothing can be said, for want of a second seed in common.
    """

    index: int
    equivalent: tuple[int, ...]
    undecided: tuple[int, ...]
    unknown: tuple[int, ...]


class PairwiseTests:
    """The tests of a family: of each kind, one verdict is wrong in 5 % of families.

    Attributes:
        p: of no difference, see `Pairs`, not corrected, [configs, configs]; NaN outside of the family. Of more than
            `MOST_PAIRS` those that could not be significant are too small, but for those of `beside`.
        p_beyond: the same of a difference of the margin or more; NaN without one.

    Args:
        values: [configs, seeds], the larger the better; NaN where a run is missing.
        noise: None for what is not measured on images.
        margin: differences below it do not matter; in the unit of the values.
        beside: the place of a config whose p-values are wanted, by default that of the best; see `p`.
        to: a config that was named beforehand: the family is of the comparisons with it alone, each by its own
            variance. With what the table tells of the variances, a pair with a config that scatters far more than the
            others would be told apart too often, by three seeds in 9 % of tables.
        ids: of the configs, by which those of equal means are ordered; by default they stay as they are.
    """

    def __init__(
        self,
        values: np.ndarray,
        noise: ImageNoise | None = None,
        *,
        margin: float | None = None,
        beside: int | None = None,
        to: int | None = None,
        ids: Sequence[str] = (),
    ) -> None:
        import numpy as np

        self.values = np.asarray(values, float)
        self.noise, self.margin = noise, margin
        known = ~np.isnan(self.values)
        with np.errstate(invalid="ignore"):
            self.means = np.where(known, self.values, 0.0).sum(1) / known.sum(1)
        there = np.flatnonzero(known.any(1)).tolist()
        self._ranked = sorted(there, key=lambda one: (-self.means[one], ids[one] if ids else one))
        self._beside = next(iter(self._ranked), 0) if beside is None else beside
        self._variances, self._borrowed = moderated_variances(self.values) if to is None else (np.array([]), 0.0)
        rows, columns = np.triu_indices(len(self.values), 1)
        if to is not None:
            rows, columns = np.full(len(self.values), to), np.arange(len(self.values))
            rows, columns = rows[columns != to], columns[columns != to]
        self.p = self._tested(rows, columns, None)
        nothing = np.broadcast_to(math.nan, self.p.shape)  # of a large table a matrix would be 50 MB
        self.p_beyond = nothing if margin is None else self._tested(rows, columns, margin)
        self._holm = holm_of(self.p[rows, columns])
        self._holm_beyond = holm_of([] if margin is None else self.p_beyond[rows, columns])

    def between(self, one: Any, other: Any) -> Pairs:
        """Returns the differences of pairs of configs, one minus the other, by their places: integers or arrays."""
        import numpy as np

        differences = self.values[one] - self.values[other]
        known = ~np.isnan(differences)
        seeds = known.sum(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(known, differences, 0.0).sum(-1) / seeds
            scatter = np.where(known, differences - mean[..., None], 0.0)
            variance = (scatter**2).sum(-1) / (seeds - 1)
            over_seeds = np.where(seeds > 1, np.where(variance < ALIKE**2, 0.0, variance) / seeds, np.nan)
            freedom = seeds - 1.0
            if self._borrowed:
                moderated = (self._variances[one] + self._variances[other]) / seeds
                freedom = np.where(np.isnan(moderated + over_seeds), freedom, freedom + self._borrowed)
                over_seeds = np.where(moderated > over_seeds, moderated, over_seeds)
        if self.noise is None:
            return Pairs(mean, seeds, over_seeds, freedom)
        shared, own, images = self.noise
        return Pairs(mean, seeds, over_seeds, freedom, shared[one, other], images, own[one, other])

    def p_holm(self, one: Any, other: Any) -> np.ndarray:
        """Returns p-values of pairs, corrected over the family by Holm's method; NaN outside of it."""
        return self._holm(self.p[one, other])

    def p_beyond_holm(self, one: Any, other: Any) -> np.ndarray:
        """Returns the same of a difference of the margin or more; NaN without a margin."""
        return self._holm_beyond(self.p_beyond[one, other])

    def verdicts(self, one: int, others: Sequence[int]) -> list[Verdict | None]:
        """Returns what one config is beside each of some others; None where nothing can be said."""
        import numpy as np

        places = np.array(others, dtype=int)
        corrected = self.p_holm(one, places), self.p_beyond_holm(one, places)
        rows = zip(self.between(one, places).difference, *corrected, strict=True)
        return [verdict_of(difference, p, p_beyond) for difference, p, p_beyond in rows]

    @functools.cached_property
    def best(self) -> Best | None:
        """The config with the highest mean; None where there is no value. A config without one takes no part."""
        if not self._ranked:
            return None
        index, *others = self._ranked
        found = dict(zip(others, self.verdicts(index, others), strict=True))

        def those(*verdicts: Verdict | None) -> tuple[int, ...]:
            return tuple(other for other, verdict in found.items() if verdict in verdicts)

        # "worse" can be one whose missing seeds made its mean the lower one.
        return Best(index, those("equivalent"), those("undecided", "worse", None), those(None))

    def _tested(self, rows: np.ndarray, columns: np.ndarray, margin: float | None) -> np.ndarray:
        """Returns the p-values of pairs, [configs, configs]: of no difference, or of the margin or more."""
        import numpy as np
        from scipy.special import ndtr

        p, exact = np.empty(len(rows)), np.ones(len(rows), bool)
        if len(rows) > MOST_PAIRS:
            # Normal noise alone gives no larger p-values than Student's. Holm's method compares none with more than the
            # level over those that stay, and those above the level stay.
            for start in range(0, len(rows), AT_ONCE):
                some = slice(start, start + AT_ONCE)
                found = self.between(rows[some], columns[some])
                far = np.abs(found.difference) if margin is None else margin - np.abs(found.difference)
                with np.errstate(invalid="ignore", divide="ignore"):
                    p[some] = (2 if margin is None else 1) * ndtr(-far / np.sqrt(found.variance))
            exact = ~(p >= LEVEL / max(1, (p >= LEVEL).sum()))
            exact |= (rows == self._beside) | (columns == self._beside)
        [wanted] = np.nonzero(exact)
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            found = self.between(rows[some], columns[some])
            p[some] = found.p if margin is None else found.p_beyond(margin)
        found = np.full((len(self.values),) * 2, np.nan)
        found[rows, columns] = found[columns, rows] = p
        return found


def verdict_of(difference: float, p: float, p_beyond: float) -> Verdict | None:
    """Returns what a difference or an effect is, by p-values that are corrected over its family.

    Args:
        difference: larger values are better.
        p: of no difference; NaN where nothing can be said.
        p_beyond: of a difference of the margin or more; NaN without a margin.
    """
    if p < LEVEL:
        return "better" if difference > 0 else "worse"
    if p_beyond < LEVEL:
        return "equivalent"
    return None if math.isnan(p) else "undecided"


def holm_of(family: Sequence[float | None] | np.ndarray) -> Callable[[Any], np.ndarray]:
    """Returns what corrects p-values of a family by Holm's method: below 5 %, not one is wrong in 95 % of families.

    NaN, or None, stays NaN and is no part of the family. As `statsmodels.stats.multitest.multipletests`, which takes
    seconds to import; and of a family of millions a few are looked up in less time than all are put back.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979) 65.
    """
    import numpy as np

    p = np.asarray(family, float)
    ordered = np.append(np.sort(p[~np.isnan(p)]), np.nan)
    times = np.arange(len(ordered) - 1, -1, -1)
    corrected = np.maximum.accumulate(np.minimum(1.0, times * ordered))
    return lambda some: np.where(np.isnan(some), np.nan, corrected[np.searchsorted(ordered, some)])


def holm(p_values: Sequence[float | None] | np.ndarray) -> np.ndarray:
    """Returns all p-values of a family, corrected, see `holm_of`."""
    import numpy as np

    return holm_of(p_values)(np.asarray(p_values, float))


def is_constant(differences: Summary) -> bool:
    """Tells whether all seeds differ by the same, but for the rounding of floats: their noise is not known."""
    return differences.n > 1 and (differences.most or 0.0) - (differences.least or 0.0) <= ALIKE
