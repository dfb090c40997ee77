"""The paths in which configs differ, in blocks that are crossed with each other; see `harness.results.factors`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Leaves = Mapping[str, str]
"""The values of one config as JSON, by dotted path."""

# Two paths are crossed where so many pairs of their values occur, each half as often as by chance, or more often. A
# 2 x 2 product that lacks a config is a star; a 3 x 2 product is still one.
MOST_PAIRS_MISSING = 0.2
MOST_STAR = 200  # rows


def most_outside(count: int) -> float:
    """Returns how many configs, or rows of a star, may stand outside: more make a list of configs, and no design."""
    return max(1, count / 10)


class PathBlocks:
    """The paths that vary in blocks, each with its rows of values.

    Attributes:
        ids: of the configs.
        blocks: of each its paths, the number of each config's row, and of a star what each row changes.
    """

    def __init__(self, leaves: Mapping[str, Leaves]) -> None:
        self.ids, values = list(leaves), list(leaves.values())
        every = dict.fromkeys(path for own in values for path in own)
        paths = [path for path in every if len({own.get(path) for own in values}) > 1]
        blocks = _together(paths, [_numbered(own.get(path) for own in values) for path in paths])
        found = [(block, _numbered(tuple(own.get(path) for path in block) for own in values)) for block in blocks]
        # In the order of the suite: the last list of a product varies fastest.
        found.sort(key=lambda one: -next(at for at, row in enumerate(one[1]) if row))
        self.blocks = [(block, rows, _star(block, first(rows, values))) for block, rows in found]

    @property
    def are_crossed(self) -> bool:
        """Whether there are two factors."""
        return len(self.blocks) > 1

    @property
    def are_a_product(self) -> bool:
        """Whether there are two factors, in all combinations."""
        return self.are_crossed and math.prod(max(rows) + 1 for _, rows, _ in self.blocks) == len(self.ids)

    @property
    def are_a_design(self) -> bool:
        """Whether there are two factors, or changes of several settings."""
        return self.are_crossed or any(star for _, _, star in self.blocks)

    def rare(self) -> set[str]:
        """Returns the configs whose row of a block is combined with far fewer rows of the others than rows usually."""
        import numpy as np

        found: set[str] = set()
        for _, rows, _ in self.blocks if len(self.blocks) > 1 else []:
            counts = np.bincount(rows)[rows]
            found |= {self.ids[at] for at in np.flatnonzero(counts < np.median(counts) / 2)}
        return found

    def off_stars(self) -> set[str]:
        """Returns the configs that change more than one setting of a star's base."""
        rows = ((i, row, star) for _, rows, star in self.blocks for i, row in zip(self.ids, rows, strict=True))
        return {config_id for config_id, row, star in rows if star and row not in star}

    def cells(self) -> dict[str, tuple[int, ...]]:
        """Returns the level of each factor, by config."""
        places = ({row: at for at, row in enumerate(order_of(rows, star))} for _, rows, star in self.blocks)
        levels = ([at[row] for row in rows] for at, (_, rows, _) in zip(places, self.blocks, strict=True))
        return dict(zip(self.ids, zip(*levels, strict=True), strict=True))


def first(rows: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """Returns for each row the value of the first config that has it."""
    return [values[rows.index(row)] for row in range(max(rows) + 1)]


def order_of(rows: Sequence[int], star: Mapping[int, Any] | None) -> list[int]:
    """Returns the rows of a block with the base of a star first, else in the order of the suite."""
    return sorted(set(rows), key=lambda row: (bool(star and star[row]), row))


def _star(paths: Sequence[str], values: Sequence[Leaves]) -> dict[int, tuple[str, ...]] | None:
    """Returns what each row of a star changes, nothing of its base; None where the rows are none."""
    if not 2 < len(values) <= MOST_STAR:
        return None
    best: dict[int, tuple[str, ...]] = {}
    for base in values:
        changes = ((row, _changed(base, own, paths)) for row, own in enumerate(values))
        best = max(best, {row: change for row, change in changes if change is not None}, key=len)
    several = len({path for change in best.values() for path in change}) > 1
    return best if several and len(values) - len(best) <= most_outside(len(values)) else None


def _numbered(values: Iterable[Any]) -> list[int]:
    """Returns equal numbers for equal values, from 0 in the order in which they are met."""
    numbers: dict[Any, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def _together(paths: Sequence[str], codes: Sequence[Sequence[int]]) -> list[list[str]]:
    """Returns the paths in groups; those of different groups occur in all combinations."""
    import numpy as np

    arrays = [np.asarray(own) for own in codes]
    group = list(range(len(paths)))
    for one, other in itertools.combinations(range(len(paths)), 2):
        if group[one] != group[other] and not _crossed(arrays[one], arrays[other]):
            joined = group[other]
            group = [group[one] if own == joined else own for own in group]
    return [[path for path, own in zip(paths, group, strict=True) if own == at] for at in dict.fromkeys(group)]


def _crossed(one: np.ndarray, other: np.ndarray) -> bool:
    import numpy as np

    shape = int(one.max()) + 1, int(other.max()) + 1
    if (1 - MOST_PAIRS_MISSING) * shape[0] * shape[1] > len(one):
        return False
    counts = np.bincount(one * shape[1] + other, minlength=shape[0] * shape[1]).reshape(shape)
    by_chance = np.outer(counts.sum(1), counts.sum(0)) / len(one)
    return bool((counts < by_chance / 2).mean() <= MOST_PAIRS_MISSING)


def _changed(base: Leaves, other: Leaves, paths: Sequence[str]) -> tuple[str, ...] | None:
    """Returns the one setting in which a row differs from the base: nothing for the base itself, None for several."""
    differing = [path for path in paths if base.get(path) != other.get(path)]
    settings = collapsed(differing)
    return settings if len(settings) < 2 else None


def collapsed(paths: Sequence[str]) -> tuple[str, ...]:
    """Returns settings for leaves: `model` for `model.name` and its parameters, `data.normalize` for what is in it."""
    found = []
    for path in paths:
        section, _, rest = path.partition(".")
        inner = rest.partition(".")[0]
        beside = [other for other in paths if other.startswith(f"{section}.{inner}.")]
        whole = f"{section}.{inner}" if len(beside) > 1 or f"{section}.{inner}" in paths else path
        found.append(section if f"{section}.name" in paths else whole)
    return tuple(dict.fromkeys(found))
