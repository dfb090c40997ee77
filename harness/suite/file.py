"""The fields of a suite file, read and checked; and what the command line adds to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError, WithJsonSchema

from harness.durations import DURATION_PATTERN, parse_duration
from harness.errors import HarnessError, nearest
from harness.parameters import NonNegativeFloat, PositiveInt
from harness.problems import first_problem, shown
from harness.spec import RunSpec, Section, Seed
from harness.spec.run_spec import MOST_SEED
from harness.spec.settings import Settings, matches
from harness.suite.mirroring import TRACKERS, Mirroring, WandbPlace, require_project
from harness.suite.race import MOST_SEEDS, RaceSection, check_race
from harness.suite.yaml_lines import DEEPEST, Source, SuiteError, parse_value, read_yaml


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed is listed twice")
    return seeds


MOST_MARGIN = 0.1  # ten points
SEEDS_HINT = (
    f"write a count from 1 to {MOST_SEEDS:,}, or a list of distinct seeds such as [0, 5], each below {MOST_SEED + 1:,}"
)
Count = Annotated[int, Field(gt=0, le=MOST_SEEDS)]
Seeds = Count | Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]
"""Of a fixed design."""


def _seconds(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else parse_duration(json.dumps(value))


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["60s", "1.5min", "2h"]}),
]


def target_names() -> list[str]:
    """Returns the metrics that are evaluated during a run and are the better the larger they are."""
    return [name for name in _metric_names() if name.startswith(("validation.", "test.")) and "loss" not in name]


def _metric_names() -> list[str]:
    from harness.records.result import metric_names  # its models take their time, and few suites name a metric

    return metric_names()


class Target(Section):
    """An accuracy to reach; a column has the time until then."""

    metric: str
    at_least: float


class Reference(Section):
    """A published number of the configs that `match`."""

    match: Settings = Field(min_length=1)
    metric: str
    epoch: PositiveInt | None = Field(default=None, description="epoch of the number, from 1; the last by default")
    value: float
    runs: PositiveInt = Field(default=1, description="how many runs the number is the mean of; one by default")
    same_images: bool = Field(default=True, description="false if it was measured on other test images than ours")
    source: str = Field(min_length=1)


class Anchors(Section):
    """One config, repeated between the others, to show drift."""

    label: str = Field(default="", description="label of the config; the first one by default")
    runs: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=5, description="how many, evenly spaced, including the first and the last"
    )


class Smoke(Section):
    """The suite's short version for `--smoke`: a minute on a laptop's CPU, to test all of it."""

    set: Settings = Field(default={}, description="as --set")
    only: dict[str, list[Any]] = Field(default={}, description="as --only: the values of one path are alternatives")


class FractionalDesign(Section):
    """Run a balanced fraction of the full product."""

    name: Literal["fractional"]
    fraction: int | None = Field(default=None, ge=2, description="which part of the product, e.g. 4 for a quarter")


class SuiteFile(Section):
    """The fields of a suite file; docs/suites.md describes them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    description: str = ""
    plugins: list[str] = Field(
        default=[], description="files with plug-ins of your own, e.g. my_models.py, relative to the suite's folder"
    )
    base: dict[str, Any] = {}
    matrix: dict[str, list[Any]] | None = None
    zip: list[dict[str, list[Any]]] = []
    one_at_a_time: dict[str, list[Any]] = {}
    design: Literal["fractional"] | FractionalDesign | None = Field(
        default=None, description="a balanced fraction of the product of matrix and zip, instead of all of it"
    )
    include: list[Settings] = []
    exclude: list[Settings] = []
    seeds: Seeds | RaceSection = 1
    anchors: Anchors | None = Field(default=None, description="repeated runs that show drift; they are in no mean")
    warm_up_seconds: NonNegativeFloat | None = Field(
        default=None,
        description="how long a launch trains its first run beforehand, and discards that; "
        "by default 10 on a GPU and 0 on a CPU",
    )
    inference: bool = Field(
        default=False, description="after each training, time the network in use: latency and throughput"
    )
    smoke: Smoke | None = None
    target: Target | None = None
    margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="differences of accuracy below it do not matter: 0.003 for 0.3 points"
    )
    budget: Duration | None = Field(default=None, description="train time at which accuracies are compared, e.g. 60s")
    references: list[Reference] = []
    trackers: list[str] = Field(default=[], description="mirror the runs there, as --tracker does: wandb, ...")
    wandb: WandbPlace = WandbPlace()

    @property
    def mirroring(self) -> Mirroring:
        """Which trackers are asked for, and what they are told."""
        return Mirroring(trackers=tuple(self.trackers), wandb=self.wandb)

    @property
    def fraction(self) -> int | None:
        """Which part of the product `design` asks for; None where it leaves that open, or there is none."""
        return self.design.fraction if isinstance(self.design, FractionalDesign) else None


