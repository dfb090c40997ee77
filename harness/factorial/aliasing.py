"""Which effects a set of configs can tell from the others, and which it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.factorial.effects import Cell, Term, columns, model_of, terms_of

# Beyond, a model takes seconds and more memory than a login node should give.
MOST_COLUMNS = 600
_TOLERANCE = 1e-8


def row_space(gram: Any) -> Any:
    """Returns an orthonormal basis, an array [columns, rank], of what X' X = gram can tell."""
    import numpy

    values, vectors = numpy.linalg.eigh(gram)
    return vectors[:, values > _TOLERANCE * max(values[-1], 1.0)] if len(values) else vectors


def tells(basis: Any, rows: Any) -> Any:
    """Returns for each of the rows, an array [rows, columns], whether it lies in the row space, and is estimated."""
    import numpy

    missed = numpy.linalg.norm(rows - rows @ basis @ basis.T, axis=1)
    return missed < 1e-6 * numpy.maximum(numpy.linalg.norm(rows, axis=1), 1e-300)


def untold(cells: Sequence[Cell], levels: Sequence[int], terms: Sequence[Term]) -> dict[Term, list[Term]]:
    """Returns the effects that these cells cannot tell, each with those that it is aliased with.

    The list is empty where no single effect is to blame: a level or a combination of levels is missing.
    """
    import numpy

    cell_array = numpy.array(cells, dtype=int).reshape(len(cells), len(levels))
    model, places = model_of(cell_array, levels, terms)
    centred = model - model.mean(0)
    basis = row_space(centred.T @ centred)
    identity = numpy.eye(model.shape[1])
    lost = [term for term in terms if not tells(basis, identity[places[term]]).all()]
    parts = {term: _centred(cell_array, levels, term) for term in lost}
    whole = [term for term in lost if _rank(parts[term]) == parts[term].shape[1]]
    return {
        term: [other for other in whole if term in whole and other != term and _aliased(parts[term], parts[other])]
        for term in lost
    }


def main_effects_are_clear(cells: Sequence[Cell], levels: Sequence[int]) -> bool:
    """Tells whether every main effect can be told from all two-way interactions."""
    return not any(len(term) == 1 for term in untold(cells, levels, terms_of(levels)))


def chains(aliases: dict[Term, list[Term]]) -> list[list[Term]]:
    """Returns the effects that cannot be told from each other as groups."""
    groups: list[list[Term]] = []
    seen: set[Term] = set()
    for term in aliases:
        if term in seen:
            continue
        group, waiting = [], [term]
        while waiting:
            one = waiting.pop(0)
            if one not in seen:
                seen.add(one)
                group.append(one)
                waiting += aliases[one]
        groups.append(group)
    return groups


def term_name(term: Term, names: Sequence[str]) -> str:
    """Returns e.g. `lr` or `lr x epochs`."""
    return " x ".join(names[index] for index in term)


def alias_texts(aliases: dict[Term, list[Term]], names: Sequence[str]) -> Iterable[str]:
    """Yields e.g. `lr x epochs = width x dropout` for each group of effects that cannot be told from each other."""
    for group in chains(aliases):
        yield " = ".join(term_name(term, names) for term in sorted(group))


def _centred(cells: Any, levels: Sequence[int], term: Term) -> Any:
    made = columns(cells, levels, term)
    return made - made.mean(0)


def _rank(matrix: Any) -> int:
    return row_space(matrix.T @ matrix).shape[1]


def _aliased(one: Any, other: Any) -> bool:
    import numpy

    if not numpy.abs(one.T @ other).max() > 1e-6:
        return False  # orthogonal
    return _rank(numpy.hstack([one, other])) < one.shape[1] + other.shape[1]
