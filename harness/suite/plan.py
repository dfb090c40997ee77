"""A suite file -> its configs -> the plan: the ordered runs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness import registry
from harness.errors import HarnessError, nearest
from harness.paths import SUITES, named_file, user_path
from harness.problems import shown
from harness.spec import DataSection, RunSpec, SpecError, parse_run_spec, run_id
from harness.spec.settings import Settings, apply, copied, matches, require_field, value_at
from harness.suite.file import Reference, SuiteFile, parse_only, parse_overrides, read_suite_file, selected
from harness.suite.order import round_order
from harness.suite.placed_paths import placed, placed_values, require_beside, smoke_with_roots, with_roots
from harness.suite.race import Race, RaceSection, race_of
from harness.suite.variations import Variation, Variations
from harness.suite.yaml_lines import Source
from harness.weights_files import MissingWeights


class PlannedRun(BaseModel):
    """One run of a plan, whole: it travels as `model_dump(mode="json")` and arrives by `model_validate`.

    Attributes:
        spec: the run.
        config_id: of its config.
        run_id: its identity; empty where the content of its data is not known yet.
        fingerprint: of its data's content; empty where it is not known yet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: RunSpec
    config_id: str
    run_id: str
    fingerprint: str

    @property
    def name(self) -> str:
        """How people call it, e.g. `resnet18 · seed 3`."""
        return f"{self.spec.label} · seed {self.spec.seed}{self.which_anchor}"

    @property
    def which_anchor(self) -> str:
        """` · anchor 2` of the second anchor; empty for a run that is none."""
        return f" · anchor {self.spec.repeat}" if self.spec.repeat else ""

    def of_seed(self, seed: int, repeat: int = 0) -> PlannedRun:
        """Returns the run of the same config and data with another seed, or as an anchor."""
        spec = self.spec
        if (spec.seed, spec.repeat) != (seed, repeat):
            spec = spec.model_copy(update={"seed": seed, "repeat": repeat})
        identity = run_id(self.config_id, seed, self.fingerprint, repeat) if self.fingerprint else ""
        # All parts are checked: a plan may have a million runs.
        return PlannedRun.model_construct(
            spec=spec, config_id=self.config_id, run_id=identity, fingerprint=self.fingerprint
        )


@dataclass(frozen=True)
class Plan:
    """The runs of a suite in the order in which they are to be run.

    Attributes:
        order: the ids of the configs, in the order of the file.
        selection: what of the suite was asked for, as `--only` has it; empty for all of it.
        race: that decides which of the runs are made; None in a fixed design, and for a selection.
    """

    suite: Suite
    runs: tuple[PlannedRun, ...]
    order: tuple[str, ...]
    selection: tuple[str, ...] = ()
    race: Race | None = None

    def configs(self) -> dict[str, RunSpec]:
        """Returns one spec for each config, by config_id, in the order of the file."""
        found = {run.config_id: run.spec for run in self.runs}
        return {config_id: found[config_id] for config_id in self.order if config_id in found}

    def references(self) -> dict[str, list[Reference]]:
        """Returns the references of each config, by config_id."""
        dumps = {config_id: spec.model_dump(mode="json") for config_id, spec in self.configs().items()}
        wanted = self.suite.file.references
        return {i: [ref for ref in wanted if matches(ref.match, dump)] for i, dump in dumps.items()}


