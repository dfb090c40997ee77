"""Main effects and two-way interactions as columns of a linear model, and the contrasts that people read."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

Cell = tuple[int, ...]
"""Of one config: the index of its level of each factor."""
Term = tuple[int, ...]
"""The factors of an effect, by their index: one of a main effect, two of an interaction."""


@dataclass(frozen=True)
class Contrast:
    """A difference that an effect makes, from a lower to a higher index.

    Attributes:
        change: the two levels of the term's first factor.
        beside: of an interaction, the two levels of the second factor between which the difference changes.
        row: its weights on the columns of the term.
    """

    change: tuple[int, int]
    beside: tuple[int, int] | None
    row: Any


def terms_of(levels: Sequence[int], blocks: Set[int] = frozenset()) -> list[Term]:
    """Returns the main effects, then the two-way interactions.

    Args:
        levels: how many each factor has.
        blocks: factors that are averaged over, and have no interaction.
    """
    mains = [index for index, count in enumerate(levels) if count > 1]
    pairs = itertools.combinations([index for index in mains if index not in blocks], 2)
    return [*((index,) for index in mains), *pairs]


@functools.cache
def coding(levels: int) -> Any:
    """Returns sum-to-zero columns, an array [levels, levels - 1]: the last level is minus the sum of the others.

    So a main effect is about the mean of all levels, each counted alike, whatever the runs at hand.
    """
    import numpy

    return numpy.vstack([numpy.eye(levels - 1), -numpy.ones((1, levels - 1))])


def width(levels: Sequence[int], term: Term) -> int:
    """Returns how many columns a term has: its degrees of freedom."""
    product = 1
    for index in term:
        product *= levels[index] - 1
    return product


def columns(cells: Any, levels: Sequence[int], term: Term) -> Any:
    """Returns the columns of a term, an array [cells, width].

    Args:
        cells: an array [cells, factors] of level indices.
    """
    made = coding(levels[term[0]])[cells[:, term[0]]]
    for index in term[1:]:
        other = coding(levels[index])[cells[:, index]]
        made = (made[:, :, None] * other[:, None, :]).reshape(len(cells), -1)
    return made


def model_of(cells: Any, levels: Sequence[int], terms: Sequence[Term]) -> tuple[Any, dict[Term, slice]]:
    """Returns the columns of all terms, without a constant, and where those of each stand."""
    import numpy

    places: dict[Term, slice] = {}
    at = 0
    for term in terms:
        places[term] = slice(at, at + width(levels, term))
        at = places[term].stop
    parts = [columns(cells, levels, term) for term in terms]
    return numpy.hstack(parts) if parts else numpy.zeros((len(cells), 0)), places


@functools.cache
def contrasts(levels: tuple[int, ...]) -> tuple[Contrast, ...]:
    """Returns every difference of a term whose factors have so many levels.

    Of one factor: each level minus each before it. Of two: how much that difference changes between two levels of the
    other one.
    """
    import numpy

    first = coding(levels[0])
    changes = list(itertools.combinations(range(levels[0]), 2))
    if len(levels) == 1:
        return tuple(Contrast((i, j), None, first[j] - first[i]) for i, j in changes)
    second = coding(levels[1])
    return tuple(
        Contrast((i, j), (k, m), numpy.kron(first[j] - first[i], second[m] - second[k]))
        for i, j in changes
        for k, m in itertools.combinations(range(levels[1]), 2)
    )
