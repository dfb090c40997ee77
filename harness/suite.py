"""A suite file -> its configs -> the plan: the ordered runs."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from harness.errors import HarnessError, nearest
from harness.records.result import metric_names
from harness.spec import (
    PLUGIN_SECTIONS,
    DataSection,
    RunSpec,
    Section,
    Seed,
    SpecError,
    first_problem,
    parse_run_spec,
    run_id,
    shown,
)
from harness.yaml_lines import Source, SuiteError, parse_value, read_yaml

Settings = dict[str, Any]
"""Dotted paths of a RunSpec and their values, e.g. {"train.epochs": 5}."""


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed stands twice")
    return seeds


Count = Annotated[int, Field(gt=0, le=10_000)]
Seeds = Count | Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]
# What is evaluated during a run, and is the better the larger it is.
TARGETS = [name for name in metric_names() if name.startswith(("validation.", "test.")) and not name.endswith(".loss")]


class Target(Section):
    """An accuracy to reach; the time until then is a column."""

    metric: str
    at_least: float


class Reference(Section):
    """A published number of the configs that `match`."""

    match: Settings = Field(min_length=1)
    metric: str
    value: float
    source: str = Field(min_length=1)


class SuiteFile(Section):
    """The fields of a suite file; docs/suites.md describes them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    description: str = ""
    base: dict[str, Any] = {}
    matrix: dict[str, list[Any]] | None = None
    zip: list[dict[str, list[Any]]] = []
    one_at_a_time: dict[str, list[Any]] = {}
    include: list[Settings] = []
    exclude: list[Settings] = []
    seeds: Seeds = 1
    target: Target | None = None
    references: list[Reference] = []


