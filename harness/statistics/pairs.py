"""Several configs compared, each pair of them: over the seeds, and of accuracies over the test images as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.statistics.crossed import tail_beyond
from harness.statistics.moderated import ALIKE, moderated_variances
from harness.statistics.significance import holm

if TYPE_CHECKING:
    import numpy as np

MOST_PAIRS = 100_000
LEVEL = 0.05  # of a family of comparisons: so often one of its verdicts is wrong where nothing differs


Verdict = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Paired differences: arrays [configs, configs], of the row's config minus the column's.

    Attributes:
        difference: means over the seeds that both have; NaN without one.
        seeds: how many both have.
        over_seeds: s²_seed / n, see `harness.statistics.crossed`; NaN with less than two seeds. Of four configs or
            more with three seeds it is not less than what `harness.statistics.moderated` has of the two.
        freedom: its degrees of freedom.
        over_images: s²_image / m; 0 where nothing is measured on images.
        images: m.
        p: of no difference, two-sided, not corrected. NaN where nothing can be said: with less than two seeds, for a
            pair that was tested on different images, and where all differ by the same; 1 where all differences are 0.
    """

    difference: np.ndarray
    seeds: np.ndarray
    over_seeds: np.ndarray
    freedom: np.ndarray
    over_images: np.ndarray
    images: int
    p: np.ndarray

    def p_beyond(self, margin: float) -> np.ndarray:
        """Returns p-values that the true difference is `margin` or more, in either direction; NaN where `p` is.

        Two one-sided tests; the larger counts.

        Source: D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987) 657.
        """
        import numpy as np

        within = margin - np.abs(self.difference)
        p = tail_beyond(within, self.over_seeds, self.freedom, self.over_images, self.images)
        alike = self.over_seeds + self.over_images == 0
        return np.where(np.isnan(self.p), np.nan, np.where(alike, (within <= 0).astype(float), p))


def compare_pairs(
    values: np.ndarray, over_images: np.ndarray | None = None, images: int = 0, *, borrow: bool = True
) -> Pairs:
    """Compares each pair of configs.

    Args:
        values: [configs, seeds], NaN where a run is missing.
        over_images: [configs, configs], see `image_variances`; NaN for a pair that was tested on different images; None
            for what is not measured on images.
        images: how many there are.
        borrow: draw the variances of the table together. Only for the family of all pairs: a single pair with a config
            that scatters far more than the others would be told apart too often, by three seeds in 9 % of tables.
    """
    import numpy as np

    values = np.asarray(values, float)
    configs = len(values)
    seeds, difference, over_seeds = (np.full((configs, configs), np.nan) for _ in range(3))
    with np.errstate(invalid="ignore", divide="ignore"):
        for row, own in enumerate(values):  # not all at once: 2,500 configs have six million pairs
            differences = own - values
            known = ~np.isnan(differences)
            seeds[row] = known.sum(1)
            difference[row] = np.where(known, differences, 0.0).sum(1) / seeds[row]
            scatter = np.where(known, differences - difference[row][:, None], 0.0)
            variance = (scatter**2).sum(1) / (seeds[row] - 1)
            over_seeds[row] = np.where(variance < ALIKE**2, 0.0, variance) / seeds[row]
    over_seeds[seeds < 2] = np.nan
    freedom = seeds - 1
    variances, borrowed = moderated_variances(values) if borrow else (None, 0.0)
    if variances is not None and borrowed:
        moderated = (variances[:, None] + variances) / np.maximum(seeds, 1)
        shared = ~np.isnan(moderated) & ~np.isnan(over_seeds) & ~np.eye(configs, dtype=bool)
        over_seeds = np.where(shared, np.fmax(over_seeds, moderated), over_seeds)
        freedom = np.where(shared, freedom + borrowed, freedom)
    over_images = np.zeros_like(over_seeds) if over_images is None else over_images
    means = np.where(np.isnan(values).all(1), -np.inf, np.nansum(values, 1) / np.maximum((~np.isnan(values)).sum(1), 1))
    first = int(means.argmax()) if configs else 0
    p = _p(np.abs(difference), freedom, over_seeds, over_images, images, first)
    return Pairs(difference, seeds, over_seeds, freedom, over_images, images, p)


def _p(
    far: np.ndarray, freedom: np.ndarray, over_seeds: np.ndarray, over_images: np.ndarray, images: int, first: int
) -> np.ndarray:
    """Returns the p-values of the pairs. Of very many, those that normal noise alone would not decide, and that are not
    of the first config, have that p-value: it is too small, and above the level all the same.
    """
    import numpy as np
    from scipy.special import ndtr

    p = np.full_like(far, np.nan)
    variance = over_seeds + over_images
    p[(variance == 0) & (far < ALIKE)] = 1.0
    rows, columns = np.triu_indices(len(p), 1)
    tested = variance[rows, columns] > 0
    at = rows[tested], columns[tested]
    if len(at[0]) > MOST_PAIRS:
        least = 2 * ndtr(-far[at] / np.sqrt(variance[at]))
        p[at] = p[at[::-1]] = least
        hopeful = (least < LEVEL) | (at[0] == first) | (at[1] == first)
        at = at[0][hopeful], at[1][hopeful]
    p[at] = 2 * tail_beyond(far[at], over_seeds[at], freedom[at], over_images[at], images)
    p[at[::-1]] = p[at]
    return p


