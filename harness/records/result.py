"""RunResult: the schema of `result.json`.

What could not be measured is null, and `unavailable` gives the reason under the field's dotted name, or, where it is
the same for all fields of a section, under the section's name.

Each number has a range, which holds when a record is made and when it is read. Only a loss may be infinite or NaN: that
is what a network came to whose logits overflowed.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from harness.metric import NAME, Declaration
from harness.records.ranges import (
    MOST_EPOCHS,
    Amount,
    Celsius,
    Count,
    Finite,
    Loss,
    Moment,
    Ordinal,
    Plain,
    Seconds,
    Share,
)

SCHEMA_VERSION = 1
Status = Literal["ok", "failed", "oom", "diverged", "timeout", "preempted"]
# A run that ended so need not be run again: the same seed would end the same way.
FINAL: frozenset[str] = frozenset({"ok", "diverged"})


class Record(BaseModel):
    """A part of a result. Unknown fields are kept apart from known ones by being refused."""

    # Built at first use: planning needs the names only, and half a second is long for a command line.
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants", defer_build=True)


class Cause(Record):
    """Why a run has no valid result."""

    kind: str = Field(description="e.g. OutOfMemoryError, SIGKILL, hang, no start, not finite")
    message: str = Field(description="one line")
    rank: Count | None = Field(default=None, description="that failed first")
    step: Count | None = Field(
        default=None, description="optimizer steps done; of a killed process, as of a second before at the most"
    )
    traceback: str | None = None


class DataFacts(Record):
    """The data a run saw."""

    fingerprint: str = Field(description="hash of what the data hold")
    train_samples: Count = Field(description="images to train on")
    validation_samples: Count = Field(description="held out of the training images")
    test_samples: Count = Field(description="images to test on")
    num_classes: Count = Field(description="classes")
    skipped_files: Count = Field(default=0, description="files that could not be read")
    skipped_names: list[str] = Field(
        default=[], description="the first of them, with their folders; empty in old records"
    )
    rankable: bool = Field(default=True, description="whether accuracy on them means something")
    decode_seconds: Seconds = Field(default=0.0, description="reading image files into the cache; 0 where it had them")


class ModelFacts(Record):
    """The size of the network."""

    parameters: Count = Field(description="weights")
    trainable_parameters: Count | None = Field(default=None, description="those that are not frozen")
    multiply_accumulates: Count | None = Field(description="of one image's forward pass: convolutions and products")


class Resolved(Record):
    """What `auto` and the machine decided."""

    device: str = Field(description="that it ran on")
    mixed_precision: str = Field(description="that it ran in")
    loader: str = Field(description="that it read with")
    loader_images_per_second: dict[str, Amount | str] = Field(
        default={},
        description="what `auto` measured of each candidate, or why one, or `dali` with a fallback, could not be had",
    )
    micro_batch_size: Count = Field(description="samples of one forward pass of one process")
    gradient_accumulation_steps: Count | None = Field(
        default=None, description="more than the spec's where the run was out of memory and tried again"
    )
    checkpointed_blocks: Count | None = Field(
        default=None, description="of the network, whose activations are computed anew; null where none are"
    )
    pretrained_file: str | None = Field(
        default=None, description="the name of the file of weights that it began with; null where they were drawn anew"
    )
    pretrained_sha256: str | None = Field(default=None, description="of this file's content")
    pretrained_head: str | None = Field(
        default=None, description="whether the last layer is this file's, or new and why"
    )


class Clock(Record):
    """Seconds on each clock; `train_seconds` is on the slowest rank, the rest on rank 0. See docs/columns.md."""

    train_seconds: Seconds | None = Field(default=None, description="every step of every epoch, on the slowest rank")
    eval_seconds: Seconds | None = Field(default=None, description="evaluations")
    data_seconds: Seconds | None = Field(default=None, description="preparing the data")
    build_seconds: Seconds | None = Field(default=None, description="making network, optimizer and loader")
    compile_seconds: Seconds | None = Field(default=None, description="`torch.compile`")
    checkpoint_seconds: Seconds | None = Field(default=None, description="writing checkpoints")
    inference_seconds: Seconds | None = Field(default=None, description="timing the trained network in use")
    speedrun_seconds: Seconds | None = Field(
        default=None, description="whitening, training and evaluation: the clock of airbench94 and of scripts after it"
    )
    total_seconds: Seconds | None = Field(default=None, description="the whole run, without reading the data")

    def add_checkpoint(self, seconds: float) -> None:
        """Counts what writing the weights took after the run was measured."""
        self.checkpoint_seconds = (self.checkpoint_seconds or 0.0) + seconds
        self.total_seconds = (self.total_seconds or 0.0) + seconds


class ForwardPass(Record):
    """What it takes to pass images forward that are on the device already."""

    latency_seconds: Seconds | None = Field(default=None, description="of one image alone: the median")
    latency_p99_seconds: Seconds | None = Field(default=None, description="the 99th percentile")
    samples_per_second: Amount | None = Field(default=None, description="at the batch size that is fastest")
    batch_size: Count | None = Field(default=None, description="that is the fastest")


class Inference(ForwardPass):
    """The trained network in use: in the precision that it was trained in, compiled where it was."""

    compiled: bool | None = Field(default=None, description="whether the network in use was compiled")
    eager: ForwardPass | None = Field(default=None, description="the same not compiled, where the config compiles")

    @property
    def sentence(self) -> str:
        """What a person reads of it."""
        p99 = self.latency_p99_seconds
        tail = "" if p99 is None else f", 99 % of them within {1000 * p99:.3g} ms"
        return (
            f"{1000 * (self.latency_seconds or 0.0):.3g} ms for one image{tail}; "
            f"{self.samples_per_second:,.0f} images/s in batches of {self.batch_size}"
        )


class Throughput(Record):
    """How fast the steps went."""

    samples_per_second: Amount | None = Field(
        default=None, description="of all processes over the slowest rank's seconds, after the untimed steps"
    )
    data_wait_share: Share | None = Field(
        default=None, description="of the train time, that the next batch was not ready"
    )
    steps: Count = Field(default=0, description="optimizer steps")
    samples: Count = Field(default=0, description="that were trained on, all epochs together")
    untimed_steps: Count = Field(default=0, description="first steps of a run that throughput leaves out")
    skipped_samples: Count = Field(default=0, description="in tails too small for every process to have two samples")


class Memory(Record):
    """Peaks during the run, in bytes, on the rank that used most."""

    max_allocated_bytes: Count | None = Field(default=None, description="of tensors, PyTorch's peak")
    max_reserved_bytes: Count | None = Field(default=None, description="of PyTorch's pool")
    process_device_bytes: Count | None = Field(default=None, description="of the process on its GPU, by NVML")
    device_bytes: Count | None = Field(default=None, description="of all processes on the GPU, by NVML")
    host_rss_bytes: Count | None = Field(default=None, description="of a process in main memory")
    host_tree_rss_bytes: Count | None = Field(
        default=None, description="of all processes of the run on a machine, sampled; shared pages count in each"
    )


class Energy(Record):
    """Energy over the train time."""

    train_joules: Amount | None = Field(default=None, description="of the GPUs of all ranks")
    joules_per_epoch: Amount | None = Field(default=None, description="of the GPUs of all ranks")
    host_joules: Amount | None = Field(
        default=None, description="of the CPU packages (RAPL) of all machines, whatever else ran on them"
    )


class Telemetry(Record):
    """The state of GPUs and hosts over the train time: means over samples of all ranks, unless named otherwise."""

    samples: Count = Field(default=0, description="of all ranks together")
    gpu_utilization: Share | None = Field(default=None, description="time in which a kernel ran")
    gpu_power_watts: Amount | None = Field(default=None, description="of a GPU")
    gpu_peak_power_watts: Amount | None = Field(default=None, description="most in a sample")
    gpu_sm_clock_hertz: Amount | None = Field(default=None, description="of the multiprocessors")
    gpu_memory_clock_hertz: Amount | None = Field(default=None, description="of the memory")
    gpu_temperature_celsius: Celsius | None = Field(default=None, description="of a GPU")
    gpu_peak_temperature_celsius: Celsius | None = Field(default=None, description="most in a sample")
    gpu_throttled: bool | None = Field(default=None, description="on any rank, in any sample")
    gpu_throttle_reasons: dict[str, Share] | None = Field(default=None, description="share of the samples of each")
    gpu_shared: bool | None = Field(default=None, description="whether a process that is not of the run used a GPU")
    gpu_other_pids: list[Count] | None = Field(default=None, description="processes of others that used a GPU")
    gpu_energy_from: str | None = Field(default=None, description="`counter`, or `power` integrated over time")
    host_cpu_share: Amount | None = Field(default=None, description="processor time over train time x usable cores")


class Disturbance(Record):
    """What others took from a run over the train time, summed over its machines. See docs/method.md."""

    core_seconds: Amount | None = Field(default=None, description="train time x cores that the run may use")
    launch_cpu_seconds: Amount | None = Field(default=None, description="of these, what its whole launch computed")
    other_cpu_seconds: Amount | None = Field(default=None, description="of these, what processes of others computed")
    run_queue_wait_seconds: Amount | None = Field(
        default=None, description="that threads of the ranks were ready and waited for a core, all of them together"
    )
    wait_for_others_seconds: Amount | None = Field(
        default=None, description="of these, those that the core time of others and of the hypervisor can explain"
    )
    throttled_seconds: Amount | None = Field(default=None, description="that the cgroup kept its processes from a core")
    steal_seconds: Amount | None = Field(default=None, description="that the hypervisor gave the cores to others")
    suspended_seconds: Amount | None = Field(default=None, description="that ranks stood still, all together; at least")
    asleep_seconds: Amount | None = Field(default=None, description="that machines were suspended")
    other_launches: list[Count] | None = Field(default=None, description="pids of other calls of the harness beside it")


class Metrics(Record):
    """Metrics on one split. `train` ones are taken during the epoch, on augmented images and moving weights."""

    accuracy: Share = Field(description="share of images whose first prediction is right")
    top5_accuracy: Share | None = Field(description="share whose class is among the first five")
    loss: Loss = Field(description="mean cross-entropy")
    macro_recall: Share = Field(description="mean over the classes of the share that was recognised")
    recall_by_class: list[Share | None] = Field(description="the same of each class")
    mean_batch_recall: Share | None = Field(default=None, description="macro recall of each batch, averaged over them")
    all_epochs_mean_batch_recall: Share | None = Field(default=None, description="and over the epochs until then")


class ExtraMetric(Declaration):
    """A metric of a plug-in on the test images after the last epoch, with all that a table of it needs."""

    value: Finite | None = Field(description="null where it could not be computed")
    code: str = Field(description="hash of the code that computed it, without comments")

    @model_validator(mode="after")
    def _require_fraction(self) -> ExtraMetric:
        if self.value is not None and not self.holds(self.value):
            raise PydanticCustomError("range", "{value}, and a fraction is from 0 to 1", {"value": self.value})
        return self


class Selected(Record):
    """Test metrics at the epoch that was best on a split; `selected_on` names the split."""

    selected_on: Literal["validation", "test"]
    epoch: Count
    test: Metrics


class TargetReached(Record):
    """When the suite's target was first met at an evaluation; null where it never was."""

    metric: str = Field(description="that the target is on")
    at_least: Finite = Field(description="the target")
    epoch: Count | None = Field(default=None, description="at whose end it was met first")
    train_seconds: Seconds | None = Field(default=None, description="until then")
    train_joules: Amount | None = Field(default=None, description="of the GPUs of all ranks, until then")


