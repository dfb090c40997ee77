"""The effects of factors: contrasts over the cells of a design, over seeds and test images.

Each level of a factor is compared with the factor's first level, averaged over the others; an interaction is how much
that difference changes beside the first level of another factor. These are the fewest contrasts that a person can
read, they are fixed before anything is measured, and a star and a crossing have the same: all pairs of levels would
make the family, and with it every interval of the decision, several times as large, and the ranking has them.

A contrast is taken within each seed, by least squares from the cells that the seed has, so that what a seed brings to
all its runs drops out; a seed that cannot tell it is left out. Its variance is that of seeds and images crossed, see
`harness.statistics.crossed`. The contrasts of a family borrow from each other's scatter as the configs of a table do
(`harness.statistics.moderated`), each in units of the root of its squared weights, but few degrees of freedom: where
one factor has luck in common with a seed and the others have not, all that could be lent is too much (docs/method.md).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from harness.statistics.crossed import tail_beyond
from harness.statistics.designs import MOST_COLUMNS, Term, columns, model_of, row_space, tells, terms_of, width
from harness.statistics.moderated import ALIKE, moderated_variances
from harness.statistics.pairs import LEVEL, Pairs, Verdict
from harness.statistics.significance import holm

if TYPE_CHECKING:
    import numpy as np

MOST_BORROWED = 1.5  # degrees of freedom; two and more keep the level of 5 % no longer where levels scatter differently


class Contrast(NamedTuple):
    """What is compared: of each factor of the term a level, beside the factor's first one."""

    term: Term
    levels: tuple[int, ...]


class Measured(NamedTuple):
    """Rows of a model: means, how many seeds, s²_seed / n, its degrees of freedom, and s²_image / m; arrays [rows]."""

    means: np.ndarray
    seeds: np.ndarray
    over_seeds: np.ndarray
    freedom: np.ndarray
    over_images: np.ndarray


def contrasts_of(levels: Sequence[int]) -> list[Contrast]:
    """Returns the contrasts of factors with so many levels: main effects, then interactions."""
    every = ((term, itertools.product(*(range(1, levels[index]) for index in term))) for term in looked_at(levels))
    return [Contrast(term, chosen) for term, own in every for chosen in own]


def looked_at(levels: Sequence[int]) -> list[Term]:
    """Returns the terms of a model of factors with so many levels: without interactions where they are too many."""
    terms = terms_of(levels)
    few = sum(width(levels, term) for term in terms) <= MOST_COLUMNS
    return [term for term in terms if few or len(term) == 1]


