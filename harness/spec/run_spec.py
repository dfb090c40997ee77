"""RunSpec: everything that decides one run, validated, with the hashes that identify it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    Field,
    SerializeAsAny,
    ValidationError,
    create_model,
    model_validator,
)

from harness import registry
from harness.errors import HarnessError, nearest
from harness.parameters import NonNegativeInt
from harness.problems import fields_at, first_problem, shown
from harness.spec.code import code_from_outside
from harness.spec.section import Section, SpecError
from harness.spec.sections import (
    PLUGIN_SECTIONS,
    DataSection,
    LoaderSection,
    ModelSection,
    OptimizerSection,
    ScheduleSection,
    TrainSection,
)
from harness.weights_files import Weights, find_weights

# Part of every identity. Raise it when a default changes or an option comes to mean something else: fields at their
# default are left out of the hash, so that a new option does not disown the results that came before it.
SPEC_VERSION = 1

# What does not change a result: how a run is called, where the data lie, how long a hang may last, what is kept when;
# and what changes it only where there would be none: the record says so.
NOT_IDENTITY = {
    "label": True,
    "seed": True,
    "repeat": True,
    "data": {"root", "download"},
    "train": {
        "timeout_seconds",
        "keep_weights",
        "checkpoint_every_seconds",
        "checkpoint_every_steps",
        "retry_out_of_memory",
    },
}


def is_identity(path: str) -> bool:
    """Tells whether a dotted path is part of a run's identity."""
    section, _, field = path.partition(".")
    excluded = NOT_IDENTITY.get(section, set())
    return excluded is not True and field not in excluded  # type: ignore[operator]


# NumPy's generators take no larger one.
MOST_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, lt=MOST_SEED + 1)]
DEFAULT_PLUGINS = {"loader": "resident", "schedule": "constant"}