@dataclass(frozen=True)
class Suite:
    """A validated suite file with the overrides of the command line.

    Attributes:
        overrides: the last word on their paths.
        only: what is selected where the command line selects nothing.
        launched: fields of `train` that a launcher sets in configs which leave them open.
        plugins: the files of plug-ins that the suite and the command line name.
    """

    source: Source
    file: SuiteFile
    overrides: Settings = dataclasses.field(default_factory=dict)
    only: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    launched: Settings = dataclasses.field(default_factory=dict)
    plugins: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The suite's name: the folder of its results."""
        return self.file.name

    def seeds(self) -> list[int]:
        """Returns the seeds; a count n stands for 0 to n-1; of a race those that it takes at most."""
        seeds = self.overrides.get("seeds", self.file.seeds)
        seeds = seeds.most_seeds if isinstance(seeds, RaceSection) else seeds
        return list(range(seeds)) if isinstance(seeds, int) else list(seeds)

    @property
    def is_race(self) -> bool:
        """Whether the seeds are those of a race."""
        return isinstance(self.file.seeds, RaceSection) and "seeds" not in self.overrides

    def configs(self, num_processes: int = 1) -> dict[str, RunSpec]:
        """Returns the configs by config_id, in the order of the file.

        Args:
            num_processes: the world size of configs that do not name one.

        Raises:
            SuiteError: a config is invalid, stands twice, or an exclusion or reference matches none.
        """
        registry.use(self.plugins)  # another suite may have been looked at meanwhile
        every = [(self._resolve(variation, num_processes), variation) for variation in self.variations]
        matching = self.file.exclude or self.file.references
        dumps = [spec.model_dump(mode="json") for spec, _ in every] if matching else [{} for _ in every]
        excluded = [any(matches(match, dump) for match in self.file.exclude) for dump in dumps]
        if all(excluded):
            raise self.source.error(("exclude",), "every run is excluded", "loosen 'exclude'")
        if not (self.overrides or self.launched):  # overrides may rightly leave nothing to exclude or to compare with
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
        """Returns the runs, a round for each seed; each round has an order of its own, see `harness.suite.order`.

        Args:
            fingerprint: gives the identity of a dataset's content, or an empty text where it is not known yet.
            num_processes: the world size of configs that do not name one.
            only: selections such as `label=best`; different paths must all hold, of one path any.
        """
        selection = placed_values(parse_only(only), Path()) or dict(self.only)
        configs = self.configs(num_processes)
        wanted_seeds = selection.pop("seed", None)
        seeds = [seed for seed in self.seeds() if wanted_seeds is None or seed in wanted_seeds]
        chosen = configs
        if selection:
            dumps = {config_id: spec.model_dump(mode="json") for config_id, spec in configs.items()}
            for path in selection:
                require_field(f"--only {path}", path, dumps.values())
            chosen = {config_id: configs[config_id] for config_id, dump in dumps.items() if selected(selection, dump)}
        if not chosen or not seeds:
            labels = ", ".join(sorted({spec.label for spec in configs.values()})[:20])
            asked = " ".join(only) or f"{shown(self.only)} of 'smoke'"
            raise HarnessError(f"--only {asked} selects no run", f"labels: {labels}; seeds: {self.seeds()}")
        one_each = [
            PlannedRun(spec=spec, config_id=config_id, run_id="", fingerprint=fingerprint(spec.data))
            for config_id, spec in chosen.items()
        ]
        ids = list(chosen)
        runs = [one_each[place].of_seed(seed) for seed in seeds for place in round_order(self.name, seed, ids)]
        # A selection is what was asked for, and nothing else.
        ordered = runs if only or self.only else self._with_anchors(runs, one_each, seeds[0])
        race = None
        if isinstance(self.file.seeds, RaceSection) and self.is_race and not (only or self.only):
            prints = {run.config_id: run.fingerprint for run in one_each}
            race = race_of(self.source, self.name, self.file.seeds, self.file.margin, configs, prints)
        return Plan(self, tuple(ordered), tuple(ids), tuple(only), race)

    def _with_anchors(self, runs: list[PlannedRun], configs: list[PlannedRun], seed: int) -> list[PlannedRun]:
        """Returns the runs with the anchors among them, the first at the beginning, the last at the end.

        Args:
            runs: in their order.
            configs: a run of each config, in the order of the file.
            seed: of the anchors.
        """
        anchors = self.file.anchors
        if anchors is None:
            return runs
        wanted = anchors.label or configs[0].spec.label
        repeated = next((run for run in configs if run.spec.label == wanted), None)
        if repeated is None:
            labels = [run.spec.label for run in configs]
            raise self.source.error(("anchors", "label"), f"no config is called '{wanted}'", nearest(wanted, labels))
        mixed = list(runs)
        for number in reversed(range(anchors.runs)):
            place = round(number * len(runs) / (anchors.runs - 1))
            mixed.insert(place, repeated.of_seed(seed, repeat=number + 1))
        return mixed

    @functools.cached_property
    def variations(self) -> Variations:
        """What the lists of the file make of the base."""
        return Variations(self.source, self.file, self.overrides)

    @functools.cached_property
    def _base(self) -> Settings:
        values: Settings = {}
        apply(values, self.file.base)
        return values

    def _resolve(self, variation: Variation, num_processes: int) -> RunSpec:
        values = copied(self._base)
        apply(values, variation.settings)
        try:
            values = self._with_overrides(values)
            if isinstance(values.get("train", {}), dict):
                train = values.setdefault("train", {})
                if train.get("num_processes") is None:
                    train["num_processes"] = num_processes
                for path, value in self.launched.items():
                    field = path.removeprefix("train.")
                    if path not in self.overrides and train.get(field) in (None, "auto"):
                        train[field] = value
            if "seed" in values:
                raise SpecError(("seed",), "'seed' is not set in a config", "use 'seeds' at the top of the suite")
            if "repeat" in values:
                raise SpecError(("repeat",), "'repeat' is not set in a config", "use 'anchors' at the top of the suite")
            if "label" in self.file.base:
                raise SpecError(("label",), "'label' is not set in the base", "give it to configs of 'include'")
            spec = parse_run_spec(values)
            _check_label(spec.label)
            _check_train(spec)
            _check_pretrained(spec)
        except SpecError as error:
            raise self._locate(error, variation) from None
        return spec if spec.label else spec.model_copy(update={"label": spec.model.name})

    def _with_overrides(self, values: Settings) -> Settings:
        """Returns a config with the overrides, and with the absolute path of its data.

        Raises:
            SpecError: that path is wrong, see `harness.suite.placed_paths`.
        """
        folder, written = self.source.path.parent, value_at(values, "data.root")
        values = placed(values, folder)
        of_suite = value_at(values, "data.root")
        apply(values, {path: value for path, value in self.overrides.items() if path != "seeds"})
        values = placed(values, Path())
        if isinstance(written, str) and value_at(values, "data.root") == of_suite:
            require_beside(written, folder)
        return values

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
                require_field(f"{self.source.path}:{self.source.line((*where, path))}: {where[0]}", path, dumps)
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
                if self.overrides or self.launched:  # `--set train.epochs=1` may rightly make two configs one
                    continue
                message = f"two runs with the same identity: '{twin.label}' and '{spec.label}'"
                raise self.source.error(line, message, "they differ only in their label: leave one out")
            if by_label.setdefault(spec.label, spec) is not spec:
                message = f"the label '{spec.label}' is used for two configs"
                raise self.source.error(line, message, "give each its own label")
        return by_id