@dataclass(frozen=True)
class Variation:
    """What one config changes in the base, and where in the file that stands."""

    settings: Settings
    origins: tuple[tuple[str | int, ...], ...] = ()


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan."""

    spec: RunSpec
    config_id: str
    run_id: str
    fingerprint: str


@dataclass(frozen=True)
class Plan:
    """The runs of a suite in the order in which they are to be run."""

    suite: Suite
    runs: tuple[PlannedRun, ...]

    def configs(self) -> dict[str, RunSpec]:
        """Returns one spec for each config, by config_id."""
        return {run.config_id: run.spec for run in reversed(self.runs)}

    def references(self) -> dict[str, list[Reference]]:
        """Returns the references of each config, by config_id."""
        dumps = {config_id: spec.model_dump(mode="json") for config_id, spec in self.configs().items()}
        wanted = self.suite.file.references
        return {i: [ref for ref in wanted if matches(ref.match, dump)] for i, dump in dumps.items()}


@dataclass(frozen=True)
class Suite:
    """A validated suite file with the overrides of the command line."""

    source: Source
    file: SuiteFile
    overrides: Settings = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The suite's name: the folder of its results."""
        return self.file.name

    def seeds(self) -> list[int]:
        """Returns the seeds; a count n stands for 0 to n-1."""
        seeds = self.overrides.get("seeds", self.file.seeds)
        return list(range(seeds)) if isinstance(seeds, int) else list(seeds)

    def configs(self, num_processes: int = 1) -> dict[str, RunSpec]:
        """Returns the configs by config_id, in the order of the file.

        Args:
            num_processes: the world size of configs that do not name one.

        Raises:
            SuiteError: a config is invalid, stands twice, or an exclusion or reference matches none.
        """
        every = [(self._resolve(variation, num_processes), variation) for variation in self._variations()]
        matching = self.file.exclude or self.file.references
        dumps = [spec.model_dump(mode="json") for spec, _ in every] if matching else [{} for _ in every]
        excluded = [any(matches(match, dump) for match in self.file.exclude) for dump in dumps]
        if all(excluded):
            raise self.source.error(("exclude",), "every run is excluded", "loosen 'exclude'")
        if not self.overrides:  # overrides may rightly leave nothing to exclude or to compare with
            for index, match in enumerate(self.file.exclude):
                self._require_match(("exclude", index), match, dumps)
            kept = [dump for dump, out in zip(dumps, excluded, strict=True) if not out]
            for index, reference in enumerate(self.file.references):
                self._require_match(("references", index, "match"), reference.match, kept)
        specs = self._without_twins([found for found, out in zip(every, excluded, strict=True) if not out])
        if self.file.target and self.file.target.metric.startswith("validation."):
            for spec in specs.values():
                if not spec.data.validation:
                    message = f"the target is on the validation split, and '{spec.label}' has none"
                    raise self.source.error(("target", "metric"), message, "set data.validation, e.g. to 0.1")
        return specs

    def plan(
        self,
        fingerprint: Callable[[DataSection], str],
        *,
        num_processes: int = 1,
        only: Sequence[str] = (),
    ) -> Plan:
        """Returns the runs, interleaved by seed, so that a machine's drift falls on every config alike.

        Args:
            fingerprint: gives the identity of a dataset's content.
            num_processes: the world size of configs that do not name one.
            only: selections such as `label=best`; different paths must all hold, of one path any.
        """
        selection = _parse_only(only)
        configs = self.configs(num_processes)
        wanted_seeds = selection.pop("seed", None)
        seeds = [seed for seed in self.seeds() if wanted_seeds is None or seed in wanted_seeds]
        chosen = configs
        if selection:
            dumps = {config_id: spec.model_dump(mode="json") for config_id, spec in configs.items()}
            for path in selection:
                _require_field(f"--only {path}", path, dumps.values())
            chosen = {config_id: configs[config_id] for config_id, dump in dumps.items() if _selected(selection, dump)}
        if not chosen or not seeds:
            labels = ", ".join(sorted({spec.label for spec in configs.values()})[:20])
            raise HarnessError(f"--only {' '.join(only)} selects no run", f"labels: {labels}; seeds: {self.seeds()}")
        parts = [(spec, config_id, fingerprint(spec.data)) for config_id, spec in chosen.items()]
        runs = (
            PlannedRun(spec.model_copy(update={"seed": seed}), config_id, run_id(config_id, seed, print_), print_)
            for seed in seeds
            for spec, config_id, print_ in parts
        )
        return Plan(self, tuple(runs))

    def _variations(self) -> Iterator[Variation]:
        file = self.file
        axes = [
            [Variation({path: value}, (("matrix",),)) for value in values]
            for path, values in (file.matrix or {}).items()
            if not self._pinned(path)
        ]
        for index, group in enumerate(file.zip):
            free = {path: values for path, values in group.items() if not self._pinned(path)}
            rows = [dict(zip(free, row, strict=True)) for row in zip(*free.values(), strict=True)]
            axes += [[Variation(row, (("zip", index),)) for row in rows]] if free else []
        if file.one_at_a_time:
            single = [
                Variation({path: value}, (("one_at_a_time",),))
                for path, values in file.one_at_a_time.items()
                if not self._pinned(path)
                for value in values
            ]
            axes.append([Variation({}), *single])
        if axes or file.matrix or file.zip or not file.include:
            for parts in itertools.product(*axes):
                settings = {path: value for part in parts for path, value in part.settings.items()}
                label = _label(settings)
                if not label and file.one_at_a_time:
                    label = "base"
                yield Variation(
                    {"label": label, **settings}, tuple(origin for part in parts for origin in part.origins)
                )
        for index, entry in enumerate(file.include):
            settings = {path: value for path, value in entry.items() if not self._pinned(path)}
            yield Variation({"label": _label(settings), **settings}, (("include", index),))

    def _pinned(self, path: str) -> bool:
        return any(path == pin or path.startswith(f"{pin}.") for pin in self.overrides)

    @functools.cached_property
    def _base(self) -> Settings:
        values: Settings = {}
        _apply(values, self.file.base)
        return values

    def _resolve(self, variation: Variation, num_processes: int) -> RunSpec:
        values = _copied(self._base)
        _apply(values, variation.settings)
        _apply(values, {path: value for path, value in self.overrides.items() if path != "seeds"})
        try:
            if isinstance(values.get("train", {}), dict):
                train = values.setdefault("train", {})
                if train.get("num_processes") is None:
                    train["num_processes"] = num_processes
            if "seed" in values:
                raise SpecError(("seed",), "'seed' is not set in a config", "use 'seeds' at the top of the suite")
            if "label" in self.file.base:
                raise SpecError(("label",), "'label' is not set in the base", "give it to configs of 'include'")
            spec = parse_run_spec(values)
            _check_label(spec.label)
            _check_batch(spec)
        except SpecError as error:
            raise self._locate(error, variation) from None
        return spec if spec.label else spec.model_copy(update={"label": spec.model.name})

    def _locate(self, error: SpecError, variation: Variation) -> HarnessError:
        dotted = ".".join(map(str, error.path))
        for pin in self.overrides:
            if dotted == pin or dotted.startswith(f"{pin}.") or pin.startswith(f"{dotted}."):
                return HarnessError(f"--set {pin}: {error.message}", error.hint)
        varied = any(dotted == path or dotted.startswith(f"{path}.") for path in variation.settings)
        origins = variation.origins if varied and variation.origins else (*variation.origins, ("base",))
        candidates = [(*origin, *error.path) for origin in origins]
        best = max(candidates, key=lambda path: self.source.depth(path) - (path[0] in ("zip", "include")))
        return self.source.error(best, error.message, error.hint)

    def _require_match(self, where: tuple[str | int, ...], match: Settings, dumps: list[dict[str, Any]]) -> None:
        if not any(matches(match, dump) for dump in dumps):
            for path in match:
                _require_field(f"{self.source.path}:{self.source.line((*where, path))}: {where[0]}", path, dumps)
            entry = "an exclusion" if where[0] == "exclude" else "a reference"
            message = f"{entry} matches no run: {shown(match)}"
            raise self.source.error(where, message, "compare it with the output of `harness plan --json`")

    def _without_twins(self, found: list[tuple[RunSpec, Variation]]) -> dict[str, RunSpec]:
        by_id: dict[str, RunSpec] = {}
        by_label: dict[str, RunSpec] = {}
        for spec, variation in found:
            line = variation.origins[-1] if variation.origins else ("base",)
            twin = by_id.setdefault(spec.config_id(), spec)
            if twin is not spec:
                if self.overrides:  # `--set train.epochs=1` may rightly make two configs one
                    continue
                message = f"two runs with the same identity: '{twin.label}' and '{spec.label}'"
                raise self.source.error(line, message, "they differ in nothing but their label: leave one out")
            if by_label.setdefault(spec.label, spec) is not spec:
                message = f"the label '{spec.label}' stands for two configs"
                raise self.source.error(line, message, "give each a label of its own")
        return by_id


