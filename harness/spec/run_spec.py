"""RunSpec: everything that decides one run, validated, with the hashes that identify it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    create_model,
    model_validator,
)

from harness import registry
from harness.errors import HarnessError, nearest
from harness.parameters import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from harness.problems import fields_at, first_problem, shown
from harness.spec.augment import Augment
from harness.spec.code import code_from_outside
from harness.spec.section import Section, SpecError

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


def _no_to_string(value: Any) -> Any:
    return "no" if value is False else value  # YAML 1.1 reads a bare `no` as false


class MeanStd(Section):
    """Channel means and deviations of pixel values in [0, 1]."""

    mean: list[float] = Field(min_length=1)
    std: list[PositiveFloat] = Field(min_length=1)


class ModelSection(Section):
    """The architecture and its parameters."""

    name: str
    whiten: PositiveInt | None = Field(
        default=None, description="side of the patches that a fixed first layer makes uncorrelated (arXiv 2404.00498)"
    )


class DataSection(Section):
    """The dataset, its parameters, and what is done to its images."""

    name: str
    augment: Augment = Augment()
    normalize: Literal["train", "none", "half", "cifar10", "cifar100", "imagenet"] | MeanStd = Field(
        default="train", description="mean and deviation: of the training split, a data set's published ones, or none"
    )
    validation: Fraction = Field(default=0.0, description="share of the training images held out, stratified by class")
    validation_seed: NonNegativeInt = Field(default=0, description="which images are held out; the same for every seed")
    train_samples: PositiveInt | None = Field(default=None, description="use a stratified slice of the training images")
    test_samples: PositiveInt | None = Field(default=None, description="use a stratified slice of the test images")


class LoaderSection(Section):
    """The loader that feeds the device, and its parameters."""

    name: str


class OptimizerSection(Section):
    """The optimizer and its parameters."""

    name: str
    weight_decay_on: Literal["all", "weights"] = Field(
        default="all", description="'weights' leaves norm parameters and biases without weight decay"
    )
    norm_bias_lr_scale: PositiveFloat = Field(
        default=1.0, description="the biases of norms learn so many times faster (arXiv 2404.00498)"
    )


class ScheduleSection(Section):
    """The learning-rate schedule and its parameters."""

    name: str
    warmup_epochs: NonNegativeFloat = Field(
        default=0.0, description="the learning rate rises linearly from zero for so long"
    )


class TrainSection(Section):
    """How long, how large and how exactly to train."""

    epochs: PositiveInt = 10
    global_batch_size: PositiveInt = Field(default=128, description="samples an optimizer step, over all processes")
    num_processes: PositiveInt | None = Field(
        default=None, description="world size; unset: as launched, one by default"
    )
    gradient_accumulation_steps: PositiveInt = Field(default=1, description="micro-batches an optimizer step")
    mixed_precision: Annotated[Literal["auto", "no", "fp16", "bf16", "bf16-true"], BeforeValidator(_no_to_string)] = (
        Field(default="auto", description="bf16-true: the weights are kept in bfloat16, too, those of batch norm not")
    )
    tf32: bool = Field(
        default=False, description="TensorFloat-32 in matrix products and convolutions of Ampere and later"
    )
    channels_last: bool = False
    compile: bool | Literal["reduce-overhead", "max-autotune"] = Field(default=False, description="torch.compile")
    deterministic: bool = Field(
        default=False, description="the same bits again on the same system, at some cost in time"
    )
    label_smoothing: Fraction = 0.0
    clip_grad_norm: PositiveFloat | None = None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="evaluate an exponential moving average of the weights with this decay a step"
    )
    drop_last: bool = Field(default=False, description="leave out the epoch's last, smaller batch")
    shuffle: Literal["each_epoch", "once", "never"] = Field(
        default="each_epoch",
        description="'once' draws one order for all epochs, 'never' keeps the stored one: of folders, class by class",
    )
    loss: Literal["cross_entropy", "cross_entropy_after_softmax"] = Field(
        default="cross_entropy", description="the second applies softmax twice: a mistake that is often published"
    )
    evaluate_every_epochs: PositiveInt = Field(default=1, description="the last epoch is always evaluated")
    eval_batch_size: PositiveInt = Field(default=512, description="test samples a forward pass, for each process")
    evaluate_views: Literal["one", "flips", "flips_and_shifts"] = Field(
        default="one", description="average the logits of mirrored, and of shifted images, too"
    )
    evaluate_views_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="take these views of so much of each batch: the images that are least certain"
    )
    evaluate_train: bool = Field(
        default=False,
        description="take train metrics in a pass of their own after the epoch: images not augmented, weights at rest",
    )
    dropout_in_evaluation: bool = Field(default=False, description="a mistake that is often published")
    mean_batch_recall: bool = Field(
        default=False,
        description="of evaluated splits, also record macro recall averaged over batches, and over epochs (report 3)",
    )
    untimed_steps: NonNegativeInt = Field(default=5, description="first steps that throughput leaves out")
    keep_weights: bool = Field(default=True, description="leave the final weights in the run's folder")
    checkpoint_every_seconds: PositiveFloat | None = Field(
        default=300.0, description="a run that is interrupted goes on from its last checkpoint; null for none by time"
    )
    checkpoint_every_steps: PositiveInt | None = None
    timeout_seconds: PositiveFloat = Field(default=1800.0, description="no step for so long is a hang")
    retry_out_of_memory: bool = Field(
        default=False,
        description="halve micro-batches until they fit the memory; batch norm sees smaller batches then",
    )

    @property
    def micro_batch_size(self) -> int:
        """Samples of one forward pass on one process."""
        return self.global_batch_size // ((self.num_processes or 1) * self.gradient_accumulation_steps)

    @property
    def records_graphs(self) -> bool:
        """Whether steps become CUDA graphs, where there is a GPU."""
        return isinstance(self.compile, str)

    @property
    def keeps_gradients(self) -> bool:
        """Whether gradients stay where they are from step to step, to be added to.

        Those that a CUDA graph made would be overwritten by the next micro-batch (pytorch#169545).
        """
        return self.records_graphs and self.gradient_accumulation_steps > 1


PLUGIN_SECTIONS: dict[str, tuple[str, type[Section]]] = {
    "model": ("architecture", ModelSection),
    "data": ("dataset", DataSection),
    "loader": ("loader", LoaderSection),
    "optimizer": ("optimizer", OptimizerSection),
    "schedule": ("schedule", ScheduleSection),
}
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

    def config_id(self) -> str:
        """Returns the hash of the config: all that decides a result but the seed, the data's content, the system.

        The code of plug-ins from outside the package is part of it.
        """
        dumped = self.model_dump(mode="json", exclude_defaults=True, exclude=NOT_IDENTITY)  # type: ignore[arg-type]
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


@functools.cache
def section_model(field: str, name: str) -> type[Section]:
    """Returns the model of a section for one plug-in, e.g. ("model", "resnet18")."""
    kind, base = PLUGIN_SECTIONS[field]
    plugin = registry.find(kind, name)
    clash = plugin.fields.keys() & base.model_fields.keys()
    if clash:
        raise HarnessError(f"{kind} '{name}' declares {sorted(clash)}, which every {kind} has", "rename the parameter")
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
    return _read_section(field, json.dumps({"name": value} if isinstance(value, str) else value))


@functools.lru_cache(maxsize=4096)
def _read_section(field: str, text: str) -> Section:
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
