"""The factors of a suite, found from its configs alone: what varies, what is crossed, what was changed one at a time.

Records hold each run's config, so neither the suite's file nor its plug-ins are needed. The configs are taken for a
relation over the paths that vary. Paths that do not occur in all combinations belong together: the lists of a `zip`, a
section and its parameters, the changes of `one_at_a_time`. What is left are blocks that are crossed with each other.
A block whose rows each change one setting of the same row is a star; any other is one factor, with its rows as levels.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.spec import is_identity
from harness.spec.settings import label_of, value_at

if TYPE_CHECKING:
    import numpy as np

Specs = Mapping[str, Mapping[str, Any]]
Leaves = Mapping[str, str]
"""The values of one config as JSON, by dotted path."""

# Two paths are crossed where so many pairs of their values occur, each half as often as by chance, or more often. A
# 2 x 2 product that lacks a config is a star; a 3 x 2 product is still one.
MOST_PAIRS_MISSING = 0.2
MOST_STAR = 200  # rows
MOST_ADDED, MOST_LISTED = 10, 500  # configs that `include` adds to a product, and of a list that is searched for one


@dataclass(frozen=True)
class Level:
    """A value of a factor, beside the factor's first one.

    Attributes:
        path: what it sets, dotted; of several that advance together, all with commas.
        name: the same in short.
        base, text: the first value and this one, as people read them.
    """

    path: str
    name: str
    base: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.base} -> {self.text}"


@dataclass(frozen=True)
class Factor:
    """What is crossed with other factors as one.

    Attributes:
        paths: what varies, dotted; a section such as `model` stands for its parameters.
        levels: the first is the one that the others are compared with, of a star the base.
        is_star: whether each level changes one of several paths, and nothing else.
    """

    name: str
    paths: tuple[str, ...]
    levels: tuple[Level, ...]
    is_star: bool = False

    def at(self, level: int) -> str:
        """Returns e.g. `lr=0.1`."""
        one = self.levels[level]
        return one.text if self.is_star and not level else f"{one.name}={one.text}"


@dataclass(frozen=True)
class Design:
    """The factors of a suite.

    Attributes:
        cells: of each config that belongs to the design, the index of its level of each factor. Combinations may be
            missing: they were excluded, or left out by a fraction.
    """

    factors: tuple[Factor, ...]
    cells: Mapping[str, tuple[int, ...]]

    @property
    def levels(self) -> tuple[int, ...]:
        """How many each factor has."""
        return tuple(len(factor.levels) for factor in self.factors)


def design_of(specs: Specs) -> Design | None:
    """Returns the design of some configs, or None: of unrelated ones, and where one factor alone varies.

    Args:
        specs: the configs by config_id, in the order of the suite: a factor's first level is that of the first config.
    """
    leaves = {config_id: dict(_leaves(spec)) for config_id, spec in specs.items()}
    blocks = _without_outside(leaves)
    if (blocks is None or not blocks.are_crossed) and len(leaves) <= MOST_LISTED:
        # What `include` adds comes last, and can make a whole product look like changes of one base.
        fewer = (
            _Blocks(dict(list(leaves.items())[:-count])) for count in range(1, min(MOST_ADDED, len(leaves) // 2) + 1)
        )
        blocks = next((one for one in fewer if one.are_a_product), blocks)
    return Design(tuple(blocks.factors(specs)), blocks.cells()) if blocks and blocks.are_a_design else None


def _without_outside(leaves: Mapping[str, Leaves]) -> _Blocks | None:
    """Returns the blocks of the configs without those that make the factors of the others look dependent."""
    kept, blocks = leaves, _Blocks(leaves)
    while outside := blocks.rare() or blocks.off_stars():
        kept = {config_id: own for config_id, own in kept.items() if config_id not in outside}
        if len(leaves) - len(kept) > _most_outside(len(leaves)):
            return None
        blocks = _Blocks(kept)
    return blocks


def _most_outside(count: int) -> float:
    """Returns how many configs, or rows of a star, may stand outside: more make a list of configs, and no design."""
    return max(1, count / 10)


class _Blocks:
    """The paths that vary in blocks, each with its rows of values: of each config the number of its row."""

    def __init__(self, leaves: Mapping[str, Leaves]) -> None:
        self._ids, values = list(leaves), list(leaves.values())
        every = dict.fromkeys(path for own in values for path in own)
        paths = [path for path in every if len({own.get(path) for own in values}) > 1]
        blocks = _together(paths, [_numbered(own.get(path) for own in values) for path in paths])
        found = [(block, _numbered(tuple(own.get(path) for path in block) for own in values)) for block in blocks]
        # In the order of the suite: the last list of a product varies fastest.
        found.sort(key=lambda one: -next(at for at, row in enumerate(one[1]) if row))
        self._blocks = [(block, rows, _star(block, _first(rows, values))) for block, rows in found]

    @property
    def are_crossed(self) -> bool:
        """Whether there are two factors."""
        return len(self._blocks) > 1

    @property
    def are_a_product(self) -> bool:
        """Whether there are two factors, in all combinations."""
        return self.are_crossed and math.prod(max(rows) + 1 for _, rows, _ in self._blocks) == len(self._ids)

    @property
    def are_a_design(self) -> bool:
        """Whether there are two factors, or changes of several settings."""
        return self.are_crossed or any(star for _, _, star in self._blocks)

    def rare(self) -> set[str]:
        """Returns the configs whose row of a block is combined with far fewer rows of the others than rows usually."""
        import numpy as np

        found: set[str] = set()
        for _, rows, _ in self._blocks if len(self._blocks) > 1 else []:
            counts = np.bincount(rows)[rows]
            found |= {self._ids[at] for at in np.flatnonzero(counts < np.median(counts) / 2)}
        return found

    def off_stars(self) -> set[str]:
        """Returns the configs that change more than one setting of a star's base."""
        rows = ((i, row, star) for _, rows, star in self._blocks for i, row in zip(self._ids, rows, strict=True))
        return {config_id for config_id, row, star in rows if star and row not in star}

    def factors(self, specs: Specs) -> list[Factor]:
        """Returns a factor for each block, with its levels as people read them."""
        changed = [star or dict.fromkeys(rows, _collapsed(block)) for block, rows, star in self._blocks]
        every = dict.fromkeys(path for own in changed for paths in own.values() for path in paths)
        short = {path: path.rpartition(".")[2] for path in every}
        names = {path: name if list(short.values()).count(name) == 1 else path for path, name in short.items()}
        found = []
        for (block, rows, star), own in zip(self._blocks, changed, strict=True):
            by_row = _first(rows, [specs[config_id] for config_id in self._ids])
            order = _order(rows, star)
            levels = [Level("", "base", "base", "base")] if star else []
            for row in order[len(levels) :]:
                beside = [by_row[other] for other in order if other == order[0] or own[other] == own[row]]
                both = by_row[order[0]], by_row[row]
                texts = [", ".join(_text(one, path, block, beside) for path in own[row]) for one in both]
                levels.append(Level(", ".join(own[row]), _joined([names[path] for path in own[row]]), *texts))
            paths = tuple(dict.fromkeys(path for row in order for path in own[row]))
            found.append(Factor("one at a time" if star else levels[0].name, paths, tuple(levels), bool(star)))
        return found

    def cells(self) -> dict[str, tuple[int, ...]]:
        """Returns the level of each factor, by config."""
        places = ({row: at for at, row in enumerate(_order(rows, star))} for _, rows, star in self._blocks)
        levels = ([at[row] for row in rows] for at, (_, rows, _) in zip(places, self._blocks, strict=True))
        return dict(zip(self._ids, zip(*levels, strict=True), strict=True))


