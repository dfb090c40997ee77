"""Balanced fractions of a product, and what they can tell."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from harness.errors import HarnessError
from harness.statistics.designs import alias_texts, main_effects_are_clear, terms_of, untold
from harness.suite.fraction import choose_fraction, fraction_notes

PRODUCTS = [
    (2, 2, 2, 2),
    (2,) * 5,
    (2,) * 9,
    (2,) * 12,
    (3, 3, 3, 3),
    (4, 4, 4, 4),
    (2, 2, 2, 2, 3),
    (2,) * 8 + (3,),
    (3, 2, 2, 1, 2, 2, 4),
    (6, 2, 2, 2, 2),
    (3, 3, 2, 2, 2),
    (2, 3, 3, 4, 6),
]


@pytest.mark.parametrize("levels", PRODUCTS, ids=str)
def test_it_is_balanced_smaller_and_keeps_main_effects_clear(levels: tuple[int, ...]) -> None:
    chosen = choose_fraction(levels)
    full = list(itertools.product(*map(range, levels)))
    assert len(set(chosen.cells)) == len(chosen.cells) < len(full)
    assert set(chosen.cells) <= set(full) and list(chosen.cells) == sorted(chosen.cells)
    assert chosen.cells[0] == (0,) * len(levels)  # the base
    for first, second in itertools.combinations(range(len(levels)), 2):
        pairs = Counter((cell[first], cell[second]) for cell in chosen.cells)
        assert len(pairs) == levels[first] * levels[second]
        assert max(pairs.values()) - min(pairs.values()) <= 1
    for index in range(len(levels)):
        counts = Counter(cell[index] for cell in chosen.cells)
        assert max(counts.values()) - min(counts.values()) <= len(chosen.cells) % levels[index]
    assert main_effects_are_clear(chosen.cells, levels)
    assert choose_fraction(levels) == chosen


def test_two_levels_get_the_smallest_regular_fraction() -> None:
    sizes = {factors: len(choose_fraction((2,) * factors).cells) for factors in range(4, 13)}
    # Resolution IV takes twice as many configs as factors; the next power of two. Five factors have V for the same.
    assert sizes == {4: 8, 5: 16, 6: 16, 7: 16, 8: 16, 9: 32, 10: 32, 11: 32, 12: 32}
    assert not untold(choose_fraction((2,) * 5).cells, (2,) * 5, terms_of((2,) * 5))


def test_a_wanted_fraction() -> None:
    assert len(choose_fraction((2,) * 9, 4).cells) == 128
    with pytest.raises(HarnessError, match=r"no balanced fraction of 1/8 of 2 x 2") as caught:
        choose_fraction((2,) * 9, 8)
    assert caught.value.hint == "write fraction: 4 or 16, or leave 'fraction' out"


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((2,), "3 factors or more with several values each, not 1"),
        ((2, 1, 2), "not 2"),
        ((2, 2, 2), "no balanced fraction of 2 x 2 x 2 configs tells main effects"),
        ((2, 3, 5), "no balanced fraction"),
        ((100, 100, 100), "too many levels"),
    ],
    ids=str,
)
def test_products_that_have_none(levels: tuple[int, ...], message: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        choose_fraction(levels)
    assert caught.value.hint


def test_aliases_by_hand() -> None:
    # The half of 2^4 with an even number of second levels: ABCD = I, so AB = CD, AC = BD, AD = BC.
    cells = [cell for cell in itertools.product(range(2), repeat=4) if sum(cell) % 2 == 0]
    levels = (2, 2, 2, 2)
    aliases = untold(cells, levels, terms_of(levels))
    assert list(alias_texts(aliases, "ABCD")) == ["A x B = C x D", "A x C = B x D", "A x D = B x C"]
    assert cells == list(choose_fraction(levels).cells)
    # A half of 2^3 tells nothing at all: A = BC.
    third = [cell for cell in itertools.product(range(2), repeat=3) if sum(cell) % 2 == 0]
    assert list(alias_texts(untold(third, (2, 2, 2), terms_of((2, 2, 2))), "ABC")) == [
        "A = B x C",
        "A x C = B",
        "A x B = C",
    ]


def test_a_missing_cell_is_no_alias() -> None:
    cells = [cell for cell in itertools.product(range(2), repeat=3) if cell[:2] != (1, 1)]
    lost = untold(cells, (2, 2, 2), terms_of((2, 2, 2)))
    assert lost == {(0,): [], (1,): [], (0, 1): []}


def test_words() -> None:
    size, aliases = fraction_notes(choose_fraction((2,) * 4), (2,) * 4, ["lr", "epochs", "width", "dropout"])
    assert size.startswith("Fractional design: 8 configs, 1/2 of 2 x 2 x 2 x 2. Main effects are not aliased")
    assert "lr x epochs = width x dropout" in aliases
    *_, clear = fraction_notes(choose_fraction((2,) * 5), (2,) * 5, "abcde")
    assert clear == "Two-way interactions are not aliased with each other."
    *_, many = fraction_notes(choose_fraction((2,) * 9), (2,) * 9, "abcdefghi")
    assert many.endswith("; and 5 more groups.")