class RunIdentity(Record):
    """Which run a record is of, who wrote it, and how the run ended."""

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, description="of the record")
    suite: str = Field(description="that it was run under")
    label: str = Field(description="of its config")
    run_id: str = Field(description="hash of config, seed and content of the data")
    config_id: str = Field(description="hash of the config without the seed")
    system_id: str = Field(description="hash of hardware and software")
    seed: Count = Field(description="of weights, order and augmentation")
    status: Status = Field(description="ok, failed, oom, diverged, timeout or preempted")
    cause: Cause | None = None
    started_at: Moment
    ended_at: Moment
    attempt: Ordinal = Field(default=1, description="how many times it was begun")
    generation: Count = Field(
        default=0, description="of the claim that its writer owned the run by; see `harness.records.claims`"
    )
    num_processes: Ordinal = Field(description="ranks")
    packed: Ordinal = Field(
        default=1, description="runs at once on its device, by --pack; where more than 1, its times are not its own"
    )
    replaced: Count = Field(
        default=0, description="earlier records of this run that were set aside, into `replaced/`, to train it again"
    )
    code: str | None = Field(
        default=None,
        description="hash of the harness's code that trained it, without comments; several, joined by +, where other "
        "code took it up again; null in old records",
    )
    environment: dict[str, str] | None = Field(
        default=None,
        description="variables of the environment that change run time, where they were set; several values, joined "
        "by +, where it was taken up again with another one; null in old records",
    )
    spec: Plain


