"""The factors of a suite, found from its configs alone: what varies, what is crossed, what was changed one at a time.

Records hold each run's config, so neither the suite's file nor its plug-ins are needed. The configs are taken for a
relation over the paths that vary. Paths that do not occur in all combinations belong together: the lists of a `zip`, a
section and its parameters, the changes of `one_at_a_time`. What is left are blocks that are crossed with each other.
A block whose rows each change one setting of the same row is a star; any other is one factor, with its rows as levels.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.results.blocks import Leaves, PathBlocks, collapsed, first, most_outside, order_of
from harness.results.unplanned import as_json, flat_identity
from harness.spec.settings import label_of, value_at
from harness.statistics.effects import CellModel

Specs = Mapping[str, Mapping[str, Any]]

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

    @functools.cached_property
    def model(self) -> CellModel:
        """What effects on any number are estimated by."""
        import numpy as np

        return CellModel(np.array(list(self.cells.values()), dtype=int), self.levels)


def design_of(specs: Specs) -> Design | None:
    """Returns the design of some configs, or None: of unrelated ones, and where one factor alone varies.

    Args:
        specs: the configs by config_id, in the order of the suite: a factor's first level is that of the first config.
    """
    leaves = {config_id: _leaves(spec) for config_id, spec in specs.items()}
    blocks = _without_outside(leaves)
    if (blocks is None or not blocks.are_crossed) and len(leaves) <= MOST_LISTED:
        # What `include` adds comes last, and can make a whole product look like changes of one base.
        fewer = (
            PathBlocks(dict(list(leaves.items())[:-count])) for count in range(1, min(MOST_ADDED, len(leaves) // 2) + 1)
        )
        blocks = next((one for one in fewer if one.are_a_product), blocks)
    return Design(tuple(_factors(blocks, specs)), blocks.cells()) if blocks and blocks.are_a_design else None


def _leaves(spec: Mapping[str, Any]) -> Leaves:
    return {path: as_json(value) for path, value in flat_identity(spec)}


def _without_outside(leaves: Mapping[str, Leaves]) -> PathBlocks | None:
    """Returns the blocks of the configs without those that make the factors of the others look dependent."""
    kept, blocks = leaves, PathBlocks(leaves)
    while outside := blocks.rare() or blocks.off_stars():
        kept = {config_id: own for config_id, own in kept.items() if config_id not in outside}
        if len(leaves) - len(kept) > most_outside(len(leaves)):
            return None
        blocks = PathBlocks(kept)
    return blocks


def _factors(blocks: PathBlocks, specs: Specs) -> list[Factor]:
    """Returns a factor for each block, with its levels as people read them."""
    changed = [star or dict.fromkeys(rows, collapsed(block)) for block, rows, star in blocks.blocks]
    every = dict.fromkeys(path for own in changed for paths in own.values() for path in paths)
    short = {path: path.rpartition(".")[2] for path in every}
    names = {path: name if list(short.values()).count(name) == 1 else path for path, name in short.items()}
    found = []
    for (block, rows, star), own in zip(blocks.blocks, changed, strict=True):
        by_row = first(rows, [specs[config_id] for config_id in blocks.ids])
        order = order_of(rows, star)
        levels = [Level("", "base", "base", "base")] if star else []
        for row in order[len(levels) :]:
            beside = [by_row[other] for other in order if other == order[0] or own[other] == own[row]]
            both = by_row[order[0]], by_row[row]
            texts = [", ".join(_text(one, path, block, beside) for path in own[row]) for one in both]
            levels.append(Level(", ".join(own[row]), _joined([names[path] for path in own[row]]), *texts))
        paths = tuple(dict.fromkeys(path for row in order for path in own[row]))
        found.append(Factor("one at a time" if star else levels[0].name, paths, tuple(levels), bool(star)))
    return found


def _joined(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{names[0]} etc."


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
