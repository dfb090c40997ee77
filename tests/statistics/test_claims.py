"""Each claim of a report beside a value by hand, and by simulation where it speaks of chances.

`benchmarks/method/claims.py` makes the same simulations, more times; docs/method.md gives the figures.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.method.claims import arrived, differs, flattered, limit_holds, needed
from harness.statistics.intervals import (
    CensoredMedian,
    censored_median,
    expected_mean,
    flattery_of_best,
    share_at_most,
    summarise,
)
from harness.statistics.power import Noise, seeds_between, seeds_for

RNG = np.random.default_rng


def test_where_other_runs_would_lie_by_hand() -> None:
    ours = summarise([1.0, 2.0, 3.0])
    assert ours
    # t(0.975, 2) = 4.302653, sd = 1
    assert expected_mean(ours, 1) == pytest.approx((2 - 4.968275, 2 + 4.968275), abs=1e-5)
    assert expected_mean(ours, 6) == pytest.approx((2 - 3.042435, 2 + 3.042435), abs=1e-5)
    low, _ = expected_mean(ours, 1, 4.0, 101) or (0.0, 0.0)
    assert low == pytest.approx(2 - math.hypot(4.968275, 2 * float(stats.t.ppf(0.975, 100))), abs=1e-5)
    alone = summarise([1.0])
    assert alone and expected_mean(alone, 1) is None


@pytest.mark.parametrize(("noise", "seeds"), [("seeds", 3), ("seeds", 10), ("same images", 3)])
def test_a_faithful_recipe_differs_from_a_single_published_run_in_one_of_twenty(noise: str, seeds: int) -> None:
    found = differs(noise, seeds, 1, 1000, RNG(seeds))
    assert 0.03 < found["differs"] < 0.07
    assert found["outside of the interval of our mean"] > 0.12, "what it was held against before"


def test_on_other_images_the_images_are_allowed_for() -> None:
    assert differs("other images", 5, 1, 300, RNG(0))["differs"] < 0.05


def test_medians_by_hand() -> None:
    assert censored_median([], []) is None
    assert censored_median([3.0, 1.0], [9.0]) == CensoredMedian(3.0)
    assert censored_median([3.0, 1.0, 2.0], [2.5]) == CensoredMedian(2.5)
    assert censored_median([3.0, 1.0], [9.0, 9.0]) == CensoredMedian(None, 6.0)
    assert censored_median([], [9.0, 5.0, 7.0]) == CensoredMedian(None, 7.0)


def test_the_median_of_all_is_true_where_the_mean_of_those_that_arrived_is_not() -> None:
    found = arrived(0.7, 5, 2000, RNG(0))
    assert found["mean of those that arrived covers"] < 0.85
    assert 0.46 < found["median or its bound too low"] < 0.54


@pytest.mark.parametrize("runs", [1, 5, 20])
def test_the_limit_of_a_share_is_clopper_and_pearsons(runs: int) -> None:
    for count in range(runs + 1):
        theirs = stats.binomtest(count, runs, alternative="less").proportion_ci(0.95, "exact").high
        assert share_at_most(count, runs) == pytest.approx(theirs)
    assert limit_holds(runs) >= 0.95


def test_the_best_of_equal_configs_is_flattered_by_the_largest_of_normals() -> None:
    values = RNG(0).standard_normal((8, 200))
    assert flattery_of_best(values) == pytest.approx(1.423600 / math.sqrt(200), rel=0.05)  # E(max of 8 normals)
    shifted = values + RNG(1).standard_normal(200)
    assert flattery_of_best(shifted) == pytest.approx(flattery_of_best(values)), "what a seed does to all favours none"
    assert flattery_of_best(values[:1]) is None and flattery_of_best(values[:, :1]) is None
    gaps = values.copy()
    gaps[0, 1:] = np.nan
    assert flattery_of_best(gaps) is None


@pytest.mark.parametrize(("configs", "seeds"), [(8, 3), (16, 5)])
def test_what_is_said_of_the_best_is_true_of_equal_configs_and_the_most_of_others(configs: int, seeds: int) -> None:
    equal = flattered(configs, seeds, 0.0, 400, RNG(configs))
    assert equal["said"] == pytest.approx(equal["true"], abs=0.06)
    apart = flattered(configs, seeds, 1.0, 400, RNG(configs))
    assert 0 < apart["true"] < apart["said"]


def test_the_seeds_that_a_difference_needs_by_hand() -> None:
    # sd 1 of two degrees of freedom: chi-squared 0.050636 and 7.377759
    ends = [seeds_for(1.0, Noise(math.sqrt(2 / chi))) for chi in (7.377759, 0.050636)]
    assert list(seeds_between(1.0, Noise(1.0), 2)) == ends
    assert seeds_between(0.1, Noise(1.0), 2)[1] is None, "more than 1,000"
    one, of_28 = seeds_for(1.0, Noise(1.0)), seeds_for(1.0, Noise(1.0), level=0.05 / 28)
    assert one == 10 and of_28 and of_28 > 2 * one


@pytest.mark.parametrize("pilot", [3, 5])
def test_the_seeds_that_are_needed_lie_within_what_is_said(pilot: int) -> None:
    found = needed(1.0, pilot, 400, RNG(pilot))
    assert found["inside"] > 0.92 and found["at least the lower end, of the undecided"] > 0.92
