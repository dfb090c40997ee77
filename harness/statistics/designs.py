"""Factorial designs as linear models: main effects and two-factor interactions, and which of them some cells can tell.

A cell is one config, written as the index of its level of each factor; a term is the factors of an effect, by index.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Cell = tuple[int, ...]
Term = tuple[int, ...]

# Beyond, a model takes seconds and more memory than a login node should give.
MOST_COLUMNS = 600
_TOLERANCE = 1e-8


def terms_of(levels: Sequence[int]) -> list[Term]:
    """Returns the main effects, then the two-factor interactions, of factors with so many levels."""
    mains = [index for index, count in enumerate(levels) if count > 1]
    return [*((index,) for index in mains), *itertools.combinations(mains, 2)]


@functools.cache
def coding(levels: int) -> np.ndarray:
    """Returns sum-to-zero columns, [levels, levels - 1]: the last level is minus the sum of the others.

    So a main effect is about the mean over all levels of the other factors, each counted alike, whatever runs exist.
    """
    import numpy as np

    return np.vstack([np.eye(levels - 1), -np.ones((1, levels - 1))])


def width(levels: Sequence[int], term: Term) -> int:
    """Returns how many columns a term has: its degrees of freedom."""
    product = 1
    for index in term:
        product *= levels[index] - 1
    return product


def columns(cells: np.ndarray, levels: Sequence[int], term: Term) -> np.ndarray:
    """Returns the columns of a term, [cells, width].

    Args:
        cells: [cells, factors], indices of levels.
    """
    made = coding(levels[term[0]])[cells[:, term[0]]]
    for index in term[1:]:
        other = coding(levels[index])[cells[:, index]]
        made = (made[:, :, None] * other[:, None, :]).reshape(len(cells), made.shape[1] * other.shape[1])
    return made


def model_of(cells: np.ndarray, levels: Sequence[int], terms: Sequence[Term]) -> tuple[np.ndarray, dict[Term, slice]]:
    """Returns the columns of all terms, [cells, columns] without a constant, and where those of each stand."""
    import numpy as np

    ends = list(itertools.accumulate((width(levels, term) for term in terms), initial=0))
    places = {term: slice(*ends[at : at + 2]) for at, term in enumerate(terms)}
    parts = [columns(cells, levels, term) for term in terms]
    return np.hstack([np.zeros((len(cells), 0)), *parts]), places


def row_space(gram: np.ndarray) -> np.ndarray:
    """Returns an orthonormal basis, [columns, rank], of what X' X = gram can tell."""
    import numpy as np

    values, vectors = np.linalg.eigh(gram)
    return vectors[:, values > _TOLERANCE * max(values[-1], 1.0)] if len(values) else vectors


def tells(basis: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns for each of the rows, [rows, columns], whether it lies in the row space, and is estimated."""
    import numpy as np

    missed = np.linalg.norm(rows - rows @ basis @ basis.T, axis=1)
    return missed < 1e-6 * np.maximum(np.linalg.norm(rows, axis=1), 1e-300)


def untold(cells: Sequence[Cell], levels: Sequence[int], terms: Sequence[Term]) -> dict[Term, list[Term]]:
    """Returns the terms that these cells cannot tell, each with those that it is aliased with.

    The list is empty where no single term is to blame: a level or a combination of levels is missing.
    """
    import numpy as np

    cell_array = np.array(cells, dtype=int).reshape(len(cells), len(levels))
    model, places = model_of(cell_array, levels, terms)
    centred = model - model.mean(0)
    basis = row_space(centred.T @ centred)
    identity = np.eye(model.shape[1])
    lost = [term for term in terms if not tells(basis, identity[places[term]]).all()]
    parts = {term: centred[:, places[term]] for term in lost}
    whole = [term for term in lost if _rank(parts[term]) == parts[term].shape[1]]
    return {
        term: [other for other in whole if term in whole and other != term and _aliased(parts[term], parts[other])]
        for term in lost
    }


def main_effects_are_clear(cells: Sequence[Cell], levels: Sequence[int]) -> bool:
    """Tells whether every main effect can be told from all two-factor interactions."""
    return not any(len(term) == 1 for term in untold(cells, levels, terms_of(levels)))


def term_name(term: Term, names: Sequence[str]) -> str:
    """Returns e.g. `lr` or `lr x epochs`."""
    return " x ".join(names[index] for index in term)


def alias_texts(aliases: dict[Term, list[Term]], names: Sequence[str]) -> list[str]:
    """Returns e.g. `lr x epochs = width x dropout` for each group of terms that cannot be told from each other."""
    groups: dict[Term, set[Term]] = {}
    for term, others in aliases.items():
        joined = {term, *others}.union(*(groups.get(one, set()) for one in (term, *others)))
        groups |= dict.fromkeys(joined, joined)
    distinct = list({id(groups[term]): groups[term] for term in aliases}.values())
    return [" = ".join(term_name(term, names) for term in sorted(group)) for group in distinct]


def _rank(matrix: np.ndarray) -> int:
    return row_space(matrix.T @ matrix).shape[1]


def _aliased(one: np.ndarray, other: np.ndarray) -> bool:
    import numpy as np

    if not np.abs(one.T @ other).max() > 1e-6:
        return False  # orthogonal
    return _rank(np.hstack([one, other])) < one.shape[1] + other.shape[1]
