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

from harness.compare.pair import over_images
from harness.statistics.crossed import ImageNoise, half_width, image_noise, largest_image_noise, tail_beyond
from harness.statistics.intervals import chance_above, summarise
from harness.statistics.moderated import moderated_variances
from harness.statistics.pairs import PairwiseTests, holm
from harness.statistics.power import MOST_SEEDS, Noise, detectable, seeds_for


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_paired_t(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    a, b = rng.normal(0.9, 0.01, seeds), rng.normal(0.89, 0.01, seeds)
    found, summary, theirs = PairwiseTests(np.array([a, b])), summarise(list(a - b)), stats.ttest_rel(a, b)
    low, high = theirs.confidence_interval(0.95)
    assert found.p[0, 1] == found.p[1, 0] == pytest.approx(theirs.pvalue, rel=1e-9)
    assert summary
    assert (summary.low, summary.high) == pytest.approx((low, high), rel=1e-9)
    above: Any = stats.ttest_1samp(a - b, 0.005, alternative="greater")
    assert chance_above(summary, 0.005) == pytest.approx(above.pvalue, rel=1e-9)


def test_seeds_and_images_are_crossed() -> None:
    """By hand: the parts of an interval add in squares, each with the quantile of its own degrees of freedom."""
    rng = np.random.default_rng(0)
    right = rng.random((2, 4, 50)) < np.array([0.9, 0.7])[:, None, None] * rng.random((2, 1, 50)) ** 0.3
    noise = image_noise(right)
    tests = PairwiseTests(right.mean(2), noise)
    found = tests.between(0, 1)
    by_seed = right[0].astype(float) - right[1]  # [seeds, images]
    covariances = np.cov(by_seed)
    of_images = (covariances.sum() - np.trace(covariances)) / 12 / 50  # of two different seeds, of which there are 12
    of_all = np.var(by_seed.mean(0), ddof=1) / 50
    assert found.over_images == noise.shared[0, 1] == pytest.approx(of_images, rel=1e-5) and of_images > 0
    assert found.own == pytest.approx(of_all - of_images, rel=1e-4)
    assert found.over_seeds == pytest.approx(np.var(by_seed.mean(1), ddof=1) / 4)
    tail = tests.p[0, 1] / 2
    quantile_of_seeds, quantile_of_images = stats.t.isf(tail, 3), stats.t.isf(tail, 49)
    of_seeds = max(quantile_of_seeds**2 * found.over_seeds, quantile_of_images**2 * found.own)
    reach = math.sqrt(of_seeds + quantile_of_images**2 * of_images)
    assert reach == pytest.approx(abs(found.difference))
    assert half_width(tail, found.over_seeds, 3, found.over_images, 50, found.own) == pytest.approx(reach)
    assert of_all < largest_image_noise(right.mean((1, 2)), 50).shared[0, 1]


def test_what_a_network_does_by_itself_is_counted_once() -> None:
    """Images that are equally hard for both configs leave nothing but that, and the seeds' variance has it."""
    rng = np.random.default_rng(0)
    right = rng.random((2, 50, 2000)) < 0.9
    noise = image_noise(right)
    expected = 2 * 0.9 * 0.1 / 50 / 2000
    assert noise.own[0, 1] == pytest.approx(expected, rel=0.1)
    assert noise.shared[0, 1] < expected / 4
    there = np.ones((2, 50), bool)
    there[0, 0] = False
    apart = image_noise(right & there[:, :, None], there)
    assert apart.own[0, 1] == 0 and apart.shared[0, 1] > 0.9 * expected, "of other seeds all is taken for the image's"


def test_seeds_that_agree_by_coincidence_prove_nothing() -> None:
    """Three seeds are each one image of 360 better: the seeds alone would be certain of it."""
    right = np.zeros((2, 3, 360), bool)
    for seed in range(3):
        right[0, seed, : 330 + seed] = True
        right[1, seed, 1 : 330 + seed] = True
    accuracies = right.mean(2)
    assert np.isnan(PairwiseTests(accuracies).p[0, 1]), "all differ by the same: the seeds alone have no noise"
    assert PairwiseTests(accuracies, image_noise(right)).p[0, 1] > 0.3


def test_networks_that_differ_on_images_and_in_no_count_are_not_told_apart() -> None:
    """Each seed has as many right of A as of B, but of other images: no variance over the seeds, and p is 1."""
    right = np.ones((2, 3, 360), bool)
    for seed in range(3):
        right[0, seed, 10 * seed : 10 * seed + 10] = right[1, seed, 100 + 10 * seed : 110 + 10 * seed] = False
    tests = PairwiseTests(right.mean(2), image_noise(right), margin=0.05)
    found = tests.between(0, 1)
    assert (found.over_seeds, found.over_images) == (0.0, 0.0) and found.own > 0
    assert found.p == tests.p[0, 1] == 1.0 and tests.verdicts(0, [1])[0] == "equivalent"


def test_missing_runs_and_different_images_say_nothing() -> None:
    values = np.array([[0.9, 0.91, np.nan], [np.nan, 0.9, 0.89], [0.5, 0.52, 0.51]])
    found = PairwiseTests(values)
    assert found.between(0, 1).seeds == 1
    assert np.isnan(found.p[0, 1]) and not np.isnan(found.p[0, 2])
    variances = np.full((3, 3), 1e-6)
    variances[0, 2] = variances[2, 0] = np.nan
    family = PairwiseTests(values, ImageNoise(variances, 0 * variances, 100), margin=0.5)
    assert np.isnan(family.p[0, 2])
    assert family.verdicts(0, [1])[0] is None and family.verdicts(0, [2])[0] is None


def test_a_family_is_of_all_pairs_or_of_those_with_one() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(0, 1, (3, 8)) + np.array([[0.0], [1.0], [1.3]])
    every, named = PairwiseTests(values), PairwiseTests(values, to=0)
    pairs = [every.p[0, 1], every.p[0, 2], every.p[1, 2]]
    assert list(every.p_holm(0, np.array([1, 2]))) == pytest.approx(holm(pairs)[:2])
    assert every.p_holm(1, 2) == pytest.approx(holm(pairs)[2])
    assert list(named.p_holm(0, np.array([1, 2]))) == pytest.approx(holm(pairs[:2]))
    assert np.isnan(named.p_holm(1, 2))


def test_a_large_table_has_the_verdicts_of_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(0, 1, (60, 4)) + np.repeat([0.0, 3.0, 6.0], 20)[:, None]
    noise = largest_image_noise(np.full(60, 0.5), 40)
    whole = PairwiseTests(values, noise, margin=5.0)
    monkeypatch.setattr("harness.statistics.pairs.MOST_PAIRS", 100)
    monkeypatch.setattr("harness.statistics.pairs.AT_ONCE", 100)
    screened = PairwiseTests(values, noise, margin=5.0)
    places = list(itertools.combinations(range(60), 2))
    verdicts = [whole.verdicts(one, [other])[0] for one, other in places]
    assert verdicts == [screened.verdicts(one, [other])[0] for one, other in places]
    assert {"worse", "undecided"} <= set(verdicts)
    assert whole.best == screened.best
    first = whole.means.argmax()
    others = np.delete(np.arange(60), first)
    assert np.allclose(whole.p[first, others], screened.p[first, others], rtol=1e-9, atol=0)
    assert np.all(screened.p <= whole.p * (1 + 1e-9), where=~np.isnan(whole.p)), "no p-value is too large"


def test_the_verdicts() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.0005, (4, 8))
    values = np.array([0.90, 0.9003, 0.95, 0.9])[:, None] + noise
    values[3] += rng.normal(0, 0.05, 8)
    family = PairwiseTests(values, margin=0.003)
    assert family.verdicts(2, [0])[0] == "better" and family.verdicts(0, [2])[0] == "worse"
    assert family.verdicts(0, [1])[0] == "equivalent"
    assert family.verdicts(3, [0])[0] == "undecided"
    assert PairwiseTests(values).verdicts(0, [1])[0] == "undecided", "no margin, no equivalence"
    first = family.best
    assert first and (first.index, first.equivalent, first.undecided, first.unknown) == (2, (), (3,), ())
    assert PairwiseTests(np.full((2, 3), np.nan)).best is None


