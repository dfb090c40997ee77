"""The factors of a suite that are crossed with each other, and the cell that each config stands in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from harness.factorial.effects import Cell, Term, terms_of
from harness.report.factors.design import SuiteFactor, core_of, factors_of, levels_of, resolved, text_of
from harness.suite.plan import Plan

# Beyond, a factor has more pairs of levels than a few seeds can tell apart: see `Crossing.readable`.
MOST_LEVELS = 8


@dataclass(frozen=True)
class Factor:
    """A factor of a crossing.

    Attributes:
        paths: what it sets.
        levels: its values as people read them, in the order of the suite.
        numbers: the same as numbers, where they are.
        block: averaged over, without an effect of its own.
    """

    paths: tuple[str, ...]
    levels: tuple[str, ...]
    numbers: tuple[float, ...] | None = None
    block: bool = False


@dataclass(frozen=True)
class Crossing:
    """Factors whose levels are combined.

    Attributes:
        cells: of every planned config that differs from the others in these factors alone, by config_id.
        factor: the one whose effects are asked for; None for all.
        notes: what was done to the factors to make them readable.
    """

    factors: tuple[Factor, ...]
    cells: Mapping[str, Cell]
    factor: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def levels(self) -> tuple[int, ...]:
        """How many each factor has."""
        return tuple(len(factor.levels) for factor in self.factors)

    def terms(self) -> list[Term]:
        """Returns the effects that a model of these cells has."""
        blocks = frozenset(index for index, factor in enumerate(self.factors) if factor.block)
        return terms_of(self.levels, blocks)

    def wanted(self) -> list[Term]:
        """Returns the effects that are asked for."""
        asked = [term for term in self.terms() if self.factor is None or self.factor in term]
        return [term for term in asked if not any(self.factors[index].block for index in term)]

    def names(self) -> list[str]:
        """Returns the names of the factors: the last part of the path where that tells them apart."""
        paths = [path for factor in self.factors for path in factor.paths]
        short = [path.rpartition(".")[2] for path in paths]
        shown = {path: name if short.count(name) == 1 else path for path, name in zip(paths, short, strict=True)}
        return [_joined([shown[path] for path in factor.paths]) for factor in self.factors]

    def readable(self) -> Crossing:
        """Returns the crossing with factors of at most `MOST_LEVELS` levels.

        More numbers become two levels, their lower and upper half, and the middle one of an odd count is left out; more
        values without an order are averaged over.
        """
        crossing = self
        for index, (factor, name) in enumerate(zip(self.factors, self.names(), strict=True)):
            count = len(factor.levels)
            if count <= MOST_LEVELS:
                continue
            if factor.numbers is None:
                note = f"{name}: {count} values without an order are averaged over; the ranking tells them apart."
                crossing = crossing._with(index, replace(factor, block=True), list(range(count)), note)
                continue
            order = sorted(range(count), key=factor.numbers.__getitem__)
            half: list[int | None] = [None] * count
            for place, level in enumerate(order):
                half[level] = None if count % 2 and place == count // 2 else int(place >= count / 2)
            ends = [factor.levels[order[i]] for i in (0, count // 2 - 1, -(count // 2), -1)]
            texts = f"{ends[0]} to {ends[1]}", f"{ends[2]} to {ends[3]}"
            middle = f", and {factor.levels[order[count // 2]]} left out" if count % 2 else ""
            note = f"{name}: its {count} numbers are taken as two levels, their lower and upper half{middle}."
            crossing = crossing._with(index, Factor(factor.paths, texts), half, note)
        return crossing

    def _with(self, index: int, factor: Factor, level: Sequence[int | None], note: str) -> Crossing:
        """Returns the crossing with another factor in one's place; a level that becomes None leaves its configs out."""
        cells = {
            config_id: tuple(new if at == index else old for at, old in enumerate(cell))
            for config_id, cell in self.cells.items()
            if (new := level[cell[index]]) is not None
        }
        factors = tuple(factor if at == index else old for at, old in enumerate(self.factors))
        return replace(self, factors=factors, cells=cells, notes=(*self.notes, note))