@dataclass(frozen=True, eq=False)
class CellModel:
    """A linear model of main effects and two-factor interactions, see `looked_at`.

    Attributes:
        cells: of each config, [configs, factors], indices of levels.
        levels: how many each factor has.
    """

    cells: np.ndarray
    levels: tuple[int, ...]

    @property
    def is_too_large(self) -> bool:
        """Whether its factors have too many levels to be fitted."""
        return len(contrasts_of(self.levels)) > MOST_COLUMNS

    @functools.cached_property
    def _places(self) -> dict[Term, slice]:
        return model_of(self.cells[:0], self.levels, looked_at(self.levels))[1]

    def contrast_rows(self, contrasts: Sequence[Contrast]) -> np.ndarray:
        """Returns contrasts as combinations of the model's columns, [contrasts, columns]."""
        import numpy as np

        found = np.zeros((len(contrasts), len(contrasts_of(self.levels))))
        for row, (term, levels) in zip(found, contrasts, strict=True):
            for corner in itertools.product((0, 1), repeat=len(term)):  # 1: at the level, 0: at the first one
                at = [[level * there for level, there in zip(levels, corner, strict=True)]]
                row += (-1) ** (len(term) - sum(corner)) * self._rows(term, np.array(at))[0]
        return found

    def mean_rows(self, term: Term) -> np.ndarray:
        """Returns the means of all levels, or pairs of levels, of a term beside the mean of all, [means, columns]."""
        import numpy as np

        at = np.array(list(itertools.product(*(range(self.levels[index]) for index in term))))
        parts = [self._rows((index,), at[:, [place]]) for place, index in enumerate(term)]
        return np.sum([*parts, *([self._rows(term, at)] if len(term) > 1 else [])], axis=0)

    def _rows(self, term: Term, at: np.ndarray) -> np.ndarray:
        """Returns the columns of one term at levels of its factors, [rows, columns]; those of other terms are 0."""
        import numpy as np

        cells = np.zeros((len(at), len(self.levels)), dtype=int)
        cells[:, list(term)] = at
        found = np.zeros((len(at), len(contrasts_of(self.levels))))
        found[:, self._places[term]] = columns(cells, self.levels, term)
        return found

    def weights(self, rows: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Returns the weights of the configs by which least squares give the rows, [rows, configs].

        Args:
            rows: [rows, columns].
            known: which configs have a value, [configs].

        Returns:
            NaN for a row that those configs cannot tell, 0 for the other configs.
        """
        import numpy as np

        model, _ = model_of(self.cells[known], self.levels, looked_at(self.levels))
        model = model - model.mean(0)
        basis = row_space(model.T @ model)
        found = np.zeros((len(rows), len(self.cells)))
        found[:, known] = rows @ basis @ np.linalg.pinv(model @ basis)
        found[~tells(basis, rows)] = np.nan
        return found


def estimate(
    model: CellModel,
    rows: np.ndarray,
    values: np.ndarray,
    over_images: np.ndarray | None = None,
    largest: np.ndarray | None = None,
    images: int = 0,
    *,
    borrow: bool = True,
) -> Pairs:
    """Estimates combinations of the model's columns whose weights add up to 0.

    Args:
        rows: [rows, columns].
        values: [configs, seeds], NaN where a run is missing.
        over_images: s²_image / m of the difference of each two configs, [configs, configs], see
            `pairs.image_variances`; NaN for two that were tested on different images; None for what is not measured on
            images.
        largest: s²_image / m of each config whose predictions were not kept, [configs], NaN where they were.
        images: m.
        borrow: draw the variances of the rows together, see below; for a family of contrasts.

    Returns:
        Arrays [rows].
    """
    found = measure(model, rows, values, over_images, largest, borrow=borrow)
    return Pairs(*found, images, p_of(found, images))


def measure(
    model: CellModel,
    rows: np.ndarray,
    values: np.ndarray,
    over_images: np.ndarray | None = None,
    largest: np.ndarray | None = None,
    *,
    borrow: bool = True,
) -> Measured:
    """Measures what `estimate` tests."""
    import numpy as np

    by_seed = np.full((len(rows), values.shape[1]), np.nan)
    total = np.zeros((len(rows), len(values)))
    patterns: dict[bytes, list[int]] = {}
    for seed, known in enumerate(~np.isnan(values).T):
        patterns.setdefault(known.tobytes(), []).append(seed)
    for seeds in patterns.values():
        known = ~np.isnan(values[:, seeds[0]])
        weights = model.weights(rows, known)
        by_seed[:, seeds] = weights[:, known] @ values[known][:, seeds]
        total += len(seeds) * np.nan_to_num(weights)
    n = (~np.isnan(by_seed)).sum(1)
    weights = total / np.maximum(n, 1)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.nansum(by_seed, 1) / n
        variance = np.nansum((by_seed - means[:, None]) ** 2, 1) / (n - 1)
        by_unit = by_seed / np.linalg.norm(weights, axis=1)[:, None]
    variance = np.where(n < 2, np.nan, np.where(variance < ALIKE**2, 0.0, variance))
    freedom = n - 1.0
    moderated, borrowed = moderated_variances(by_unit) if borrow else (variance, 0.0)
    if borrowed:
        shared = ~np.isnan(moderated)
        variance = np.where(shared, np.fmax(variance, moderated * (weights**2).sum(1)), variance)
        freedom = np.where(shared, freedom + min(borrowed, MOST_BORROWED), freedom)
    return Measured(means, n, variance / np.maximum(n, 1), freedom, _over_images(weights, over_images, largest))


def p_of(found: Measured, images: int = 0) -> np.ndarray:
    """Returns the p-values of no effect, two-sided: NaN without noise, 1 where there is no difference either."""
    import numpy as np

    means, _, over_seeds, freedom, over_images = found
    both = over_seeds + over_images
    p = 2 * tail_beyond(np.abs(means), over_seeds, np.maximum(freedom, 1), over_images, images)
    return np.where(both > 0, p, np.where((both == 0) & (np.abs(means) < ALIKE), 1.0, np.nan))


def _over_images(weights: np.ndarray, between: np.ndarray | None, largest: np.ndarray | None) -> np.ndarray:
    """Returns s²_image / m of sums of configs whose weights add up to 0: -w'Vw / 2, as V has the differences of two.

    Where predictions were not kept it is the largest that it can be: configs of one sign err alike, of the other alone.
    """
    import numpy as np

    if between is None:
        return np.zeros(len(weights))
    unknown = np.isnan(between)
    found = -(weights @ np.where(unknown, 0.0, between) * weights).sum(1) / 2
    if largest is not None:
        error = np.sqrt(np.nan_to_num(largest))
        bound = (np.maximum(weights, 0) @ error) ** 2 + (np.maximum(-weights, 0) @ error) ** 2
        found = np.where((np.abs(weights) @ ~np.isnan(largest)) > 1e-9, bound, found)
    apart = (np.abs(weights) @ unknown * np.abs(weights)).sum(1) > 1e-9
    return np.where(apart, np.nan, np.maximum(found, 0.0))


def corrected_family(p: np.ndarray) -> np.ndarray:
    """Returns p-values corrected by Holm's method over those that are known; NaN stays."""
    import numpy as np

    found = np.full(len(p), np.nan)
    found[~np.isnan(p)] = holm(p[~np.isnan(p)])
    return found


def verdict_of(difference: float, p: float, p_beyond: float) -> Verdict | None:
    """Returns what an effect is, by p-values that are corrected over its family; larger values are better.

    Args:
        p: of no effect; NaN where nothing can be said.
        p_beyond: of an effect of the margin or more; NaN without a margin.
    """
    if p < LEVEL:
        return "better" if difference > 0 else "worse"
    if p_beyond < LEVEL:
        return "equivalent"
    return None if p != p else "undecided"