@pytest.mark.parametrize(("values", "p"), [([0.1], None), ([0.0, 0.0, 0.0], 1.0), ([0.1, 0.1, 0.1], None)])
def test_without_noise_there_is_no_test(values: list[float], p: float | None) -> None:
    found = PairwiseTests(np.array([values, [0.0] * len(values)])).p[0, 1]
    assert found == p if p is not None else np.isnan(found)


def test_rounding_of_floats_is_no_noise() -> None:
    alike = [0.3 - 0.2, 0.2 - 0.1, 0.9 - 0.8]
    assert len(set(alike)) > 1
    assert np.isnan(PairwiseTests(np.array([alike, [0.0] * 3])).p[0, 1])


@pytest.mark.parametrize("effect", [0.2, 0.5, 1.0, 2.0])
def test_number_of_seeds_is_statsmodels(effect: float) -> None:
    assert seeds_for(effect, Noise(1.0)) == math.ceil(TTestPower().solve_power(effect, power=0.8, alpha=0.05))
    assert seeds_for(-effect, Noise(1.0)) == seeds_for(2 * effect, Noise(2.0)) == seeds_for(effect, Noise(1.0))


def test_every_effect_has_a_number_of_seeds_or_none() -> None:
    found = [seeds_for(effect, Noise(1.0)) for effect in np.geomspace(0.09, 1000, 60)]
    assert all(found), found
    assert found == sorted([one for one in found if one], reverse=True)
    assert seeds_for(0.0, Noise(1.0)) is None
    assert seeds_for(0.05, Noise(1.0)) is None, f"beyond {MOST_SEEDS}"


