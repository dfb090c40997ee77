"""Each number beside a library that has it, or beside a value by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from harness.compare.bootstrap import bca_interval
from harness.compare.differences import differences_of, hedges_g, p_of
from harness.compare.mcnemar import Discordant, combined
from harness.compare.power import MOST_SEEDS, detectable, power_of, seeds_for
from harness.report.statistics.intervals import chance_above, summarise
from harness.report.statistics.significance import holm


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_paired_t(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    a, b = rng.normal(0.9, 0.01, seeds), rng.normal(0.89, 0.01, seeds)
    found, theirs = differences_of(list(a - b)), stats.ttest_rel(a, b)
    low, high = theirs.confidence_interval(0.95)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (found.summary.low, found.summary.high) == pytest.approx((low, high), rel=1e-9)
    above: Any = stats.ttest_1samp(a - b, 0.005, alternative="greater")
    assert chance_above(found.summary, 0.005) == pytest.approx(above.pvalue, rel=1e-9)


def test_effect_size_by_hand() -> None:
    # mean 2, sd 1, n 3: J(2) = gamma(1) / (sqrt(1) gamma(1/2)) = 1 / sqrt(pi)
    assert hedges_g([1.0, 2.0, 3.0]) == pytest.approx(2 / math.sqrt(math.pi))
    many = [1.0, 3.0] * 50
    d = 2 / np.std(many, ddof=1)
    assert hedges_g(many) == pytest.approx(d * (1 - 3 / (4 * 99 - 1)), rel=1e-4)  # Hedges' approximation
    assert hedges_g([1.0, 2.0]) is None


def test_hedges_correction_takes_the_bias_away() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(1.0, 1.0, size=(20_000, 5))
    found = [hedges_g(list(row)) for row in samples]
    assert np.mean([one for one in found if one is not None]) == pytest.approx(1.0, abs=0.015)


@pytest.mark.parametrize(("values", "p"), [([0.1], None), ([0.0, 0.0, 0.0], 1.0), ([0.1, 0.1, 0.1], None)])
def test_without_noise_there_is_no_test(values: list[float], p: float | None) -> None:
    assert p_of(values) == p
    assert hedges_g(values) is None


def test_rounding_of_floats_is_no_noise() -> None:
    alike = [0.3 - 0.2, 0.2 - 0.1, 0.9 - 0.8]
    assert len(set(alike)) > 1
    assert p_of(alike) is None
    assert differences_of(alike).constant


@pytest.mark.parametrize(("effect", "seeds"), list(itertools.product([0.0, 0.2, 0.56, 1.0, 3.0], [2, 3, 5, 30, 300])))
def test_power_is_statsmodels(effect: float, seeds: int) -> None:
    for sides, alternative in ((1, "larger"), (2, "two-sided")):
        theirs = TTestPower().power(effect, seeds, 0.05, alternative=alternative)
        if not math.isnan(theirs):  # SciPy's noncentral t has holes far out in the lower tail
            assert power_of(effect, seeds, sides=sides) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("effect", [0.2, 0.5, 1.0, 2.0])
def test_number_of_seeds_is_statsmodels(effect: float) -> None:
    assert seeds_for(effect) == math.ceil(TTestPower().solve_power(effect, power=0.8, alpha=0.05))
    assert seeds_for(-effect) == seeds_for(effect)


def test_every_effect_has_a_number_of_seeds_or_none() -> None:
    found = [seeds_for(effect) for effect in np.geomspace(0.09, 1000, 60)]
    assert all(found), found
    assert found == sorted([one for one in found if one], reverse=True)
    assert seeds_for(0.0) is None
    assert seeds_for(0.05) is None, f"beyond {MOST_SEEDS}"


@pytest.mark.parametrize("seeds", [2, 3, 5, 50])
def test_what_is_detectable_has_the_power(seeds: int) -> None:
    for sides in (1, 2):
        assert power_of(detectable(0.01, seeds, sides=sides) / 0.01, seeds, sides=sides) == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 3), (12, 4), (4, 12), (400, 350)])
def test_mcnemar_is_the_exact_test(only_a: int, only_b: int) -> None:
    one = Discordant(0, only_a, only_b)
    theirs: Any = mcnemar_of_statsmodels([[50, only_a], [only_b, 7]], exact=True)
    assert one.p == pytest.approx(theirs.pvalue)
    assert combined([one]) == pytest.approx(one.p), "one seed: the test itself"


def test_mcnemar_of_several_seeds_by_hand() -> None:
    tests = [Discordant(0, 9, 1), Discordant(1, 8, 2), Discordant(2, 5, 5)]
    middle = stats.binomtest(8, 10, alternative="greater").pvalue
    assert combined(tests) == pytest.approx(2 * 1.5 * middle), "m / k = 3 / 2 times the second of three, and both sides"
    assert combined([Discordant(0, 50, 0), Discordant(1, 0, 50)]) < 0.05, "networks differ, if not in one direction"
    assert combined([Discordant(0, 50, 0), Discordant(1, 0, 50), Discordant(2, 5, 5)]) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_is_statsmodels() -> None:
    for seed in range(20):
        p_values = list(np.random.default_rng(seed).random(12) ** 3)
        p_values[3] = p_values[7]
        theirs: Any = multipletests(p_values, method="holm")
        assert holm(p_values) == pytest.approx(list(theirs[1]))


def test_bca_is_repeatable_and_near_student_for_many_seeds() -> None:
    values = np.random.default_rng(1).normal(size=100)
    low, high = bca_interval(values)
    assert bca_interval(values) == (low, high)
    summary = summarise(list(values))
    assert summary
    assert (float(low), float(high)) == pytest.approx((summary.low, summary.high), abs=0.03)
