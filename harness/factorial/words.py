"""What a design can tell and what it cannot, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.factorial.aliasing import alias_texts, untold
from harness.factorial.effects import Term, terms_of
from harness.factorial.fraction import Fraction

MOST_ALIASES = 8


def fraction_notes(fraction: Fraction, levels: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    """Yields how large the fraction is, and what is clear of what.

    Args:
        levels: how many each factor has.
        names: of the factors.
    """
    product = " x ".join(map(str, levels))
    yield (
        f"Fractional design: {len(fraction.cells)} configs, 1/{fraction.fraction} of {product}. Main effects are clear "
        "of two-way interactions, and all levels and pairs of levels stand in equally many configs, give or take one."
    )
    yield from alias_notes(untold(fraction.cells, levels, terms_of(levels)), names)


def alias_notes(aliases: dict[Term, list[Term]], names: Sequence[str]) -> Iterator[str]:
    """Yields which two-way interactions cannot be told from each other."""
    if not aliases:
        yield "Two-way interactions are clear of each other."
        return
    texts = list(alias_texts(aliases, names))
    more = f"; and {len(texts) - MOST_ALIASES} more groups" if len(texts) > MOST_ALIASES else ""
    yield f"Aliased, so that none can be told from the others: {'; '.join(texts[:MOST_ALIASES])}{more}."