def test_images_that_are_too_few_are_not_made_up_for_by_seeds() -> None:
    one = largest_image_noise(np.array([0.9, 0.9]), 360).shared[0, 1]
    assert seeds_for(0.02, Noise(0.01, one, 360)) is None
    many = one * 360 / 100_000
    few = [seeds_for(0.015, Noise(0.02, times * many, 100_000 // times)) or 0 for times in (1, 10)]
    assert 3 < few[0] < few[1]


@pytest.mark.parametrize("seeds", [2, 3, 5, 50])
def test_what_is_detectable_has_the_power(seeds: int) -> None:
    for sides in (1, 2):  # the other side has next to no power, and scipy before 1.17 has NaN for it
        effect = detectable(Noise(0.01), seeds, sides=sides) / 0.01
        assert TTestPower().power(effect, seeds, 0.05 / sides, alternative="larger") == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize("image_error", [0.25, 1.0, 4.0])
def test_what_is_detectable_over_images_too_has_the_power(seeds: int, image_error: float) -> None:
    rng = np.random.default_rng(seeds)
    n = 20_000
    of_seeds = rng.chisquare(seeds - 1, n) / (seeds - 1)  # seeds' error 1, images' as given
    far = detectable(Noise(math.sqrt(seeds), image_error**2, 10_000), seeds)
    means = far + rng.standard_normal(n) * math.hypot(1, image_error)
    found = np.mean(2 * tail_beyond(np.abs(means), of_seeds, seeds - 1, image_error**2, 10_000) < 0.05)
    assert 0.79 < found < 0.83
    level = np.mean(2 * tail_beyond(np.abs(means - far), of_seeds, seeds - 1, image_error**2, 10_000) < 0.05)
    assert level < 0.0535


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_far_out_in_the_tail_few_seeds_that_agree_by_luck_are_still_few(seeds: int) -> None:
    """Where Satterthwaite's degrees of freedom are wrong by a factor of ten."""
    rng = np.random.default_rng(seeds)
    n, level = 200_000, 0.05 / 28
    of_seeds = rng.chisquare(seeds - 1, n) / (seeds - 1)
    means = np.abs(rng.standard_normal(n)) * math.hypot(1, 0.25)
    assert np.mean(2 * tail_beyond(means, of_seeds, seeds - 1, 0.25**2, 10_000) < level) < 1.1 * level
    variance = of_seeds + 0.25**2
    freedom = variance**2 / (of_seeds**2 / (seeds - 1))
    assert np.mean(2 * stats.t.sf(means / np.sqrt(variance), freedom) < level) > 2.5 * level


@pytest.mark.parametrize(("only_a", "only_b"), [(3, 3), (40, 20), (20, 40), (400, 350)])
def test_networks_of_one_seed_are_mcnemars(only_a: int, only_b: int) -> None:
    differences = np.zeros(10_000)
    differences[:only_a], differences[only_a : only_a + only_b] = 1, -1
    _, p = over_images([differences])
    theirs: Any = mcnemar_of_statsmodels([[0, only_a], [only_b, 0]], exact=False, correction=False)
    assert p == pytest.approx(theirs.pvalue, rel=0.05)
    assert over_images([np.zeros(9)])[1] == 1.0


def test_networks_of_more_seeds_show_more() -> None:
    rng = np.random.default_rng(0)
    chance = rng.beta(4, 0.4, 10_000)
    better = np.minimum(1, chance + 0.004)
    ps = [
        over_images([(rng.random(10_000) < better).astype(float) - (rng.random(10_000) < chance) for _ in range(n)])[1]
        for n in (1, 30)
    ]
    assert ps[1] < 0.001 < ps[0]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.2]) == [0.2]
    assert holm([]).size == 0
    assert np.array_equal(holm([np.nan, 0.01]), [np.nan, 0.01], equal_nan=True)


def test_holm_is_statsmodels() -> None:
    for seed in range(20):
        p_values = list(np.random.default_rng(seed).random(12) ** 3)
        p_values[3] = p_values[7]
        theirs: Any = multipletests(p_values, method="holm")
        assert holm(p_values) == pytest.approx(list(theirs[1]))


def test_the_variances_of_a_table_are_drawn_together_as_far_as_they_are_alike() -> None:
    rng = np.random.default_rng(0)
    true = 4 / rng.chisquare(4, 4000)  # a scaled inverse chi-squared distribution of 4 degrees of freedom, scale 1
    found, borrowed = moderated_variances(rng.standard_normal((4000, 3)) * np.sqrt(true)[:, None])
    assert borrowed == pytest.approx(4, rel=0.15)
    assert 0.5 < np.median(found) < 1.5
    alike, all_of_them = moderated_variances(rng.standard_normal((6, 3)))
    assert all_of_them <= 12 and alike.min() > 0.2
    values = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.5], [0.0, 1.0, 1.5], [0.0, 50.0, 100.0]])
    wide, _ = moderated_variances(values)
    assert wide[3] == pytest.approx(2500.0), "what scatters more keeps it"
    collapsed, still = moderated_variances(np.vstack([rng.normal(0.5, 0.01, (8, 3)), [[0.1, 0.1, 0.1 + 1e-16]]]))
    assert still > 2 and collapsed[8] > 1e-6, "seeds that collapsed alike say nothing of the others, nor of their own"
    for few in (values[:3], values[:, :2], np.ones((4, 3))):
        nothing, none = moderated_variances(few)
        assert none == 0 and np.isnan(nothing).all()


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("deviations", [[1.0] * 8, [10.0, *[1.0] * 7], [0.1] * 4 + [1.0] * 4, [5.0] * 2 + [1.0] * 14])
def test_equal_configs_that_scatter_differently_are_rarely_told_apart(seeds: int, deviations: list[float]) -> None:
    rng, times, wrong = np.random.default_rng(seeds), 500, 0
    for _ in range(times):
        values = rng.standard_normal((len(deviations), seeds)) * np.array(deviations)[:, None]
        wrong += (PairwiseTests(values).p_holm(values.mean(1).argmax(), np.arange(len(values))) < 0.05).any()
    assert wrong <= stats.binom.ppf(0.999, times, 0.05)


