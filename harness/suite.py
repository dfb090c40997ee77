"""A suite file -> its configs -> the plan: the ordered runs."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from harness.errors import HarnessError, nearest
from harness.records.result import metric_names
from harness.spec import PLUGIN_SECTIONS, DataSection, RunSpec, Section, SpecError, parse_run_spec, run_id
from harness.yaml_lines import Source, SuiteError, parse_value, read_yaml

Settings = dict[str, Any]
"""Dotted paths of a RunSpec and their values, e.g. {"train.epochs": 5}."""


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
    seeds: Annotated[int, Field(gt=0)] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = 1
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

    def configs(self, num_processes: int = 1) -> list[RunSpec]:
        """Returns the configs in the order of the file.

        Args:
            num_processes: the world size of configs that do not name one.

        Raises:
            SuiteError: a config is invalid, stands twice, or an exclusion or reference matches none.
        """
        specs: list[RunSpec] = []
        excluded_by: set[int] = set()
        for variation in self._variations():
            spec = self._resolve(variation, num_processes)
            hits = {i for i, match in enumerate(self.file.exclude) if matches(match, spec.model_dump(mode="json"))}
            excluded_by |= hits
            if not hits:
                specs.append(spec)
        if not specs:
            raise self.source.error(("exclude",), "every run is excluded", "loosen 'exclude'")
        if not self.overrides:  # overrides may rightly leave nothing to exclude or to compare with
            self._require_used("exclude", excluded_by)
            dumps = [spec.model_dump(mode="json") for spec in specs] if self.file.references else []
            used = (i for i, ref in enumerate(self.file.references) if any(matches(ref.match, d) for d in dumps))
            self._require_used("references", set(used))
        self._refuse_twins(specs)
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
        configs = [(spec, spec.config_id()) for spec in self.configs(num_processes)]
        runs = [
            PlannedRun(spec.model_copy(update={"seed": seed}), config_id, run_id(config_id, seed, print_), print_)
            for seed in self.seeds()
            for spec, config_id in configs
            for print_ in (fingerprint(spec.data),)
        ]
        if selection:
            labels = sorted({run.spec.label for run in runs})
            runs = [run for run in runs if _selected(selection, run.spec)]
            if not runs:
                raise HarnessError(f"--only {' '.join(only)} selects no run", f"labels: {', '.join(labels[:20])}")
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

    def _resolve(self, variation: Variation, num_processes: int) -> RunSpec:
        values: dict[str, Any] = {}
        overrides = {path: value for path, value in self.overrides.items() if path != "seeds"}
        for settings in (self.file.base, variation.settings, overrides):
            for path, value in settings.items():
                _set(values, path, copy.deepcopy(value) if isinstance(value, dict | list) else value)
        try:
            if isinstance(values.get("train", {}), dict):
                train = values.setdefault("train", {})
                train["num_processes"] = train.get("num_processes") or num_processes
            if "seed" in values:
                raise SpecError(("seed",), "'seed' is not set in a config", "use 'seeds' at the top of the suite")
            spec = parse_run_spec(values)
        except SpecError as error:
            raise self._locate(error, variation) from None
        _check_batch(self.source, spec)
        return spec if spec.label else spec.model_copy(update={"label": spec.model.name})

    def _locate(self, error: SpecError, variation: Variation) -> HarnessError:
        dotted = ".".join(map(str, error.path))
        for pin in self.overrides:
            if dotted == pin or dotted.startswith(f"{pin}.") or pin.startswith(f"{dotted}."):
                return HarnessError(f"--set {pin}: {error.message}", error.hint)
        candidates = [(*origin, *error.path) for origin in (*variation.origins, ("base",))]
        best = max(candidates, key=lambda path: self.source.depth_and_line(path)[0] - (path[0] in ("zip", "include")))
        return self.source.error(best, error.message, error.hint)

    def _require_used(self, field: str, used: set[int]) -> None:
        for index, entry in enumerate(getattr(self.file, field)):
            if index not in used:
                match = entry if field == "exclude" else entry.match
                message = (
                    f"{'an exclusion' if field == 'exclude' else 'a reference'} matches no run: {json.dumps(match)}"
                )
                raise self.source.error((field, index), message, "compare it with the output of `harness plan`")

    def _refuse_twins(self, specs: list[RunSpec]) -> None:
        by_id: dict[str, RunSpec] = {}
        by_label: dict[str, RunSpec] = {}
        for spec in specs:
            twin = by_id.setdefault(spec.config_id(), spec)
            if twin is not spec:
                message = f"two runs with the same identity: '{twin.label}' and '{spec.label}'"
                raise self.source.error(("matrix",), message, "they differ in nothing but their label: leave one out")
            if by_label.setdefault(spec.label, spec) is not spec:
                message = f"the label '{spec.label}' stands for two configs"
                raise self.source.error(("include",), message, "give each a label of its own")


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
    known = metric_names()
    for field in [("target",)] if file.target else []:
        _check_metric(source, field, file.target.metric if file.target else "", known)
    for index, reference in enumerate(file.references):
        _check_metric(source, ("references", index), reference.metric, known)
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
    seeds = settings.get("seeds", 1)
    count = isinstance(seeds, int) and not isinstance(seeds, bool) and seeds > 0
    if not count and not (isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)):
        raise HarnessError(f"--set seeds={seeds}: not a count or a list", "write --set seeds=3 or --set 'seeds=[0, 5]'")
    return settings


def _parse_only(only: Sequence[str]) -> dict[str, list[Any]]:
    selection: dict[str, list[Any]] = {}
    for text in only:
        path, equals, value = text.partition("=")
        if not equals:
            raise HarnessError(f"--only {text} is no selection", "write --only label=best or --only seed=0")
        selection.setdefault(path, []).append(value if path == "label" else parse_value(value))
    return selection


def _selected(selection: dict[str, list[Any]], spec: RunSpec) -> bool:
    dump = spec.model_dump(mode="json")
    return all(any(matches({path: value}, dump) for value in values) for path, values in selection.items())


def _check_axes(source: Source, file: SuiteFile) -> None:
    if file.matrix is not None and not file.matrix:
        raise source.error(("matrix",), "the matrix is empty", "give it a path and values, or leave it out")
    if file.matrix and file.one_at_a_time:
        hint = "use matrix for the full product or one_at_a_time for single changes"
        raise source.error(("one_at_a_time",), "matrix and one_at_a_time exclude each other", hint)
    groups = [(("matrix",), file.matrix or {}), (("one_at_a_time",), file.one_at_a_time)]
    groups += [(("zip", index), group) for index, group in enumerate(file.zip)]
    for where, axes in groups:
        for path, values in axes.items():
            if not values:
                raise source.error((*where, path), f"'{path}' has no values", "list at least one")
    for index, group in enumerate(file.zip):
        lengths = {path: len(values) for path, values in group.items()}
        if len(set(lengths.values())) != 1:
            raise source.error(("zip", index), f"zipped lists differ in length: {lengths}", "give each as many values")


def _check_metric(source: Source, path: tuple[str | int, ...], name: str, known: list[str]) -> None:
    if name not in known:
        raise source.error((*path, "metric"), f"unknown metric '{name}'", nearest(name, known))


def _check_batch(source: Source, spec: RunSpec) -> None:
    train = spec.train
    slots = (train.num_processes or 1) * train.gradient_accumulation_steps
    if train.global_batch_size % slots:
        message = f"global_batch_size {train.global_batch_size} does not divide into {slots} equal micro-batches"
        hint = "num_processes x gradient_accumulation_steps must divide it"
        raise source.error(("base", "train", "global_batch_size"), message, hint)


def _file_error(source: Source, error: ValidationError) -> SuiteError:
    first = error.errors(include_url=False)[0]
    path = tuple(
        part
        for part in first["loc"]
        if isinstance(part, int) or source.depth_and_line((part,))[0] or part in SuiteFile.model_fields
    )
    last = str(first["loc"][-1])
    if first["type"] == "extra_forbidden":
        fields = (
            SuiteFile.model_fields
            if len(first["loc"]) == 1
            else (Reference if "references" in first["loc"] else Target).model_fields
        )
        return source.error(tuple(first["loc"]), f"unknown field '{last}'", nearest(last, fields))
    if first["type"] == "missing":
        return source.error(path[:-1], f"'{last}' is missing", f"add {last}")
    if path[:1] == ("name",):
        hint = "use up to 64 letters, digits, '_', '-' and '.', beginning with a letter or digit"
        return source.error(("name",), f"the name {json.dumps(source.values.get('name'))[:80]} is no folder name", hint)
    shown = json.dumps(first["input"], default=str)[:80]
    dotted = ".".join(map(str, path))
    return source.error(path, f"{dotted} is {shown}", f"it should be {first['msg'].removeprefix('Input should be ')}")
