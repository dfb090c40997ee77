"""The factors of a suite: the lists that its file declares, as `suite.json` keeps them beside the results.

Each list of `matrix`, each group of `zip` and all of `one_at_a_time` is a factor. What `include` adds is none of their
levels; neither are configs that differ in anything else.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.results.question import DeclaredFactor
from harness.results.unplanned import as_json, flat_identity
from harness.spec.settings import label_of, value_at
from harness.statistics.effects import CellModel

Specs = Mapping[str, Mapping[str, Any]]
WORLD_SIZE = "train.num_processes"  # a factor, too, where configs that name none ran at several


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
        levels: the first is the one that the others are compared with, of a star the base.
        is_star: whether each level changes one of several paths, and nothing else.
    """

    name: str
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


def design_of(specs: Specs, declared: Sequence[DeclaredFactor]) -> Design | None:
    """Returns the design of some configs; None where one factor alone varies, unless by changes one at a time.

    Args:
        specs: the configs by config_id, in the order of the suite: a factor's first level is that of the first config.
    """
    leaves = {config_id: _leaves(spec) for config_id, spec in specs.items()}
    paths = dict.fromkeys(path for own in leaves.values() for path in own)
    varying = [path for path in paths if len({own.get(path) for own in leaves.values()}) > 1]
    if WORLD_SIZE in varying and not any(WORLD_SIZE in one.paths for one in declared):
        sizes = len({own.get(WORLD_SIZE) for own in leaves.values()})
        declared = [DeclaredFactor(paths=[WORLD_SIZE], levels=sizes), *declared]
    settings = [path for one in declared for path in one.paths]
    setting = {leaf: _covering([leaf], settings) for leaf in varying}
    first = next(iter(leaves.values()), {})
    # What no list declares, or declares no more levels of, is of `include`, whose configs come last.
    ids = [i for i, own in leaves.items() if all(setting[leaf] or own.get(leaf) == first.get(leaf) for leaf in varying)]
    found: list[tuple[DeclaredFactor, list[str], dict[str, int]]] = []
    for one in declared:
        block = [leaf for leaf in varying if setting[leaf] in one.paths]
        if one.one_at_a_time:
            changed = {i: [leaf for leaf in block if leaves[i].get(leaf) != first.get(leaf)] for i in ids}
            ids = [i for i in ids if not changed[i] or _covering(changed[i], one.paths)]
        numbers: dict[tuple[str | None, ...], int] = {}
        rows = {i: numbers.setdefault(tuple(map(leaves[i].get, block)), len(numbers)) for i in ids}
        ids = [i for i in ids if rows[i] < one.levels]
        found.append((one, block, rows))
    names = {path: path.rpartition(".")[2] for path in settings}
    names = {path: name if list(names.values()).count(name) == 1 else path for path, name in names.items()}
    factors, cells = [], []
    for one, block, rows in found:
        levels = sorted({rows[i] for i in ids})
        if len(levels) > 1:
            own = [specs[next(i for i in ids if rows[i] == row)] for row in levels]
            factors.append(_factor(one, block, own, names))
            cells.append([levels.index(rows[i]) for i in ids])
    if len(factors) < 2 and not any(factor.is_star for factor in factors):
        return None
    return Design(tuple(factors), dict(zip(ids, zip(*cells, strict=True), strict=True)))


def _leaves(spec: Mapping[str, Any]) -> dict[str, str]:
    """Returns the values that identify a config as JSON, by dotted path."""
    return {path: as_json(value) for path, value in flat_identity(spec)}


def _covering(leaves: Sequence[str], settings: Sequence[str]) -> str:
    """Returns the longest of the settings that all of the leaves are of; empty where there is none."""
    every = (path for path in settings if all(leaf == path or leaf.startswith(f"{path}.") for leaf in leaves))
    return max(every, key=len, default="")


def _factor(
    declared: DeclaredFactor, block: Sequence[str], specs: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> Factor:
    """Returns a factor with its levels as people read them.

    Args:
        block: the leaves that are its own.
        specs: a config of each level.
    """
    star, leaves = declared.one_at_a_time, [_leaves(spec) for spec in specs]
    varied = [path for path in declared.paths if any(_covering([leaf], [path]) for leaf in block)]
    changed = [varied] * len(specs)
    if star:
        differing = [[leaf for leaf in block if own.get(leaf) != leaves[0].get(leaf)] for own in leaves[1:]]
        changed = [[], *([_covering(own, declared.paths)] for own in differing)]
    levels = [Level("", "base", "base", "base")] if star else []
    for spec, paths in list(zip(specs, changed, strict=True))[len(levels) :]:
        beside = [other for other, own in zip(specs, changed, strict=True) if own in ([], paths)]
        texts = [", ".join(_text(one, path, block, beside) for path in paths) for one in (specs[0], spec)]
        levels.append(Level(", ".join(paths), _joined([names[path] for path in paths]), *texts))
    return Factor("one at a time" if star else levels[0].name, tuple(levels), star)


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
