import numpy as np
import pytest

from harness.data.split import hold_out, rank_in_class, take
from harness.errors import HarnessError

UNEVEN = np.repeat([0, 1, 2, 7], [100, 50, 11, 3])


def test_hold_out_is_disjoint_complete_and_sorted():
    kept, held = hold_out(UNEVEN, 0.2, seed=0)
    assert sorted([*kept, *held]) == list(range(len(UNEVEN)))
    assert (np.diff(kept) > 0).all() and (np.diff(held) > 0).all()


def test_hold_out_is_stratified():
    _, held = hold_out(UNEVEN, 0.2, seed=0)
    assert [int((UNEVEN[held] == label).sum()) for label in (0, 1, 2, 7)] == [20, 10, 2, 1]


@pytest.mark.parametrize(("size", "expected"), [(1, 0), (2, 1), (3, 1)])
@pytest.mark.parametrize("fraction", [0.01, 0.2])
def test_small_classes_stay_on_both_sides_where_they_can(size, expected, fraction):
    labels = np.repeat([0, 1], [100, size])
    kept, held = hold_out(labels, fraction, seed=0)
    assert (labels[held] == 1).sum() == expected
    assert (labels[kept] == 1).sum() == size - expected


def test_a_large_fraction_leaves_every_class_an_image():
    kept, _ = hold_out(np.repeat([0, 1], 10), 0.99, seed=0)
    assert len(kept) == 2


def test_nothing_is_held_out_of_a_fraction_of_zero():
    kept, held = hold_out(UNEVEN, 0.0, seed=0)
    assert len(held) == 0 and len(kept) == len(UNEVEN)


def test_the_seed_decides():
    first, again, other = (hold_out(UNEVEN, 0.2, seed=seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_the_order_is_the_same_for_ever():
    # Drawn once with numpy 2.4: if it changes, results of the same seed can no longer be compared.
    assert rank_in_class(np.array([0, 0, 0, 0, 1, 1, 1, 1]), seed=0).tolist() == [3, 2, 1, 0, 2, 3, 0, 1]


def test_ranks_are_a_permutation_of_each_class():
    shuffled = UNEVEN[np.random.default_rng(0).permutation(len(UNEVEN))]
    ranks = rank_in_class(shuffled, seed=3)
    for label, size in {0: 100, 1: 50, 2: 11, 7: 3}.items():
        assert sorted(ranks[shuffled == label]) == list(range(size))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 40, 82, 163, 164])
def test_take_returns_exactly_so_many_distinct_sorted_indices(count):
    taken = take(UNEVEN, count, seed=0)
    assert len(taken) == count
    assert (np.diff(taken) > 0).all()


@pytest.mark.parametrize("count", [4, 5, 40])
def test_take_represents_every_class_where_it_can(count):
    assert set(UNEVEN[take(UNEVEN, count, seed=0)]) == {0, 1, 2, 7}


def test_take_keeps_the_shares():
    assert np.bincount(UNEVEN[take(UNEVEN, 82, seed=0)], minlength=8)[[0, 1, 2]].tolist() == [50, 25, 6]


def test_take_is_seeded():
    first, again, other = (take(UNEVEN, 40, seed=seed).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_taking_more_than_there_is_fails():
    with pytest.raises(HarnessError, match="165 images were asked for, but there are 164"):
        take(UNEVEN, 165, seed=0)