def image_variances(recognised: np.ndarray) -> np.ndarray:
    """Returns s²_image / m of each pair of configs, [configs, configs].

    Args:
        recognised: [configs, m]: the share of a config's seeds that recognised an image.
    """
    import numpy as np

    images = recognised.shape[1]
    centred = np.asarray(recognised, float) - np.mean(recognised, axis=1, keepdims=True)
    products = centred @ centred.T
    own = np.diag(products)
    return np.maximum(own[:, None] + own - 2 * products, 0.0) / (images - 1) / images


def largest_image_variances(accuracies: np.ndarray, images: int) -> np.ndarray:
    """Returns what `image_variances` is at most, [configs, configs], where predictions were not kept.

    That of networks whose errors have nothing to do with each other: those of networks that learn from the same images
    fall on the same test images more often than that.

    Args:
        accuracies: [configs].
    """
    import numpy as np

    own = np.asarray(accuracies) * (1 - np.asarray(accuracies))
    found = (own[:, None] + own) / images
    np.fill_diagonal(found, 0.0)
    return found


def corrected(p: np.ndarray, to: int | None = None) -> np.ndarray:
    """Returns p-values of pairs corrected by Holm's method: over all pairs, or over those with one config.

    The best of a table was chosen by the numbers that it is then compared by, so it is too good by its own luck. Over
    all pairs no choice can go wrong: every verdict that it could have led to is among them.

    Args:
        p: [configs, configs], symmetric; NaN where there is none.
        to: a config that was named beforehand.

    Returns:
        The same shape; NaN where there is none, and outside of the family.
    """
    import numpy as np

    configs = len(p)
    rows, columns = np.triu_indices(configs, 1)
    wanted = ~np.isnan(p[rows, columns])
    if to is not None:
        wanted &= (rows == to) | (columns == to)
    rows, columns = rows[wanted], columns[wanted]
    found = np.full_like(p, np.nan)
    found[rows, columns] = found[columns, rows] = holm(p[rows, columns])
    return found


@dataclass(frozen=True, eq=False)
class Judged:
    """A family of comparisons.

    Attributes:
        p: of no difference, corrected over the family, [configs, configs]; NaN where nothing can be said.
        p_beyond: of a difference of `margin` or more, corrected over the family; None without a margin.
    """

    pairs: Pairs
    p: np.ndarray
    p_beyond: np.ndarray | None
    margin: float | None

    def verdict(self, one: int, other: int) -> Verdict | None:
        """Returns what one config is beside another, where larger values are better; None where nothing can be said."""
        if self.p[one, other] < LEVEL:
            return "better" if self.pairs.difference[one, other] > 0 else "worse"
        if self.p_beyond is not None and self.p_beyond[one, other] < LEVEL:
            return "equivalent"
        return None if self.p[one, other] != self.p[one, other] else "undecided"


def judge(pairs: Pairs, margin: float | None = None, to: int | None = None) -> Judged:
    """Returns the verdicts on all pairs, or on those with one config; of each kind, one is wrong in 5 % of families.

    Args:
        margin: differences below it do not matter; in the unit of the values.
        to: a config that was named beforehand.
    """
    beyond = None if margin is None else corrected(pairs.p_beyond(margin), to)
    return Judged(pairs, corrected(pairs.p, to), beyond, margin)


@dataclass(frozen=True)
class Best:
    """Which config has the highest mean, and what the others are beside it; indices, the highest means first.

    Attributes:
        equivalent, undecided: those that may well be as good.
        worse: the others.
        unknown: of the undecided ones, those of which nothing can be said, for want of a second seed in common.
    """

    index: int
    equivalent: tuple[int, ...]
    undecided: tuple[int, ...]
    worse: tuple[int, ...]
    unknown: tuple[int, ...]


def best_of(values: np.ndarray, judged: Judged) -> Best | None:
    """Returns the best of a table, by a family over all its pairs; None where there is no value.

    Args:
        values: [configs, seeds], the larger the better; NaN where a run is missing. A config without one takes no part.
    """
    import numpy as np

    there = [index for index, own in enumerate(values) if not np.isnan(own).all()]
    if not there:
        return None
    means = {index: float(np.nanmean(values[index])) for index in there}
    index, *others = sorted(there, key=lambda one: -means[one])
    found: dict[Verdict | None, list[int]] = {}
    for other in others:
        found.setdefault(judged.verdict(index, other), []).append(other)
    unknown = tuple(found.get(None, []))
    # "worse" can be one of these whose missing seeds made its mean the lower one.
    open_ = sorted([*found.get("undecided", []), *found.get("worse", []), *unknown], key=lambda one: -means[one])
    return Best(index, tuple(found.get("equivalent", [])), tuple(open_), tuple(found.get("better", [])), unknown)