def read_suite_file(path: Path) -> tuple[Source, SuiteFile]:
    """Reads and checks a suite file.

    Raises:
        SuiteError: with file, line, the field and a hint.
    """
    source = read_yaml(path)
    try:
        file = SuiteFile.model_validate_json(json.dumps(source.values, default=str))
    except ValidationError as error:
        raise _file_error(source, error) from None
    _check_axes(source, file)
    if file.target:
        _check_metric(source, ("target", "at_least"), file.target.metric, file.target.at_least, target_names())
    for index, reference in enumerate(file.references):
        _check_metric(source, ("references", index, "value"), reference.metric, reference.value, _metric_names())
    if file.margin is not None:
        _check_margin(source, file.margin)
    if isinstance(file.seeds, RaceSection):
        if file.seeds.margin is not None:
            _check_margin(source, file.seeds.margin, ("seeds", "margin"))
        check_race(source, file.seeds, file.margin, file.anchors is not None)
    _check_trackers(source, file)
    if file.smoke:
        try:
            check_overrides(file.smoke.set)
        except HarnessError as error:
            raise source.error(("smoke", "set"), error.message, error.hint) from None
        for selected_path in file.smoke.only:
            root = selected_path.partition(".")[0]
            if root not in RunSpec.model_fields:
                at = ("smoke", "only", selected_path)
                raise source.error(at, f"unknown field '{root}'", nearest(root, RunSpec.model_fields))
    return source, file


def parse_overrides(overrides: Sequence[str]) -> Settings:
    settings: Settings = {}
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals or not path or path.count(".") > DEEPEST:
            raise HarnessError(f"--set {text[:80]} is not an assignment", "write --set train.epochs=5")
        settings[path] = parse_value(value)
    check_overrides(settings)
    return settings


def check_overrides(settings: Settings) -> None:
    valid = [*(name for name in RunSpec.model_fields if name not in ("seed", "label", "repeat")), "seeds"]
    for path in settings:
        root = path.partition(".")[0]
        if root not in valid:
            raise HarnessError(f"--set {path}: unknown field '{root}'", nearest(root, valid))
    if "seeds" in settings:
        try:
            TypeAdapter(Seeds).validate_python(settings["seeds"], strict=True)
        except ValidationError:
            message = f"--set seeds={shown(settings['seeds'])}: not a count or a list of distinct seeds"
            raise HarnessError(message, f"{SEEDS_HINT}: --set seeds=3 or --set 'seeds=[0, 5]'") from None


def parse_only(only: Sequence[str]) -> dict[str, list[Any]]:
    selection: dict[str, list[Any]] = {}
    for text in only:
        path, equals, value = text.partition("=")
        if not equals or not path or path.count(".") > DEEPEST:
            raise HarnessError(f"--only {text[:80]} is not a selection", "write --only label=best or --only seed=0")
        selection.setdefault(path, []).append(value if path == "label" else parse_value(value))
    return selection


def selected(selection: dict[str, list[Any]], dump: Settings) -> bool:
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
    if file.design:
        _check_design(source, file)


def _check_design(source: Source, file: SuiteFile) -> None:
    if file.one_at_a_time:
        message = "'design: fractional' and one_at_a_time exclude each other"
        hint = "put the lists of one_at_a_time, with the base's values, into a matrix"
        raise source.error(("design",), message, hint)
    if file.exclude:
        message = "'exclude' would remove configs from the fraction that 'design' chooses"
        raise source.error(("exclude",), message, "leave those values out of the matrix, or leave 'design' out")


def _check_margin(source: Source, margin: float, at: tuple[str, ...] = ("margin",)) -> None:
    if margin >= MOST_MARGIN:
        message = f"margin is {margin:.10g}: such a large difference of accuracy matters"
        hint = f"write a fraction, not per cent or points: {min(margin, 10) / 100:g} for {min(margin, 10):g} points"
        raise source.error(at, message, hint)


def _check_trackers(source: Source, file: SuiteFile) -> None:
    for index, name in enumerate(file.trackers):
        if name not in TRACKERS:
            raise source.error(("trackers", index), f"unknown tracker '{name}'", nearest(name, TRACKERS))
    try:
        require_project(file.wandb.project)
    except HarnessError as error:
        raise source.error(("wandb", "project"), error.message, error.hint) from None


def _check_metric(source: Source, path: tuple[str | int, ...], name: str, value: float, known: list[str]) -> None:
    if name not in known:
        raise source.error((*path[:-1], "metric"), f"unknown metric '{name}'", nearest(name, known))
    if name.endswith(("accuracy", "recall", "share")) and not 0 <= value <= 1:
        message = f"{'.'.join(map(str, path))} is {value:.10g}, and {name} is between 0 and 1"
        example = value / 100 if 1 < value <= 100 else 0.9
        raise source.error(path, message, f"write fractions, not per cent, e.g. {example:g}")


def _file_error(source: Source, error: ValidationError) -> SuiteError:
    first, path, wanted = first_problem(error, source.values)
    last = str(path[-1])
    if first["type"] == "extra_forbidden":
        sections = {"references": Reference, "target": Target, "smoke": Smoke, "anchors": Anchors, "wandb": WandbPlace}
        sections |= {"design": FractionalDesign, "seeds": RaceSection}
        model = sections.get(str(path[0]), SuiteFile)
        return source.error(path, f"unknown field '{last}'", nearest(last, model.model_fields))
    if first["type"] == "missing":
        return source.error(path, f"'{last}' is missing", f"add {last}")
    if path[0] == "seeds" and not isinstance(source.values["seeds"], dict):
        wanted = SEEDS_HINT
    if path[0] == "name":
        hint = "use up to 64 letters, digits, '_', '-' and '.', beginning with a letter or digit"
        return source.error(
            ("name",), f"the name {json.dumps(source.values.get('name'))[:80]} is not a folder name", hint
        )
    return source.error(path, f"{'.'.join(map(str, path))} is {shown(first['input'])}", wanted)