def load_suite(
    path: Path, overrides: Sequence[str] = (), *, smoke: bool = False, plugins: Sequence[str | Path] = ()
) -> Suite:
    """Reads and checks a suite file, and reads the plug-ins that it names.

    Args:
        path: the YAML file, or the name of a suite that ships.
        overrides: assignments such as `train.epochs=5`, each the last word on its path.
        smoke: take what the file's `smoke` makes of it: a suite with a name of its own, that compares with nothing.
        plugins: files of plug-ins beside those that the suite names.

    Raises:
        SuiteError: with file, line, the field and a hint.
        HarnessError: a file of plug-ins cannot be read; with file and line.
    """
    source, file = read_suite_file(named_file(path, SUITES))
    files = (*_plugin_files(source, file), *map(Path, plugins))
    registry.use(files)
    file, given = with_roots(file, source.path.parent), parse_overrides(overrides)
    if not smoke:
        return Suite(source, file, given, plugins=files)
    if file.smoke is None:
        raise HarnessError(f"{path} has no 'smoke'", "add smoke: {set: {train.epochs: 1}}, or leave --smoke out")
    none: dict[str, Any] = {"references": [], "target": None, "budget": None, "margin": None, "anchors": None}
    if isinstance(file.seeds, RaceSection):
        none["seeds"] = file.seeds.looks[0]
    small = file.model_copy(update={"name": f"{file.name}_smoke", **none})
    shortened = smoke_with_roots(source, file.smoke, given)
    return Suite(source, small, shortened.set | given, shortened.only, plugins=files)


def _plugin_files(source: Source, file: SuiteFile) -> Iterator[Path]:
    for index, text in enumerate(file.plugins):
        path = source.path.parent / user_path(text)
        if not path.is_file():
            message = f"there is no file of plug-ins {path}"
            near = [str(other.relative_to(source.path.parent)) for other in source.path.parent.glob("*.py")]
            raise source.error(("plugins", index), message, nearest(text, near))
        yield path


def _check_label(label: str) -> None:
    if not label.isprintable():
        raise SpecError(("label",), f"the label {shown(label)} has control characters", "labels are shown in tables")


def _check_pretrained(spec: RunSpec) -> None:
    try:
        weights = spec.pretrained_weights()
    except HarnessError as error:
        raise SpecError(("model", "pretrained"), error.message, error.hint) from None
    if weights and not weights.published and not weights.is_here():
        missing = MissingWeights(weights)
        raise SpecError(("model", "pretrained"), missing.message, missing.hint)


def _check_train(spec: RunSpec) -> None:
    train = spec.train
    slots = train.world_size * train.gradient_accumulation_steps
    if train.global_batch_size % slots:
        message = f"global_batch_size {train.global_batch_size} does not divide into {slots} equal micro-batches"
        hint = "num_processes x gradient_accumulation_steps must divide it"
        raise SpecError(("train", "global_batch_size"), message, hint)
    if train.ema_decay and train.mixed_precision == "bf16-true":
        message = f"ema_decay {train.ema_decay} averages weights in bfloat16, which cannot hold its small steps"
        raise SpecError(("train", "ema_decay"), message, "use mixed_precision: bf16, or leave ema_decay out")
    if train.activation_checkpointing and train.compile:
        message = "activation_checkpointing with compile: the compiler chooses itself what it computes anew"
        raise SpecError(("train", "activation_checkpointing"), message, "leave one of them out")
