"""Intervals and the Pareto front."""

from __future__ import annotations

import math
import random

import numpy
import pytest
from scipy import stats

from harness.statistics.fronts import pareto_front
from harness.statistics.intervals import summarise


@pytest.mark.parametrize("n", [2, 3, 7, 40])
def test_interval_is_students_t(n: int) -> None:
    rng = random.Random(n)
    values = [0.9 + rng.gauss(0, 0.01) for _ in range(n)]
    summary = summarise(values)
    low, high = stats.t.interval(0.95, n - 1, loc=numpy.mean(values), scale=stats.sem(values))
    assert summary is not None
    assert summary.sd == pytest.approx(numpy.std(values, ddof=1), rel=1e-12)
    assert (summary.low, summary.high) == pytest.approx((low, high), rel=1e-12)
    assert summary.n == n


def test_one_value_has_no_interval() -> None:
    summary = summarise([0.5, None])
    assert summary is not None
    assert (summary.mean, summary.sd, summary.ci95, summary.n) == (0.5, None, None, 1)
    assert summary.low == summary.high == 0.5


def test_nothing_measured_is_not_zero() -> None:
    assert summarise([]) is None
    assert summarise([None, None]) is None


def test_infinite_loss_has_no_interval() -> None:
    summary = summarise([1.0, math.inf])
    assert summary is not None
    assert math.isinf(summary.mean)
    assert summary.ci95 is None


def _by_definition(points: list[tuple[float, float]]) -> list[bool]:
    def beaten(one: tuple[float, float]) -> bool:
        return any(b[0] >= one[0] and b[1] <= one[1] and b != one for b in points)

    return [not beaten(point) for point in points]


def test_front_agrees_with_its_definition_on_random_points_with_many_ties() -> None:
    rng = random.Random(0)
    for _ in range(300):
        points = [(rng.randint(0, 6) / 10, float(rng.randint(1, 7))) for _ in range(rng.randint(0, 15))]
        assert pareto_front(points) == _by_definition(points)


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(0.9, 10.0), (0.9, 10.0)], [True, True]),
        ([(0.9, 10.0), (0.9, 11.0)], [True, False]),
        ([(0.9, 10.0), (0.8, 10.0)], [True, False]),
        ([(0.9, 10.0), (0.95, 20.0), (0.94, 21.0), (0.8, 1.0)], [True, True, False, True]),
    ],
)
def test_planted_fronts(points: list[tuple[float, float]], front: list[bool]) -> None:
    assert pareto_front(points) == front