def load_suite(path: Path, overrides: Sequence[str] = ()) -> Suite:
    """Reads and checks a suite file.

    Args:
        path: the YAML file.
        overrides: assignments such as `train.epochs=5`, each the last word on its path.

    Raises:
        SuiteError: with file, line, the field and a hint.
    """
    source = read_yaml(path)
    try:
        file = SuiteFile.model_validate_json(json.dumps(source.values, default=str))
    except ValidationError as error:
        raise _file_error(source, error) from None
    suite = Suite(source, file, _parse_overrides(overrides))
    _check_axes(source, file)
    if file.target:
        _check_metric(source, ("target",), file.target.metric, TARGETS)
    for index, reference in enumerate(file.references):
        _check_metric(source, ("references", index), reference.metric, metric_names())
    return suite


def matches(match: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Tells whether a dumped RunSpec has all the values of `match` (dotted paths; a mapping may be partial)."""
    return all(_holds(_get(spec, path), wanted) for path, wanted in match.items())


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(_holds(_get(value, key), item) for key, item in wanted.items())
    if isinstance(value, Mapping):  # `model: resnet18` stands for {name: resnet18}
        return value.get("name") == wanted
    if wanted is False and value == "no":
        return True
    if isinstance(value, list | tuple) and isinstance(wanted, list | tuple):
        return list(value) == list(wanted)
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _get(values: Any, path: str) -> Any:
    for part in path.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _apply(values: Settings, settings: Settings) -> None:
    # A whole section before its parts, wherever in the file they stand.
    for path, value in sorted(settings.items(), key=lambda setting: setting[0].count(".")):
        _set(values, path, _copied(value))


def _copied(value: Any) -> Any:
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        inner = values.get(part)
        if not isinstance(inner, dict):
            inner = {"name": inner} if isinstance(inner, str) and part in PLUGIN_SECTIONS else {}
            values[part] = inner
        values = inner
    values[last] = value


def _label(settings: Settings) -> str:
    """Names a config by what it changes: values that are names alone, others as `key=value`."""
    short = {path: path.rpartition(".")[2] for path in settings}
    parts = []
    for path, value in settings.items():
        if path == "label":
            return str(value)
        if path in PLUGIN_SECTIONS or path.endswith(".name"):
            parts.append(_describe(value))
        else:
            key = short[path] if list(short.values()).count(short[path]) == 1 else path
            parts.append(f"{key}={_describe(value)}")
    return ", ".join(parts)


def _describe(value: Any) -> str:
    if isinstance(value, Mapping):
        rest = [f"{key}={_describe(item)}" for key, item in value.items() if key != "name"]
        return " ".join([*([str(value["name"])] if "name" in value else []), *rest])
    return "no" if value is False else json.dumps(value).strip('"') if value is not True else "yes"


def _parse_overrides(overrides: Sequence[str]) -> Settings:
    settings: Settings = {}
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise HarnessError(f"--set {text} is no assignment", "write --set train.epochs=5")
        root = path.partition(".")[0]
        valid = [*(name for name in RunSpec.model_fields if name not in ("seed", "label")), "seeds"]
        if root not in valid:
            raise HarnessError(f"--set {path}: unknown field '{root}'", nearest(root, valid))
        settings[path] = parse_value(value)
    if "seeds" in settings:
        try:
            TypeAdapter(Seeds).validate_python(settings["seeds"], strict=True)
        except ValidationError:
            message = f"--set seeds={shown(settings['seeds'])}: not a count or a list of distinct seeds"
            raise HarnessError(message, "write --set seeds=3 or --set 'seeds=[0, 5]'") from None
    return settings


def _parse_only(only: Sequence[str]) -> dict[str, list[Any]]:
    selection: dict[str, list[Any]] = {}
    for text in only:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise HarnessError(f"--only {text} is no selection", "write --only label=best or --only seed=0")
        selection.setdefault(path, []).append(value if path == "label" else parse_value(value))
    return selection


def _selected(selection: dict[str, list[Any]], dump: Settings) -> bool:
    return all(any(matches({path: value}, dump) for value in values) for path, values in selection.items())


def _check_axes(source: Source, file: SuiteFile) -> None:
    if "matrix" in source.values and not file.matrix:
        raise source.error(("matrix",), "the matrix is empty", "give it a path and values, or leave it out")
    if file.matrix and file.one_at_a_time:
        hint = "use matrix for the full product or one_at_a_time for single changes"
        raise source.error(("one_at_a_time",), "matrix and one_at_a_time exclude each other", hint)
    groups = [(("matrix",), file.matrix or {}), (("one_at_a_time",), file.one_at_a_time)]
    groups += [(("zip", index), group) for index, group in enumerate(file.zip)]
    taken: set[str] = set()
    for where, axes in groups:
        for path, values in axes.items():
            if not values:
                raise source.error((*where, path), f"'{path}' has no values", "list at least one")
            if path in taken:
                raise source.error((*where, path), f"'{path}' is varied twice", "vary it in one place")
            taken.add(path)
    for index, group in enumerate(file.zip):
        if not group:
            raise source.error(("zip", index), "a group of 'zip' is empty", "give it paths and values")
        lengths = {path: len(values) for path, values in group.items()}
        if len(set(lengths.values())) != 1:
            raise source.error(("zip", index), f"zipped lists differ in length: {lengths}", "give each as many values")


def _check_metric(source: Source, path: tuple[str | int, ...], name: str, known: list[str]) -> None:
    if name not in known:
        raise source.error((*path, "metric"), f"unknown metric '{name}'", nearest(name, known))


def _require_field(where: str, path: str, dumps: Iterable[Settings]) -> None:
    known = {found for dump in dumps for found in _paths(dump)}
    if known and path not in known:
        raise HarnessError(f"{where}: no config has a field '{path}'", nearest(path, known))


def _paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")


def _check_label(label: str) -> None:
    if not label.isprintable():
        raise SpecError(("label",), f"the label {shown(label)} has control characters", "it stands in tables")


def _check_batch(spec: RunSpec) -> None:
    train = spec.train
    slots = (train.num_processes or 1) * train.gradient_accumulation_steps
    if train.global_batch_size % slots:
        message = f"global_batch_size {train.global_batch_size} does not divide into {slots} equal micro-batches"
        hint = "num_processes x gradient_accumulation_steps must divide it"
        raise SpecError(("train", "global_batch_size"), message, hint)


def _file_error(source: Source, error: ValidationError) -> SuiteError:
    first, path, wanted = first_problem(error, source.values)
    last = str(path[-1])
    if first["type"] == "extra_forbidden":
        model = {"references": Reference, "target": Target}.get(str(path[0]), SuiteFile)
        return source.error(path, f"unknown field '{last}'", nearest(last, model.model_fields))
    if first["type"] == "missing":
        return source.error(path, f"'{last}' is missing", f"add {last}")
    if path[0] == "seeds":
        wanted = "write a count such as 3, or a list of distinct seeds such as [0, 5]"
    if path[0] == "name":
        hint = "use up to 64 letters, digits, '_', '-' and '.', beginning with a letter or digit"
        return source.error(("name",), f"the name {json.dumps(source.values.get('name'))[:80]} is no folder name", hint)
    return source.error(path, f"{'.'.join(map(str, path))} is {shown(first['input'])}", wanted)