def test_a_table_shows_what_its_pairs_alone_would_not() -> None:
    """Three seeds of 13 configs: by two degrees of freedom, ten standard deviations are rarely a difference."""
    rng, times, found, alone = np.random.default_rng(3), 50, 0.0, 0.0
    for _ in range(times):
        values = rng.normal(0, 0.01, (13, 3))
        values[0] += 0.1
        found += (PairwiseTests(values).p_holm(0, np.arange(1, 13)) < 0.05).mean()
        pairs = [PairwiseTests(values[[a, b]]).p[0, 1] for a, b in itertools.combinations(range(13), 2)]
        alone += np.mean(np.array(holm(pairs)[:12]) < 0.05)
    assert found / times > 0.85 and alone / times < 0.25


@pytest.mark.parametrize("deviations", [[1.0] * 8, [10.0, *[1.0] * 7], [3.0, *[1.0] * 7]])
def test_a_pair_by_itself_borrows_nothing(deviations: list[float]) -> None:
    """With what the table tells, a config that scatters three times as much would be told apart in 8 %."""
    rng, times, own, borrowed = np.random.default_rng(0), 1500, 0, 0
    for _ in range(times):
        values = rng.standard_normal((len(deviations), 3)) * np.array(deviations)[:, None]
        own += PairwiseTests(values, to=0).p[0, 1] < 0.05
        borrowed += PairwiseTests(values).p[0, 1] < 0.05
    limit = stats.binom.ppf(0.999, times, 0.05)
    assert own <= limit
    assert (borrowed > limit) == (deviations[0] > 1)
