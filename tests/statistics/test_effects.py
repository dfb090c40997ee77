"""Effects as contrasts over cells: by hand, beside what images say of a pair, and with runs that are missing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from harness.statistics.crossed import ImageNoise, image_noise, largest_image_noise
from harness.statistics.effects import CellModel, Contrast, contrasts_of, estimate
from harness.statistics.pairs import Pairs, PairwiseTests, verdict_of


def model(levels: tuple[int, ...]) -> tuple[CellModel, np.ndarray]:
    made = CellModel(np.array(list(itertools.product(*map(range, levels)))), levels)
    return made, made.contrast_rows(contrasts_of(levels))


def by_contrast(levels: tuple[int, ...], found: Pairs) -> dict[Contrast, float]:
    return dict(zip(contrasts_of(levels), found.difference.tolist(), strict=True))


def test_contrasts_stand_beside_the_first_levels() -> None:
    assert contrasts_of((3, 2)) == [
        Contrast((0,), (1,)),
        Contrast((0,), (2,)),
        Contrast((1,), (1,)),
        Contrast((0, 1), (1, 1)),
        Contrast((0, 1), (2, 1)),
    ]


def test_two_by_two_by_hand() -> None:
    # Cells 00 .80, 01 .84, 10 .70, 11 .90 in seed 0; in seed 1 the last is .94.
    values = np.array([[0.80, 0.80], [0.84, 0.84], [0.70, 0.70], [0.90, 0.94]])
    found = estimate(*model((2, 2)), values)
    # First (-.10 + .06) / 2 and (-.10 + .10) / 2; second (.04 + .20) / 2 and (.04 + .24) / 2; both .16 and .20.
    assert found.difference == pytest.approx([-0.01, 0.13, 0.18])
    assert found.over_seeds == pytest.approx([0.01**2, 0.01**2, 0.02**2])  # two values that lie .02 or .04 apart
    p = [2 / math.pi * math.atan(1 / t) for t in (1, 13, 9)]  # Student's with one degree of freedom
    assert found.p == pytest.approx(p)


def test_a_pair_is_what_all_pairs_of_configs_have() -> None:
    rng = np.random.default_rng(0)
    values, noise = rng.normal(0.9, 0.01, (2, 3)), image_noise(rng.random((2, 3, 360)) < 0.9)
    found = estimate(*model((2,)), values, noise)
    assert found.difference[0] == pytest.approx(values[1].mean() - values[0].mean())
    assert (found.over_images[0], found.own[0]) == pytest.approx((noise.shared[0, 1], noise.own[0, 1]))
    assert found.p[0] == pytest.approx(PairwiseTests(values, noise).p[0, 1])
    assert found.over_seeds[0] == pytest.approx((values[1] - values[0]).var(ddof=1) / 3)


def test_the_variance_over_images_is_that_of_what_an_image_contributes() -> None:
    rng = np.random.default_rng(1)
    made, rows = model((2, 3))
    right = rng.random((6, 3, 500)) < 0.9
    found = estimate(made, rows, rng.normal(0.9, 0.01, (6, 3)), image_noise(right))
    weights = made.weights(rows, np.ones(6, bool))
    both = (weights @ right.mean(1)).var(1, ddof=1) / 500
    assert found.over_images + found.own == pytest.approx(both, rel=0.02)


def test_without_predictions_it_is_the_largest_that_it_can_be() -> None:
    rng = np.random.default_rng(2)
    made, rows = model((2, 2))
    # Configs of one level err alike, those of two levels apart: the most for the main effect of the first factor.
    recognised = np.repeat(rng.random((2, 20_000)) < 0.9, 2, axis=0)
    means = recognised.mean(1)
    own = means * (1 - means) / 20_000
    values = np.tile(means[:, None], (1, 3)) + rng.normal(0, 0.001, (4, 3))
    known = estimate(made, rows, values, image_noise(np.repeat(recognised[:, None], 3, axis=1)))
    bound = estimate(made, rows, values, largest_image_noise(means, 20_000), own)
    assert (bound.over_images >= 0.98 * known.over_images).all()
    assert bound.over_images[0] == pytest.approx(known.over_images[0], rel=0.05)


def test_test_images_that_differ_leave_nothing_to_say() -> None:
    values = np.random.default_rng(3).normal(size=(4, 3))
    over = np.zeros((4, 4))
    over[:2, 2:] = over[2:, :2] = np.nan
    found = estimate(*model((2, 2)), values, ImageNoise(over, np.zeros((4, 4)), 100))
    assert np.isnan(found.p).all()
    nothing = ImageNoise(np.full((4, 4), np.nan), np.zeros((4, 4)), 100)
    assert np.isnan(estimate(*model((2, 2)), values, nothing).p).all()


def test_missing_runs_do_not_bias_an_additive_truth_and_a_seed_that_lacks_too_much_is_left_out() -> None:
    levels = (2, 2, 3)
    made, rows = model(levels)
    values = np.tile((made.cells @ [1.0, 10.0, 100.0])[:, None], (1, 4)) + np.array([0.0, 5.0, -3.0, 7.0])
    values[0, 0] = values[5, 1] = values[7, 2] = np.nan
    values[1:, 3] = np.nan
    found = estimate(made, rows, values)
    assert set(found.seeds.tolist()) == {3}
    effects = by_contrast(levels, found)
    mains = [effects[Contrast((0,), (1,))], effects[Contrast((1,), (1,))], effects[Contrast((2,), (2,))]]
    assert mains == pytest.approx([1.0, 10.0, 200.0])
    assert [value for one, value in effects.items() if len(one.term) == 2] == pytest.approx([0.0] * 5, abs=1e-9)


def test_a_level_that_is_missing_takes_only_what_needs_it() -> None:
    levels = (3, 2)
    made, rows = model(levels)
    values = np.random.default_rng(4).normal(size=(6, 3))
    values[5] = np.nan  # level 2 of the first factor with level 1 of the second
    told = dict(zip(contrasts_of(levels), estimate(made, rows, values).seeds > 0, strict=True))
    assert told[Contrast((0,), (1,))] and told[Contrast((0, 1), (1, 1))]
    assert not told[Contrast((0,), (2,))] and not told[Contrast((1,), (1,))]


def test_a_contrast_borrows_no_more_than_it_has_and_keeps_a_larger_variance() -> None:
    made, rows = model((2, 2, 2))
    values = np.random.default_rng(6).normal(size=(8, 3))
    values[:, 0] += 5 * made.cells[:, 0]  # the first factor's effect scatters more
    together = estimate(made, rows, values)
    alone = (made.weights(rows, np.ones(8, bool)) @ values).var(1, ddof=1) / 3
    assert (together.over_seeds >= alone - 1e-15).all() and (together.over_seeds > 1.01 * alone).any()
    assert 2 < together.freedom.min() <= together.freedom.max() <= 3.5
    few = np.random.default_rng(6).normal(size=(8, 2))
    assert set(estimate(made, rows, few).freedom) == {1}  # two seeds tell too little to be lent


def test_one_seed_and_seeds_that_agree_have_no_p() -> None:
    made, rows = model((2, 2))
    one = estimate(made, rows, np.arange(4.0)[:, None])
    assert np.isnan(one.p).all() and (one.seeds == 1).all() and one.difference == pytest.approx([2, 1, 0], abs=1e-12)
    alike = estimate(made, rows, np.tile(np.arange(4.0)[:, None], (1, 3)))
    assert np.isnan(alike.p[:2]).all() and alike.p[2] == 1.0


def test_verdicts() -> None:
    assert [verdict_of(1.0, 0.01, math.nan), verdict_of(-1.0, 0.01, 0.2)] == ["better", "worse"]
    assert [verdict_of(1.0, 0.2, 0.01), verdict_of(1.0, 0.2, math.nan)] == ["equivalent", "undecided"]
    assert verdict_of(1.0, math.nan, math.nan) is None
