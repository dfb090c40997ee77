"""The factors of a suite, and which of its configs differ in one factor and nothing else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from harness.report.factors.suggestion import interaction_notes
from harness.report.numbers.differences import NOT_PART, at
from harness.spec.settings import Settings, apply, copied, label_of
from harness.suite.plan import Plan, Suite

Levels = tuple[str, ...]
"""Of one config: its value of each factor, as canonical JSON."""


@dataclass(frozen=True)
class Change:
    """A level of a factor beside the factor's first, or base, level.

    Attributes:
        factor: its dotted paths; those of a `zip` advance together.
        pairs: (config_id at the base level, config_id at this level), which differ in this factor alone.
    """

    factor: str
    base: str
    level: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Design:
    """The changes of a suite.

    Attributes:
        one_at_a_time: whether the suite changes the base in one factor each.
        alone: `factor: level` of those that no other config of the plan can be compared with.
        interactions: that they were not looked at, and the lines of a suite that would.
    """

    one_at_a_time: bool
    changes: tuple[Change, ...]
    alone: tuple[str, ...]
    interactions: tuple[str, ...] = ()


@dataclass(frozen=True)
class SuiteFactor:
    """A list of a suite, or the lists of a `zip` entry.

    Attributes:
        paths: what it sets, without a label.
        settings: its values, with the label that names them.
    """

    paths: tuple[str, ...]
    settings: tuple[Settings, ...]
    one_at_a_time: bool = False

    def inside(self, other: SuiteFactor) -> bool:
        """Tells whether the other factor replaces the section that this one's fields stand in."""
        return any(path.startswith(f"{outer}.") for path in self.paths for outer in other.paths)


def design_of(plans: Sequence[Plan], config_ids: Set[str]) -> Design | None:
    """Returns the design of a suite, or None where it has no two factors (`one_at_a_time`: no factor).

    Args:
        plans: of one suite, for each world size that configs without `num_processes` may have been run at.
        config_ids: the configs to speak of.
    """
    suite = plans[0].suite
    factors = factors_of(suite)
    one_at_a_time = any(factor.one_at_a_time for factor in factors)
    if not one_at_a_time and len(factors) < 2:
        return None  # the ranking says it all
    pairs: dict[tuple[str, str, str], dict[tuple[str, str], None]] = {}
    for plan in plans:
        for change, pair in _changes(plan, factors, config_ids):
            pairs.setdefault(change, {}).update({pair: None} if pair else {})
    order = [name_of(factor) for factor in factors]
    changes = [Change(*change, tuple(found)) for change, found in pairs.items() if found]
    changes.sort(key=lambda change: order.index(change.factor))
    alone = [f"{factor}: {level}" for (factor, _, level), found in pairs.items() if not found]
    singles = [path for factor in factors if factor.one_at_a_time for path in factor.paths]
    if not pairs:
        return None
    return Design(one_at_a_time, tuple(changes), tuple(alone), tuple(interaction_notes(suite, singles)))


def factors_of(suite: Suite) -> list[SuiteFactor]:
    """Returns what varies, without what `--set` pins and without lists of one value."""
    file = suite.file
    axes = [((path,), [{path: value} for value in values], False) for path, values in (file.matrix or {}).items()]
    axes += [
        (tuple(group), [dict(zip(group, row, strict=True)) for row in zip(*group.values(), strict=True)], False)
        for group in file.zip
    ]
    axes += [((path,), [{path: value} for value in values], True) for path, values in file.one_at_a_time.items()]
    factors = []
    for paths, settings, single in axes:
        # A label names the rows of a zip; it is nothing that they differ in.
        free = tuple(path for path in paths if path != "label" and not _pinned(path, suite.overrides))
        if free and (single or len(settings) > 1):
            named = ("label", *free) if "label" in paths else free
            kept = tuple({path: setting[path] for path in named} for setting in settings)
            factors.append(SuiteFactor(free, kept, single))
    return factors


def _pinned(path: str, overrides: Settings) -> bool:
    return any(path == pin or path.startswith(f"{pin}.") for pin in overrides)


