"""The decisions of a race: the same numbers as a table's, who leaves, how it ends, and how often the best is lost."""

import numpy as np
import pytest

from harness.statistics.pairs import PairwiseTests
from harness.statistics.race import Leaving, PairTests, decide, spending

LOOKS, ALPHA = (3, 5, 8, 12, 20), 0.05


def drawn(*means: float, seeds: int = 5, sd: float = 1.0, seed: int = 0) -> np.ndarray:
    """Values, [configs, seeds]."""
    return np.array(means)[:, None] + sd * np.random.default_rng(seed).standard_normal((len(means), seeds))


def test_the_looks_spend_alpha_and_no_more():
    spent = spending(LOOKS, ALPHA)
    assert sum(spent) == pytest.approx(ALPHA)
    assert spent == pytest.approx([0.0075, 0.005, 0.0075, 0.01, 0.02])


def test_p_values_are_those_of_a_table():
    values = drawn(*[0.0] * 6)
    values[2, 3] = values[4, 0] = np.nan  # runs that are missing
    table, race = PairwiseTests(values, margin=1.0), PairTests(values, np.arange(6))
    above = np.triu_indices(6, 1)
    assert 2 * np.minimum(race.better, race.better.T)[above] == pytest.approx(table.p[above])
    mine = race.beyond(1.0, np.arange(6))[above]
    assert mine == pytest.approx(np.where(mine < 1, table.p_beyond[above], 1))
    assert (mine < 1).any()


def test_a_pair_of_two_is_a_paired_t_test():
    from scipy.stats import ttest_rel

    values = drawn(0.0, 2.0)
    found = decide("best", values, [0, 1], 0.2)
    p = ttest_rel(values[0], values[1]).pvalue
    [left] = found.leaving
    assert (left.config, left.why, left.beside, left.p) == (0, "worse", 1, pytest.approx(p))
    assert (found.staying, found.ended) == ((1,), "decided")


def test_those_that_are_beaten_leave_and_the_family_shrinks():
    values = drawn(0.0, 0.0, -2.0, *[-10.0] * 5, seeds=8, seed=2)
    tests = PairTests(values, np.arange(8))
    p = 2 * tests.better[:2, 2].min()
    assert 28 * p > 0.002 > 3 * p  # of all pairs, and of those that are left
    found = decide("best", values, range(8), 0.002)
    assert [one.config for one in found.leaving][-1] == 2
    assert found.leaving[-1].p == pytest.approx(3 * p)
    assert found.staying == (0, 1)


def test_a_race_ends_equivalent_within_the_margin_or_with_the_budget():
    values = drawn(0.0, 0.0, 0.0, sd=0.1, seeds=12)
    assert decide("best", values, range(3), 0.02, margin=1.0).ended == "equivalent"
    assert decide("best", values, range(3), 0.02, margin=0.001).ended is None
    assert decide("best", values, range(3), 0.02, margin=0.001, last=True).ended == "budget spent"
    assert decide("best", values, range(3), 0.02, last=True).ended == "budget spent"  # without a margin


def test_values_that_are_alike_and_values_that_are_missing():
    same = np.array([[0.9, 0.8, 0.85]] * 2)
    assert decide("best", same, [0, 1], 0.01, margin=0.001).ended == "equivalent"
    assert decide("best", same + np.array([[0.0], [0.1]]), [0, 1], 0.01).leaving == ()  # no noise to judge by
    lost = drawn(0.0, 0.0, 0.0)
    lost[1] = np.nan
    assert decide("best", lost, range(3), 0.01).leaving == (Leaving(1, "no value"),)
    lost[1, 0] = 5.0  # one seed: nothing can be said
    assert decide("best", lost, range(3), 0.01).leaving == ()
    assert decide("best", np.full((2, 3), np.nan), [0, 1], 0.01).staying == ()


def test_a_run_that_diverged_costs_a_config_its_place():
    values = 0.95 + drawn(*[0.0] * 4, sd=0.001, seeds=8, seed=2)
    values[0] = 0.0
    assert [one.config for one in decide("best", values, range(4), 0.01).leaving] == [0]


def test_a_front_keeps_who_is_better_in_one_of_both():
    accuracy = drawn(0.0, -5.0, -5.0, seeds=8)
    seconds = np.exp(drawn(0.0, -5.0, 5.0, seeds=8, seed=1))
    found = decide("front", accuracy, range(3), 0.02, seconds=seconds)
    assert (found.staying, found.ended) == ((0, 1), "decided")  # the one more accurate, the other faster
    seconds[1, :7] = np.nan  # times that do not count
    assert decide("front", accuracy, range(3), 0.02, seconds=seconds).ended is None


def test_the_fastest_of_those_that_are_accurate_enough():
    accuracy = drawn(0.0, 0.0, -9.0, sd=0.5, seeds=12)
    seconds = np.exp(drawn(2.0, 0.0, -2.0, sd=0.5, seeds=12, seed=1))
    found = decide("fastest", accuracy, range(3), 0.05, margin=3.0, seconds=seconds)
    assert (found.staying, found.ended) == ((1,), "decided")
    found = decide("fastest", accuracy, range(3), 0.05, margin=0.01, seconds=seconds)
    assert found.staying == (0, 1)  # whether the faster one is accurate enough is not known


def test_against_one_config_the_others_leave_when_something_is_known_of_them():
    values = drawn(0.0, 4.0, -4.0, 0.0, 0.0, seeds=12)
    values[3] = values[0] + 0.01 * values[3]
    found = decide("best", values, range(5), 0.02, margin=0.5, against=0)
    assert {one.config: one.why for one in found.leaving} == {1: "better", 2: "worse", 3: "equivalent"}
    assert {one.beside for one in found.leaving} == {0}
    assert (found.staying, found.ended) == ((0, 4), None)
    assert decide("best", values[:4], range(4), 0.02, margin=0.5, against=0).ended == "decided"


@pytest.mark.parametrize("shape", ["normal", "skewed", "one scatters"])
def test_the_best_is_seldom_lost(shape):
    """The full simulation is benchmarks/method/race.py; here four equal configs, any of which counts as the best."""
    rng, lost, suites = np.random.default_rng(3), 0, 600
    for _ in range(suites):
        values = rng.exponential(size=(4, 20)) if shape == "skewed" else rng.standard_normal((4, 20))
        if shape == "one scatters":
            values[0] *= 5
        staying, known = tuple(range(4)), np.full((4, 20), np.nan)
        for look, alpha in zip(LOOKS, spending(LOOKS, ALPHA), strict=True):
            known[list(staying), :look] = values[list(staying), :look]
            staying = decide("best", known[:, :look], staying, alpha).staying
        lost += len(staying) < 4
    assert lost <= ALPHA * suites + 2 * (suites * ALPHA * (1 - ALPHA)) ** 0.5


def test_a_look_over_a_thousand_configs_is_quick():
    import time

    values = drawn(*np.linspace(0, 2, 1000), seeds=20)
    started = time.thread_time()
    found = decide("best", values, range(1000), 0.01, margin=0.3)
    assert found.leaving
    assert time.thread_time() - started < 2
