"""A balanced fraction of a full product, by pyDOE: regular for factors with two levels, else a subset design."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.statistics.designs import (
    MOST_COLUMNS,
    Cell,
    alias_texts,
    main_effects_are_clear,
    terms_of,
    untold,
    width,
)

MOST_CONFIGS = 10_000
MOST_ALIASES = 8
_FEWEST_FACTORS = 3
# V: main effects and two-way interactions are clear of each other; IV: main effects are clear of those. Of a size, V.
_RESOLUTIONS = (5, 4)


@dataclass(frozen=True)
class Fraction:
    """The chosen configs of a product.

    Attributes:
        cells: in the order of the product; the first level of every factor is among them.
        fraction: which part of the product that is: 4 for a quarter. Of odd counts of levels it is about that.
    """

    cells: tuple[Cell, ...]
    fraction: int


def choose_fraction(levels: Sequence[int], wanted: int | None = None) -> Fraction:
    """Returns the smallest balanced fraction, or the wanted one, that tells main effects from two-way interactions.

    Balanced: each level of a factor, and each pair of levels of two factors, stands in equally many configs, or in one
    more or less where their number does not divide. The same arguments give the same fraction.

    Args:
        levels: how many each factor has.
        wanted: which part of the product, e.g. 4 for a quarter.

    Raises:
        HarnessError: there is none such.
    """
    several = [index for index, count in enumerate(levels) if count > 1]
    counts = [levels[index] for index in several]
    if len(counts) < _FEWEST_FACTORS:
        message = f"a fraction needs {_FEWEST_FACTORS} factors or more with several values each, not {len(counts)}"
        raise HarnessError(message, "leave 'design' out: the full product of so few factors is small")
    if sum(width(counts, term) for term in terms_of(counts)) > MOST_COLUMNS:
        raise HarnessError("the factors have too many levels for a fraction", "give them fewer values")
    valid: list[int] = []
    for fraction, cells in sorted(_candidates(counts), key=lambda found: -found[0]):
        if fraction in valid or (wanted and wanted in valid) or not _valid(cells, counts):
            continue
        valid.append(fraction)
        if wanted in (None, fraction):
            return Fraction(_in_all_factors(cells, several, len(levels)), fraction)
    size = " x ".join(map(str, counts))
    if not valid:
        message = f"no balanced fraction of {size} configs tells main effects from two-way interactions"
        raise HarnessError(message, "leave 'design' out, or give factors two values each")
    message = f"no balanced fraction of 1/{wanted} of {size} configs tells main effects from two-way interactions"
    raise HarnessError(message, f"write fraction: {' or '.join(map(str, sorted(valid)))}, or leave 'fraction' out")


def _candidates(levels: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Yields (fraction, cells [configs, factors]): one of the factors with two levels times one of the others."""
    twos = [index for index, count in enumerate(levels) if count == 2]
    others = [index for index, count in enumerate(levels) if count != 2]
    for (part, chosen), (rest, further) in itertools.product(
        _of_two_levels(len(twos)), _subsets([levels[index] for index in others])
    ):
        if part * rest > 1 and len(chosen) * len(further) <= MOST_CONFIGS:
            yield part * rest, _crossed(chosen, twos, further, others)
    if twos and others:
        yield from _subsets(levels, full=False)


def _of_two_levels(factors: int) -> Iterator[tuple[int, Any]]:
    """Yields the full product, where it is no monster, and the smallest regular fractions of resolution IV and more."""
    import numpy

    fracfact_by_res = _pydoe().fracfact_by_res
    if 2**factors <= MOST_CONFIGS:
        yield 1, numpy.array(list(itertools.product((0, 1), repeat=factors)), dtype=int).reshape(2**factors, factors)
    sizes = set()
    for resolution in _RESOLUTIONS if factors > 2 else ():
        try:
            cells = (fracfact_by_res(factors, resolution) > 0).astype(int)
        except ValueError:
            continue
        if len(cells) not in sizes and len(cells) < 2**factors and len(cells) <= MOST_CONFIGS:
            sizes.add(len(cells))
            yield 2**factors // len(cells), cells ^ cells[0]  # all first levels, the base, are among them