def _changes(
    plan: Plan, factors: Sequence[SuiteFactor], config_ids: Set[str]
) -> Iterator[tuple[tuple[str, str, str], tuple[str, str] | None]]:
    """Yields (factor, base level, level) with a pair of configs, or with None for a config that has no counterpart."""
    suite, num_processes = plan.suite, plan.runs[0].spec.train.num_processes or 1
    origin = resolved(suite, {}, num_processes)
    base = levels_of(origin, factors)
    core = core_of(origin, factors)
    texts = {
        (index, levels_of(resolved(suite, setting, num_processes), factors)[index]): text_of(setting)
        for index, factor in enumerate(factors)
        for setting in factor.settings
    }
    cells: dict[Levels, tuple[str, str]] = {}
    for config_id, spec in plan.configs().items():
        dump = spec.model_dump(mode="json")
        if config_id in config_ids and core_of(dump, factors) == core:
            cells[levels_of(dump, factors)] = config_id, spec.label
    for levels, (config_id, label) in cells.items():
        for index, reset in _changed(levels, base, factors):
            factor = factors[index]
            partner = cells.get(tuple(base[i] if i in reset else level for i, level in enumerate(levels)))
            level = texts.get((index, levels[index]), label)
            change = name_of(factor), texts.get((index, base[index])) or _base_text(suite, factor, origin), level
            yield change, (partner[0], config_id) if partner else None


def _changed(levels: Levels, base: Levels, factors: Sequence[SuiteFactor]) -> Iterator[tuple[int, set[int]]]:
    """Yields each factor that is off its base level, and all to be reset in the counterpart.

    Of `one_at_a_time` just one may be off; where that replaces a section, what stands in it follows.
    """
    off = {index for index, level in enumerate(levels) if level != base[index]}
    single = {index for index in off if factors[index].one_at_a_time}
    outer = {i for i in single if not any(factors[i].inside(factors[other]) for other in single)}
    if len(outer) > 1:
        return
    for index in sorted(off - single | outer):
        yield index, single if index in outer else {index}


def resolved(suite: Suite, settings: Settings, num_processes: int) -> dict[str, Any]:
    """Returns the dumped config with the first value of every factor, but for the settings."""
    matrix = {path: values[:1] for path, values in (suite.file.matrix or {}).items()}
    matrix |= {path: values[:1] for group in suite.file.zip for path, values in group.items()}
    matrix |= {path: [value] for path, value in settings.items()}
    alone: dict[str, Any] = {"zip": [], "one_at_a_time": {}, "include": [], "exclude": [], "references": []}
    alone |= {"design": None, "target": None}
    file = suite.file.model_copy(update={**alone, "matrix": matrix or None})
    (spec,) = dataclasses.replace(suite, file=file).configs(num_processes).values()
    return spec.model_dump(mode="json")


def levels_of(dump: Mapping[str, Any], factors: Sequence[SuiteFactor]) -> Levels:
    """Returns the value of each factor; one inside another's section counts for itself alone."""
    paths = [path for factor in factors for path in factor.paths]
    levels = []
    for factor in factors:
        values = []
        for path in factor.paths:
            inner = [other.removeprefix(f"{path}.") for other in paths if other.startswith(f"{path}.")]
            values.append(_without(at(dump, path), inner))
        levels.append(json.dumps(values, sort_keys=True))
    return tuple(levels)


def core_of(dump: Mapping[str, Any], factors: Sequence[SuiteFactor]) -> Any:
    """Returns what the configs of the design have in common."""
    return _without(dump, [*NOT_PART, *(path for factor in factors for path in factor.paths)])


def _without(value: Any, paths: Sequence[str]) -> Any:
    if not isinstance(value, Mapping) or not paths:
        return value
    kept = {}
    for key, item in value.items():
        if key not in paths:
            kept[key] = _without(item, [path.removeprefix(f"{key}.") for path in paths if path.startswith(f"{key}.")])
    return kept


def name_of(factor: SuiteFactor) -> str:
    return ", ".join(factor.paths)


def text_of(settings: Settings) -> str:
    """Returns the values as labels have them, without the names of their fields; or the label."""
    if "label" in settings:
        return str(settings["label"])
    parts = ((path.rpartition(".")[2], label_of({path: value})) for path, value in settings.items())
    return ", ".join(text.removeprefix(f"{key}=") for key, text in parts)


def _base_text(suite: Suite, factor: SuiteFactor, origin: Mapping[str, Any]) -> str:
    """Returns the base's values: as they stand in the file, or the default."""
    values: Settings = {}
    apply(values, copied(suite.file.base))
    apply(values, {path: value for path, value in suite.overrides.items() if path != "seeds"})
    found: Settings = {}
    for path in factor.paths:
        value, default = at(values, path), at(origin, path)
        if value is None and isinstance(default, Mapping):
            value = default.get("name", "default")
        found[path] = default if value is None else value
    return text_of(found)
