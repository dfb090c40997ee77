"""A linear model of configs and seeds, with seeds as blocks, for designs in which something is missing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.factorial.aliasing import row_space, tells
from harness.factorial.effects import Term, coding


class Numbers(NamedTuple):
    """Estimated numbers.

    Attributes:
        values: an array.
        errors: their standard errors; None with one seed.
        told: whether each can be estimated at all.
    """

    values: Any
    errors: Any | None
    told: Any


@dataclass(frozen=True)
class Fit:
    """A linear model with a constant for each seed; `basis` is what it can tell, [columns, rank]."""

    basis: Any
    coefficients: Any
    covariance: Any | None
    mean: float
    total: float

    def of(self, rows: Any) -> Numbers:
        """Returns combinations [rows, columns] of the coefficients.

        A row with an entry more is one of the means, to which the mean of all belongs.
        """
        import numpy

        centre = self.mean if rows.shape[1] > len(self.basis) else 0.0
        rows = rows[:, : len(self.basis)]
        inner = rows @ self.basis
        errors = None
        if self.covariance is not None:
            errors = numpy.sqrt(numpy.maximum(numpy.einsum("ri,ij,rj->r", inner, self.covariance, inner), 0))
        return Numbers(inner @ self.coefficients + centre, errors, tells(self.basis, rows))


def fit_model(model: Any, values: Any) -> Fit | None:
    """Fits the columns to the values; None where leaving out a seed would leave too little.

    Args:
        model: an array [configs, columns].
        values: an array [configs, seeds].
    """
    import numpy

    config, seed = numpy.nonzero(~numpy.isnan(values))
    y, x = values[config, seed], model[config]
    seeds = values.shape[1]
    counts = numpy.bincount(seed, minlength=seeds)
    means = numpy.array([x[seed == one].mean(0) for one in range(seeds)])
    y_means = numpy.array([y[seed == one].mean() for one in range(seeds)])
    x, y = x - means[seed], y - y_means[seed]  # a constant for each seed
    basis = row_space(x.T @ x)
    if not basis.shape[1]:
        return None
    inner = x @ basis
    if seeds == 1:
        coefficients, covariance = numpy.linalg.lstsq(inner, y, rcond=None)[0], None
    else:
        from statsmodels.regression.linear_model import OLS  # with pandas: two seconds

        gram = inner.T @ inner
        for one in range(seeds):
            part = inner[seed == one]
            if row_space(gram - part.T @ part).shape[1] < basis.shape[1]:
                return None
        groups = {"groups": seed}
        result = OLS(y, inner).fit(cov_type="cluster-crv3", cov_kwds=groups, use_t=True)
        coefficients, covariance = numpy.asarray(result.params), numpy.asarray(result.cov_params())
    constants = y_means - means @ basis @ coefficients
    adjusted = numpy.where(numpy.isnan(values), 0.0, values - constants)
    per_config = adjusted.sum(1) / (~numpy.isnan(values)).sum(1)
    mean = float(numpy.average(constants, weights=counts))
    return Fit(basis, coefficients, covariance, mean, float(per_config.var()))


def mean_rows(levels: tuple[int, ...], term: Term, places: dict[Term, slice], width: int) -> Any:
    """Returns the means of a term's levels, or pairs of levels, as combinations of the model's columns."""
    import numpy

    inner = tuple(levels[index] for index in term)
    cells = numpy.indices(inner).reshape(len(inner), -1)
    rows = numpy.zeros((math.prod(inner), width + 1))
    for at, index in enumerate(term):
        rows[:, places[(index,)]] = coding(levels[index])[cells[at]]
    if len(term) == 2:
        rows[:, places[term]] = numpy.kron(*map(coding, inner))
    return rows