def _subsets(levels: Sequence[int], *, full: bool = True) -> Iterator[tuple[int, Any]]:
    """Yields the full product, and generalized subset designs (Surowiec et al. 2017, 10.1021/acs.analchem.7b00506)."""
    import numpy

    gsd = _pydoe().gsd
    product = math.prod(levels)
    if full and product <= MOST_CONFIGS:
        ranges = itertools.product(*map(range, levels))
        yield 1, numpy.array(list(ranges), dtype=int).reshape(product, len(levels))
    for reduction in range(2, max(levels, default=0) + 1):
        # pyDOE goes through all of its orthogonal array, which has reduction^(factors - 1) rows.
        if len(levels) > 1 and product / reduction <= MOST_CONFIGS and reduction ** (len(levels) - 1) <= MOST_CONFIGS:
            yield reduction, numpy.asarray(gsd(list(levels), reduction), dtype=int)


def _pydoe() -> Any:
    try:
        import pydoe  # takes a second
    except ImportError:
        raise HarnessError("'design: fractional' needs pydoe", "pip install pydoe") from None
    return pydoe


def _crossed(chosen: Any, twos: Sequence[int], further: Any, others: Sequence[int]) -> Any:
    import numpy

    cells = numpy.empty((len(chosen) * len(further), len(twos) + len(others)), dtype=int)
    cells[:, list(twos)] = numpy.repeat(chosen, len(further), axis=0)
    cells[:, list(others)] = numpy.tile(further, (len(chosen), 1))
    return cells


def _valid(cells: Any, levels: Sequence[int]) -> bool:
    rows = [tuple(map(int, cell)) for cell in cells]
    return is_balanced(cells, levels) and main_effects_are_clear(rows, levels)


def is_balanced(cells: Any, levels: Sequence[int]) -> bool:
    """Tells whether all levels, and all pairs of levels of two factors, stand in equally many cells, give or take one.

    Args:
        cells: an array [cells, factors].
    """
    import numpy

    for first, second in itertools.combinations_with_replacement(range(len(levels)), 2):
        at = cells[:, first] if first == second else cells[:, first] * levels[second] + cells[:, second]
        pairs = levels[first] if first == second else levels[first] * levels[second]
        counts = numpy.bincount(at, minlength=pairs)
        if counts.max() - counts.min() > 1:
            return False
    return True


def _in_all_factors(cells: Any, several: Sequence[int], factors: int) -> tuple[Cell, ...]:
    """Puts factors of one level back in, and the cells in the order of the product."""
    made = []
    for cell in cells:
        whole = [0] * factors
        for index, level in zip(several, cell, strict=True):
            whole[index] = int(level)
        made.append(tuple(whole))
    return tuple(sorted(made))


def fraction_notes(fraction: Fraction, levels: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    """Yields how large the fraction is, and what is clear of what.

    Args:
        levels: how many each factor has.
        names: of the factors.
    """
    product = " x ".join(map(str, levels))
    yield (
        f"Fractional design: {len(fraction.cells)} configs, 1/{fraction.fraction} of {product}. Main effects are not "
        "aliased with two-way interactions. All levels, and pairs of levels, occur in equally many configs, "
        "plus or minus one."
    )
    aliases = untold(fraction.cells, levels, terms_of(levels))
    if not aliases:
        yield "Two-way interactions are not aliased with each other."
        return
    texts = alias_texts(aliases, names)
    more = f"; and {len(texts) - MOST_ALIASES} more groups" if len(texts) > MOST_ALIASES else ""
    yield f"Aliased, so that they cannot be separated: {'; '.join(texts[:MOST_ALIASES])}{more}."
