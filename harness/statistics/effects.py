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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from harness.statistics.crossed import ImageNoise
from harness.statistics.designs import MOST_COLUMNS, Term, columns, model_of, row_space, tells, terms_of, width
from harness.statistics.moderated import ALIKE, moderated_variances
from harness.statistics.pairs import Pairs

if TYPE_CHECKING:
    import numpy as np

MOST_LEVELS = 20  # of a factor whose effects are estimated; the ranking tells more of them apart
MOST_BORROWED = 1.5  # degrees of freedom; two and more keep the level of 5 % no longer where levels scatter differently


class Contrast(NamedTuple):
    """What is compared: of each factor of the term a level, beside the factor's first one."""

    term: Term
    levels: tuple[int, ...]


def contrasts_of(levels: Sequence[int]) -> list[Contrast]:
    """Returns the contrasts of factors with so many levels: main effects, then interactions."""
    terms = [term for term in looked_at(levels) if _is_readable(levels, term)]
    every = ((term, itertools.product(*(range(1, levels[index]) for index in term))) for term in terms)
    return [Contrast(term, chosen) for term, own in every for chosen in own]


def looked_at(levels: Sequence[int]) -> list[Term]:
    """Returns the terms of a model of factors with so many levels.

    All main effects, and the interactions of factors with at most `MOST_LEVELS`, where they are not too many.
    """
    terms = [term for term in terms_of(levels) if len(term) == 1 or _is_readable(levels, term)]
    few = sum(width(levels, term) for term in terms) <= MOST_COLUMNS
    return [term for term in terms if few or len(term) == 1]


def _is_readable(levels: Sequence[int], term: Term) -> bool:
    return all(levels[index] <= MOST_LEVELS for index in term)


@dataclass(frozen=True, eq=False)
class CellModel:
    """A linear model of main effects and two-factor interactions, see `looked_at`.

    Attributes:
        cells: of each config, [configs, factors], indices of levels.
        levels: how many each factor has.
    """

    cells: np.ndarray
    levels: tuple[int, ...]
    _weights: dict[tuple[bytes, bytes], np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_too_large(self) -> bool:
        """Whether its factors have too many levels to be fitted."""
        return self._width > MOST_COLUMNS

    @functools.cached_property
    def _width(self) -> int:
        return sum(width(self.levels, term) for term in looked_at(self.levels))

    @functools.cached_property
    def _places(self) -> dict[Term, slice]:
        return model_of(self.cells[:0], self.levels, looked_at(self.levels))[1]

    def contrast_rows(self, contrasts: Sequence[Contrast]) -> np.ndarray:
        """Returns contrasts as combinations of the model's columns, [contrasts, columns]."""
        import numpy as np

        found = np.zeros((len(contrasts), self._width))
        for row, (term, levels) in zip(found, contrasts, strict=True):
            for corner in itertools.product((0, 1), repeat=len(term)):  # 1: at the level, 0: at the first one
                at = [[level * there for level, there in zip(levels, corner, strict=True)]]
                row += (-1) ** (len(term) - sum(corner)) * self._rows(term, np.array(at))[0]
        return found

    def _rows(self, term: Term, at: np.ndarray) -> np.ndarray:
        """Returns the columns of one term at levels of its factors, [rows, columns]; those of other terms are 0."""
        import numpy as np

        cells = np.zeros((len(at), len(self.levels)), dtype=int)
        cells[:, list(term)] = at
        found = np.zeros((len(at), self._width))
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

        key = rows.tobytes(), known.tobytes()
        if key not in self._weights:  # accuracy and time ask for the same, and of 500 configs it takes a second
            model, _ = model_of(self.cells[known], self.levels, looked_at(self.levels))
            model = model - model.mean(0)
            basis = row_space(model.T @ model)
            found = self._weights[key] = np.zeros((len(rows), len(self.cells)))
            found[:, known] = rows @ basis @ np.linalg.pinv(model @ basis)
            found[~tells(basis, rows)] = np.nan
        return self._weights[key]


def estimate(
    model: CellModel,
    rows: np.ndarray,
    values: np.ndarray,
    noise: ImageNoise | None = None,
    largest: np.ndarray | None = None,
) -> Pairs:
    """Estimates combinations of the model's columns whose weights add up to 0.

    Args:
        rows: [rows, columns].
        values: [configs, seeds], NaN where a run is missing.
        noise: of the test images in the difference of each two configs, see `harness.statistics.crossed`; None for what
            is not measured on images.
        largest: s²_image / m of each config whose predictions were not kept, [configs], NaN where they were.

    Returns:
        Arrays [rows].
    """
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
    moderated, borrowed = moderated_variances(by_unit)
    if borrowed:
        shared = ~np.isnan(moderated)
        variance = np.where(shared, np.fmax(variance, moderated * (weights**2).sum(1)), variance)
        freedom = np.where(shared, freedom + min(borrowed, MOST_BORROWED), freedom)
    over_seeds, freedom = variance / np.maximum(n, 1), np.maximum(freedom, 1)
    of_images, own, images = np.zeros(len(rows)), np.zeros(len(rows)), 0
    if noise is not None:
        of_images, own = _over_images(weights, noise.shared, largest), _over_images(weights, noise.own, None)
        images = noise.images
    return Pairs(means, n, over_seeds, freedom, of_images, images, own)


def _over_images(weights: np.ndarray, between: np.ndarray, largest: np.ndarray | None) -> np.ndarray:
    """Returns a variance over the images of sums of configs whose weights add up to 0: -w'Vw / 2.

    V has the variances of the differences of two.
    Where predictions were not kept it is the largest that it can be: configs of one sign err alike, of the other alone.
    """
    import numpy as np

    unknown = np.isnan(between)
    found = -(weights @ np.where(unknown, 0.0, between) * weights).sum(1) / 2
    if largest is not None:
        error = np.sqrt(np.nan_to_num(largest))
        bound = (np.maximum(weights, 0) @ error) ** 2 + (np.maximum(-weights, 0) @ error) ** 2
        found = np.where((np.abs(weights) @ ~np.isnan(largest)) > 1e-9, bound, found)
    apart = (np.abs(weights) @ unknown * np.abs(weights)).sum(1) > 1e-9
    return np.where(apart, np.nan, np.maximum(found, 0.0))
