"""What each effect of a crossing is, from runs of several seeds, with an interval over the seeds.

Seeds are the blocks: every effect is a difference within each seed, and its error is how that difference scatters from
seed to seed, with Student's t of (seeds - 1) degrees of freedom. Where every config has every seed and every cell is
there, that is a matter of means. Else a linear model with one constant a seed is fitted, and its errors come from
leaving out one seed after the other (CRV3, MacKinnon, Nielsen and Webb 2023), which on complete data is the same.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.factorial.aliasing import MOST_COLUMNS
from harness.factorial.effects import Contrast, Term, contrasts, model_of
from harness.report.factors.seed_blocks import Numbers, fit_model, mean_rows
from harness.statistics.intervals import CONFIDENCE, t_quantile
from harness.statistics.significance import p_value


@dataclass(frozen=True)
class Level:
    """The mean of one level, or of one pair of levels, with its interval; seeds are blocks."""

    mean: float
    half_width: float | None


@dataclass(frozen=True)
class Estimate:
    """One effect.

    Attributes:
        contrast: the largest of its differences that could be estimated.
        value: that difference; None where none could.
        half_width: of its 95 % interval, corrected for having been picked among the differences of the effect; None
            with one seed.
        p: of no such difference, corrected likewise; None with one seed.
        share: of the variance between the configs that the effect explains; None where not all of it can be told.
        lost: how many of its differences cannot be told.
        means: of each level, or of each pair of levels in the order of the first and then the second factor; empty
            where they cannot be told.
    """

    term: Term
    contrast: Contrast | None
    value: float | None
    half_width: float | None
    p: float | None
    share: float | None
    lost: int
    means: tuple[Level, ...]


@dataclass(frozen=True)
class Estimates:
    """All effects of a crossing on one number.

    Attributes:
        seeds, configs: how many the estimates are from.
        fitted: whether data were missing, so that a model had to fill in for them.
        refused: why data that are not complete were not fitted; then there are no effects.
    """

    effects: tuple[Estimate, ...]
    seeds: int
    configs: int
    fitted: bool = False
    refused: str | None = None


def estimate(
    cells: Any, values: Any, levels: tuple[int, ...], terms: Sequence[Term], wanted: Sequence[Term] | None = None
) -> Estimates:
    """Returns the effects.

    Args:
        cells: of each config, an array [configs, factors] of level indices.
        values: of each config and seed, an array [configs, seeds]; not a number where a run is missing.
        levels: how many each factor has.
        terms: the effects of the model.
        wanted: those to return; all by default.
    """
    import numpy

    wanted = terms if wanted is None else wanted
    kept, values = _replicated(values)
    cells = cells[kept]
    configs, seeds = values.shape
    if not configs or not wanted:
        return Estimates((), seeds, configs)
    if _complete(cells, values, levels):
        parts = _by_sums(cells, values, levels, wanted)
        total = float(values.mean(1).var())
        return Estimates(tuple(_judged(term, levels, parts[term], seeds, total) for term in wanted), seeds, configs)
    model, places = model_of(cells, levels, terms)
    if model.shape[1] > MOST_COLUMNS:
        return Estimates((), seeds, configs, fitted=True, refused="its factors have too many levels")
    if seeds > 1 and importlib.util.find_spec("statsmodels") is None:
        return Estimates((), seeds, configs, fitted=True, refused="it needs statsmodels (pip install statsmodels)")
    complete = ~numpy.isnan(values).any(1)
    fit = fit_model(model, values)
    if fit is None and complete.any():  # without some seed the others cannot tell what all can
        model, values = model[complete], values[complete]
        configs = len(values)
        fit = fit_model(model, values)
    if fit is None:
        unknown = tuple(_unknown(term, levels) for term in wanted)
        return Estimates(unknown, seeds, configs, fitted=True)
    effects = []
    for term in wanted:
        inner = tuple(levels[index] for index in term)
        every = numpy.array([contrast.row for contrast in contrasts(inner)])
        rows = numpy.zeros((len(every), model.shape[1]))
        rows[:, places[term]] = every
        means = mean_rows(levels, term, places, model.shape[1])
        effects.append(_judged(term, levels, (fit.of(rows), fit.of(means)), seeds, fit.total))
    return Estimates(tuple(effects), seeds, configs, fitted=True)


def _replicated(values: Any) -> tuple[Any, Any]:
    """Returns the configs to use, as flags, and their values: with two seeds or more, if any config has two.

    A config with one seed says nothing of how its number scatters.
    """
    import numpy

    counts = (~numpy.isnan(values)).sum(1)
    kept = counts >= (2 if (counts >= 2).any() else 1)
    values = values[kept]
    return kept, values[:, ~numpy.isnan(values).all(0)]


def _complete(cells: Any, values: Any, levels: tuple[int, ...]) -> bool:
    """Tells whether every cell is there, equally often, with every seed."""
    import numpy

    if numpy.isnan(values).any():
        return False
    counts = numpy.bincount(numpy.ravel_multi_index(tuple(cells.T), levels), minlength=math.prod(levels))
    return bool((counts == counts[0]).all())


def _by_sums(
    cells: Any, values: Any, levels: tuple[int, ...], wanted: Sequence[Term]
) -> dict[Term, tuple[Numbers, Numbers]]:
    """Returns the differences of each term and the means of its levels, from means over complete data."""
    import numpy

    seeds = values.shape[1]
    at = numpy.ravel_multi_index(tuple(cells.T), levels)
    sums = numpy.zeros((math.prod(levels), seeds))
    numpy.add.at(sums, at, values)
    grid = (sums / (len(cells) / len(sums))).reshape(*levels, seeds)
    grand = grid.mean(tuple(range(len(levels))))  # of each seed
    parts = {}
    for term in wanted:
        others = tuple(index for index in range(len(levels)) if index not in term)
        means = grid.mean(others) if others else grid  # [levels of the term, seeds]
        inner = tuple(levels[index] for index in term)
        flat = means.reshape(-1, seeds)
        differences = _matrix(inner) @ flat
        parts[term] = _over_seeds(differences), _over_seeds(flat - grand, centre=float(grand.mean()))
    return parts


@functools.cache
def _matrix(inner: tuple[int, ...]) -> Any:
    """Returns the contrasts of a term as weights on the means of its levels, an array [contrasts, levels]."""
    import numpy

    eye = [numpy.eye(count) for count in inner]
    rows = []
    for one in contrasts(inner):
        row = eye[0][one.change[1]] - eye[0][one.change[0]]
        if one.beside:
            row = numpy.kron(row, eye[1][one.beside[1]] - eye[1][one.beside[0]])
        rows.append(row)
    return numpy.array(rows)


def _over_seeds(numbers: Any, centre: float = 0.0) -> Numbers:
    """Returns the means of numbers [rows, seeds] over the seeds."""
    import numpy

    rows, seeds = numbers.shape
    means = numbers.sum(1) / seeds
    scatter = numbers - means[:, None]
    errors = numpy.sqrt((scatter * scatter).sum(1) / (seeds - 1) / seeds) if seeds > 1 else None
    return Numbers(means + centre, errors, numpy.ones(rows, dtype=bool))


def _judged(term: Term, levels: tuple[int, ...], parts: tuple[Numbers, Numbers], seeds: int, total: float) -> Estimate:
    """Returns an effect from its differences and the means of its levels."""
    import numpy

    (values, errors, told), (means, mean_errors, means_told) = parts

    inner = tuple(levels[index] for index in term)
    lost = int((~told).sum())
    if lost == len(told):
        return _unknown(term, levels)
    sizes = numpy.where(told, numpy.abs(values), -1.0)
    best = int(sizes.argmax())
    among = len(told) - lost
    half_width = p = None
    if errors is not None:
        half_width = float(errors[best]) * t_quantile(seeds - 1, 1 - (1 - CONFIDENCE) / 2 / among)
        p = min(1.0, among * p_value(float(values[best]), float(errors[best]), seeds - 1))
    known = bool(means_told.all())
    share = _share(means, inner, total) if known and not lost else None
    shown = _levels(means, mean_errors, seeds) if known else ()
    return Estimate(term, contrasts(inner)[best], float(values[best]), half_width, p, share, lost, shown)


def _unknown(term: Term, levels: tuple[int, ...]) -> Estimate:
    inner = tuple(levels[index] for index in term)
    return Estimate(term, None, None, None, None, None, len(contrasts(inner)), ())


def _levels(means: Any, errors: Any | None, seeds: int) -> tuple[Level, ...]:
    if errors is None:
        return tuple(Level(float(mean), None) for mean in means)
    t = t_quantile(seeds - 1)
    return tuple(Level(float(mean), float(error) * t) for mean, error in zip(means, errors, strict=True))


def _share(means: Any, inner: tuple[int, ...], total: float) -> float | None:
    """Returns which part of the variance between configs an effect makes, each of its levels counted alike."""
    grid = means.reshape(inner)
    part = float(grid.var())
    if len(inner) == 2:  # of equally many pairs the variances of the levels add up
        part = max(0.0, part - float(grid.mean(0).var() + grid.mean(1).var()))
    return min(1.0, part / total) if total > 0 else None