def _joined(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{names[0]} etc."


def _first(rows: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """Returns for each row the value of the first config that has it."""
    return [values[rows.index(row)] for row in range(max(rows) + 1)]


def _order(rows: Sequence[int], star: Mapping[int, Any] | None) -> list[int]:
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
    return best if several and len(values) - len(best) <= _most_outside(len(values)) else None


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields what identifies a config: neither its label and its seed nor where its data lie."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if not is_identity(path):
            continue
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}.")
        else:
            yield path, json.dumps(value, sort_keys=True)


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
    collapsed = _collapsed(differing)
    return collapsed if len(collapsed) < 2 else None


def _collapsed(paths: Sequence[str]) -> tuple[str, ...]:
    """Returns settings for leaves: `model` for `model.name` and its parameters, `data.normalize` for what is in it."""
    found = []
    for path in paths:
        section, _, rest = path.partition(".")
        inner = rest.partition(".")[0]
        beside = [other for other in paths if other.startswith(f"{section}.{inner}.")]
        whole = f"{section}.{inner}" if len(beside) > 1 or f"{section}.{inner}" in paths else path
        found.append(section if f"{section}.name" in paths else whole)
    return tuple(dict.fromkeys(found))


def _text(spec: Mapping[str, Any], path: str, block: Sequence[str], beside: Sequence[Mapping[str, Any]]) -> str:
    """Returns a value as labels have it, without the name of its field; of a section its name, where that says enough.

    Args:
        beside: the configs that it is to be told from.
    """
    value = value_at(spec, path)
    if f"{path}.name" in block:
        alike = [one for one in (value_at(other, path) for other in beside) if one["name"] == value["name"]]
        value = {key: own for key, own in value.items() if key == "name" or any(one.get(key) != own for one in alike)}
    return label_of({path: value}).removeprefix(f"{path.rpartition('.')[2]}=")
