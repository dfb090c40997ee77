from __future__ import annotations

from collections import Counter
from itertools import permutations

from harness.suite.order import round_order

CONFIGS = ["a1", "b2", "c3", "d4"]


def test_the_order_is_the_same_at_every_call_and_on_every_machine() -> None:
    assert round_order("small", 0, CONFIGS) == round_order("small", 0, tuple(CONFIGS)) == [3, 2, 0, 1]


def test_the_seed_and_the_suite_change_it() -> None:
    assert len({tuple(round_order("small", seed, CONFIGS)) for seed in range(20)}) > 10
    assert len({tuple(round_order(f"suite {number}", 0, CONFIGS)) for number in range(20)}) > 10


def test_it_depends_neither_on_the_order_of_the_file_nor_on_what_is_left_out() -> None:
    full = [CONFIGS[place] for place in round_order("small", 3, CONFIGS)]
    reverse = CONFIGS[::-1]
    assert [reverse[place] for place in round_order("small", 3, reverse)] == full
    some = [config for config in CONFIGS if config != full[1]]
    assert [some[place] for place in round_order("small", 3, some)] == [config for config in full if config != full[1]]


def test_every_order_comes_about_as_often() -> None:
    found = Counter(tuple(round_order(f"suite {name}", 0, CONFIGS)) for name in range(4800))
    assert set(found) == set(permutations(range(4)))
    assert all(120 < times < 280 for times in found.values())  # 200 each, with a deviation of 14


def test_one_config_or_none() -> None:
    assert round_order("small", 0, ["a1"]) == [0]
    assert round_order("small", 0, []) == []