class RunSpec(Section):
    """One run: a config and a seed, with every default filled in.

    `model_validate` takes what a suite says as well as what `model_dump` returns: each section is checked by the model
    of the plug-in that it names. What a section gets wrong is a SpecError.
    """

    label: str = ""
    seed: Seed = 0
    repeat: NonNegativeInt = Field(default=0, description="of an anchor, which repetition of its config and seed it is")
    model: SerializeAsAny[ModelSection]
    data: SerializeAsAny[DataSection]
    loader: SerializeAsAny[LoaderSection]
    optimizer: SerializeAsAny[OptimizerSection]
    schedule: SerializeAsAny[ScheduleSection]
    train: TrainSection

    @model_validator(mode="before")
    @classmethod
    def _by_plugins(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        unknown = [key for key in values if key not in cls.model_fields]
        if unknown:
            raise SpecError((unknown[0],), f"unknown field '{unknown[0]}'", nearest(unknown[0], cls.model_fields))
        sections = {field: _section(field, values.get(field, DEFAULT_PLUGINS.get(field))) for field in PLUGIN_SECTIONS}
        return {**values, **sections, "train": _train(values.get("train", {}))}

    def plugins(self) -> dict[str, str]:
        """Returns the names of the run's plug-ins, by their kind."""
        return {kind: getattr(self, field).name for field, (kind, _) in PLUGIN_SECTIONS.items()}

    def pretrained_weights(self) -> Weights | None:
        """Returns the file of weights that the run starts from; None where they are drawn anew."""
        return find_weights(self.model.name, getattr(self.model, "pretrained", False))

    def config_id(self) -> str:
        """Returns the hash of the config: all that decides a result but the seed, the data's content, the system.

        The code of plug-ins from outside the package is part of it, and so is the content of pretrained weights.

        Raises:
            HarnessError: pretrained weights whose content is not known are not here, or cannot be read.
        """
        dumped = self.model_dump(mode="json", exclude_defaults=True, exclude=NOT_IDENTITY)  # type: ignore[arg-type]
        if weights := self.pretrained_weights():
            dumped["model"]["pretrained"] = weights.identity()
        outside = code_from_outside(self.plugins())
        return _digest({"spec_version": SPEC_VERSION, **dumped, **({"code": outside} if outside else {})})

    def run_id(self, fingerprint: str) -> str:
        """Returns the hash of the config, the seed and the dataset's fingerprint."""
        return run_id(self.config_id(), self.seed, fingerprint, self.repeat)


def run_id(config_id: str, seed: int, fingerprint: str, repeat: int = 0) -> str:
    """Returns the identity of a run, from those of its parts."""
    parts = {"config": config_id, "seed": seed, "data": fingerprint}
    return _digest(parts | {"repeat": repeat} if repeat else parts)


def parameters(section: Section) -> dict[str, Any]:
    """Returns the plug-in's own parameters of a section, without those that all plug-ins of its kind share."""
    shared = next(base for _, base in PLUGIN_SECTIONS.values() if isinstance(section, base))
    return {name: getattr(section, name) for name in type(section).model_fields if name not in shared.model_fields}


def section_model(field: str, name: str) -> type[Section]:
    """Returns the model of a section for one plug-in, e.g. ("model", "resnet18")."""
    return _section_model(field, name, registry.version())


@functools.lru_cache(maxsize=4096)
def _section_model(field: str, name: str, version: int) -> type[Section]:
    kind, base = PLUGIN_SECTIONS[field]
    plugin = registry.find(kind, name)
    clash = plugin.fields.keys() & base.model_fields.keys()
    if clash:
        message = f"{plugin.place}: {kind} '{name}' declares {sorted(clash)}, which every {kind} has"
        raise HarnessError(message, "rename the parameter")
    return create_model(f"{kind}_{plugin.function}", __base__=base, **plugin.fields)  # type: ignore[call-overload]


def parse_run_spec(values: Mapping[str, Any]) -> RunSpec:
    """Validates a resolved mapping, or a RunSpec that was dumped.

    Raises:
        SpecError: the first field that is unknown, missing, of the wrong type or out of range.
    """
    return _validate(RunSpec, dict(values), ())


def _section(field: str, value: Any) -> Section:
    if isinstance(value, Section):
        return value
    text = json.dumps({"name": value} if isinstance(value, str) else value)
    return _read_section(field, text, registry.version())


@functools.lru_cache(maxsize=4096)
def _read_section(field: str, text: str, version: int) -> Section:
    kind, _ = PLUGIN_SECTIONS[field]
    value = json.loads(text)
    if value is None:
        raise SpecError((field,), f"'{field}' is missing", f"name the {kind}, e.g. {field}: {{name: ...}}")
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise SpecError((field,), f"'{field}' does not name the {kind}", f"write {field}: {{name: ...}}")
    try:
        model = section_model(field, value["name"])
    except SpecError:
        raise
    except HarnessError as error:
        raise SpecError((field, "name"), error.message, error.hint) from None
    return _validate(model, text, (field,), owner=f"{kind} '{value['name']}'")


def _train(value: Any) -> TrainSection:
    return value if isinstance(value, TrainSection) else _read_train(json.dumps(value))


@functools.lru_cache(maxsize=4096)
def _read_train(text: str) -> TrainSection:
    return _validate(TrainSection, text, ("train",))


def _validate(model: type[Section], values: str | dict[str, Any], path: tuple[str, ...], owner: str = "") -> Any:
    try:
        # JSON's types are the suite's: in strict mode a list may become a tuple, but no string a number.
        return model.model_validate_json(values) if isinstance(values, str) else model.model_validate(values)
    except ValidationError as error:
        raise _first_problem(
            error, model, json.loads(values) if isinstance(values, str) else values, path, owner
        ) from None


def _first_problem(
    error: ValidationError, model: type[BaseModel], values: Any, path: tuple[str, ...], owner: str
) -> SpecError:
    first, inner, wanted = first_problem(error, values)
    where = (*path, *inner)
    dotted = ".".join(map(str, where))
    if first["type"] == "extra_forbidden":
        fields = fields_at(model, inner[:-1])
        return SpecError(
            where,
            f"unknown field '{dotted}'{f' of {owner}' if owner else ''}",
            nearest(str(inner[-1]), fields),
        )
    if first["type"] == "missing":
        return SpecError(where, f"'{dotted}' is missing{f' ({owner} needs it)' if owner else ''}", f"add {dotted}")
    return SpecError(where, f"{dotted} is {shown(first['input'])}", wanted)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def _digest(value: Any) -> str:
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()[:12]