def crossings_of(plans: Sequence[Plan], config_ids: Set[str]) -> list[Crossing]:
    """Returns the crossings of a suite whose effects are to be estimated; none where nothing is crossed.

    Of `matrix` and `zip` it is one of all factors. What `one_at_a_time` changes is crossed with the lists of `zip`
    alone: each of its factors is a crossing with them, where all others of its kind are at the base.

    Args:
        plans: of one suite, for each world size that configs without `num_processes` may have been run at; several
            sizes are a factor, too.
        config_ids: the configs to speak of.
    """
    several = [plan for plan in plans if any(run.config_id in config_ids for run in plan.runs)]
    found = [list(_crossings(plan, config_ids)) for plan in several]
    if len(several) <= 1:
        return found[0] if found else []
    sizes = [plan.runs[0].spec.train.num_processes or 1 for plan in several]
    size = Factor(("train.num_processes",), tuple(map(str, sizes)), tuple(map(float, sizes)))
    return [
        replace(
            parts[0],
            factors=(*parts[0].factors, size),
            cells={i: (*cell, at) for at, part in enumerate(parts) for i, cell in part.cells.items()},
        )
        for parts in zip(*found, strict=True)
    ]


def _crossings(plan: Plan, config_ids: Set[str]) -> Iterator[Crossing]:
    factors = factors_of(plan.suite)
    crossed = [index for index, factor in enumerate(factors) if not factor.one_at_a_time]
    singles = [index for index, factor in enumerate(factors) if factor.one_at_a_time]
    if len(crossed) + bool(singles) < 2:
        return
    num_processes = plan.runs[0].spec.train.num_processes or 1
    origin = resolved(plan.suite, {}, num_processes)
    base, core = levels_of(origin, factors), core_of(origin, factors)
    values = [_values(plan, factors, index, num_processes, base) for index in range(len(factors))]
    dumps = {i: spec.model_dump(mode="json") for i, spec in plan.configs().items() if i in config_ids}
    cells: dict[str, Cell] = {}
    for config_id, dump in dumps.items():
        levels = levels_of(dump, factors) if core_of(dump, factors) == core else ()
        if levels and all(level in values[index] for index, level in enumerate(levels)):
            cells[config_id] = tuple(list(values[index]).index(level) for index, level in enumerate(levels))
    made = [_factor(factor, values[index]) for index, factor in enumerate(factors)]
    if not singles:
        yield Crossing(tuple(made), cells)
        return
    # Of a section and a field inside it that change together, the section is the factor.
    changed = {i: [at for at in singles if cell[at]] for i, cell in cells.items()}
    rows = tuple(made[index] for index in crossed)
    for index in crossed:
        kept = {i: tuple(cell[at] for at in crossed) for i, cell in cells.items()}
        yield Crossing(rows, kept, factor=crossed.index(index))
    for index in singles:
        kept = {i: cell for i, cell in cells.items() if set(changed[i]) <= {index}}
        picked = {i: (*(cell[at] for at in crossed), cell[index]) for i, cell in kept.items()}
        yield Crossing((*rows, made[index]), picked, factor=len(rows))


def _joined(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) <= 2 else f"{names[0]} etc."


def _values(
    plan: Plan, factors: Sequence[SuiteFactor], index: int, num_processes: int, base: Sequence[str]
) -> dict[str, str]:
    """Returns the texts of a factor's levels by their values, in the order of the suite, the base's first."""
    factor = factors[index]
    texts = {base[index]: _base_text(base[index])} if factor.one_at_a_time else {}
    for setting in factor.settings:
        dump = resolved(plan.suite, setting, num_processes)
        texts.setdefault(levels_of(dump, factors)[index], text_of(setting))
    return texts


def _base_text(level: str) -> str:
    values: list[Any] = [value.get("name", value) if isinstance(value, dict) else value for value in json.loads(level)]
    return text_of({f"value{at}": value for at, value in enumerate(values)})


def _factor(factor: SuiteFactor, values: Mapping[str, str]) -> Factor:
    parsed = [json.loads(level) for level in values]
    numbers = [value[0] for value in parsed if len(value) == 1 and isinstance(value[0], int | float)]
    plain = len(numbers) == len(values) and not any(isinstance(number, bool) for number in numbers)
    return Factor(factor.paths, tuple(values.values()), tuple(map(float, numbers)) if plain else None)