class Measurements(Record):
    """What a run that was trained to its end came to; the defaults are those of a run that was not."""

    epochs: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] = Field(default=0, description="that were trained")
    resumed_at_steps: list[Count] = Field(
        default=[],
        description="where it went on from a checkpoint, in optimizer steps; its times are sums over the parts",
    )
    disturbed: list[str] = Field(
        default=[],
        description="how others slowed it down, a sentence each; where there are any, its times do not count",
    )
    resolved: Resolved | None = None
    data: DataFacts | None = Field(default=None, validate_default=True, description="of a run that ended ok never null")
    model: ModelFacts | None = None
    clock: Clock = Clock()
    throughput: Throughput = Throughput()
    inference: Inference | None = None
    memory: Memory = Memory()
    energy: Energy = Energy()
    telemetry: Telemetry = Telemetry()
    disturbance: Disturbance = Disturbance()
    metrics: dict[str, Metrics] = Field(default_factory=dict, description="by split, after the last epoch")
    extra_metrics: dict[Annotated[str, Field(pattern=NAME)], ExtraMetric] = Field(
        default={}, description="metrics of plug-ins on the test images, by name"
    )
    selected: list[Selected] = []
    target: TargetReached | None = None
    unavailable: dict[str, str] = {}


# The last base comes first in the record: which run, then what was measured.
class RunResult(Measurements, RunIdentity):
    """All that tables are made from."""

    elsewhere: str | None = Field(
        default=None,
        exclude=True,
        description="the suite that it was run under, where that is not the report's; the reader says it, no record",
    )
    kept_under: str | None = Field(
        default=None,
        exclude=True,
        description="the suite whose folder holds the record, where that is not the report's; the reader says it",
    )
    usual_environment: dict[str, str] | None = Field(
        default=None,
        exclude=True,
        description="of most runs of its system, where its own is another one; the reader says it, no record",
    )
    calibration: Any = Field(
        default=None,
        exclude=True,
        description="of earlier records; the report derives it from the system's calibration",
    )

    @field_validator("data")
    @classmethod
    def _require_data(cls, data: DataFacts | None, info: ValidationInfo) -> DataFacts | None:
        if data is None and info.data.get("status") == "ok":
            raise PydanticCustomError("null", "null in the record of a run that ended ok")
        return data

    @functools.cached_property  # which the reader fills, so that it is no part of the record
    def folder(self) -> Path | None:
        """The folder that the record was read from; equality ignores it."""
        return None

    @property
    def is_anchor(self) -> bool:
        """Whether it repeats a run to show drift; it enters no mean."""
        return bool(self.spec.get("repeat"))


def metric(result: RunResult, name: str) -> float | None:
    """Returns one number of a result by its dotted name, e.g. `test.accuracy` or `clock.train_seconds`."""
    head, rest = _parts(name)
    value: Any = result.metrics.get(head) if head in SPLITS else vars(result).get(head)
    for part in rest:  # by `vars`: a report asks for half a million, and pydantic's own way takes three times as long
        value = vars(value).get(part) if isinstance(value, Record) else None
    return float(value) if isinstance(value, int | float) else None


@functools.cache
def _parts(name: str) -> tuple[str, tuple[str, ...]]:
    head, _, rest = name.partition(".")
    return head, tuple(rest.split("."))


SPLITS = ("train", "validation", "test")


def metric_names() -> list[str]:
    """Returns the names that `metric` knows, for references and targets."""
    scalar = [name for name in Metrics.model_fields if name != "recall_by_class"]
    parts = {"clock": Clock, "throughput": Throughput, "memory": Memory, "energy": Energy}
    return [f"{split}.{name}" for split in SPLITS for name in scalar] + [
        f"{part}.{name}" for part, model in parts.items() for name in model.model_fields
    ]
