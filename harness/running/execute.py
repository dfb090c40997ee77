"""RunSpec -> what the run came to: the one place that wires data, model, training and measurement together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from torch import Tensor, nn

from harness.data.loading import ChosenLoader, Loader
from harness.data.order import GlobalBatches, hash_seed
from harness.data.prepare import Splits
from harness.errors import HarnessError
from harness.launching.launch_folder import launching_process
from harness.measure.clock import Stopwatch
from harness.measure.disturbance import judge
from harness.measure.memory import PeakMemory, larger, release_freed_memory
from harness.measure.readings import Readings
from harness.measure.recorded import recorded
from harness.models.pretrained import loaded_weights
from harness.models.size import count_size
from harness.records.checkpoints import Checkpoint, CheckpointFolder
from harness.records.result import Clock, DataFacts, Measurements, Memory, ModelFacts, Resolved
from harness.running.build import build_loader, build_train_state
from harness.running.micro_batch_search import search_micro_batches
from harness.running.rehearsal import free_graphs, has_rehearsal, rehearse
from harness.spec import RunSpec, TrainSection
from harness.suite.file import Target
from harness.training.activation_checkpointing import checkpointed_blocks
from harness.training.checkpoint_state import Progress, checkpoint_files, chosen_loader, restore
from harness.training.distributed import largest_memory
from harness.training.epochs import run_epochs
from harness.training.history import Epoch, History
from harness.training.loop import TrainState, begin_epoch
from harness.training.precision import apply_switches
from harness.training.step_control import StepControl
from harness.training.telemetry_sampler import open_telemetry_sampler, over_ranks

MOST_SKIPPED = 20  # files that a record names
DROPOUT = 2**32  # a stream of random numbers apart from those of the permutation and the augmentation


@dataclass(frozen=True)
class Observer:
    """Who watches a run.

    Attributes:
        on_step: is given each step's number in the run.
        on_epoch: is given each epoch.
        on_checkpoint: is given the steps done, and why the checkpoint could not be written, or None.
        stop_requested: whether a signal asks this process to stop.
        is_lost: whether another process owns the run by now; asked at each step, and only rank 0 need know.
        on_sample: is given what telemetry reads, about once a second, in a thread of its own.
        say: is given sentences for a person.
    """

    on_step: Callable[[int], None]
    on_epoch: Callable[[Epoch], None]
    on_checkpoint: Callable[[int, str | None], None] = lambda step, problem: None
    stop_requested: Callable[[], bool] = lambda: False
    is_lost: Callable[[], bool] = lambda: False
    on_sample: Callable[[Readings], None] | None = None
    say: Callable[[str], None] = lambda sentence: None


@dataclass(frozen=True)
class CheckpointPolicy:
    """Where a run's checkpoints go, and the one it goes on from.

    Attributes:
        folder: of this run's checkpoints, on a disk that all ranks see.
        run: whose checkpoints they are: what they are checked against when they are read.
        is_ours: whether this process still owns the run; asked on rank 0.
        resume_from: of the same run, verified; None to begin at the beginning.
    """

    folder: CheckpointFolder
    run: Mapping[str, Any]
    is_ours: Callable[[], bool]
    resume_from: Checkpoint | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        measured: its part of the record.
        arrays: to store beside it.
        losses: of each optimizer step, float [steps].
        network: as it was evaluated after the last epoch.
    """

    measured: Measurements
    arrays: dict[str, Tensor]
    losses: Tensor
    network: nn.Module


@dataclass(frozen=True)
class Ready:
    """A run that is built, and has not made its first step.

    Attributes:
        train: how it is trained, with micro-batches that fit where it searches for them.
        peaks: since CUDA graphs were recorded; None where there are none.
    """

    train: TrainSection
    loader: Loader
    sampler: GlobalBatches
    train_state: TrainState
    size: ModelFacts
    peaks: PeakMemory | None


def make_ready(
    spec: RunSpec,
    splits: Splits,
    accelerator: Accelerator,
    stopwatch: Stopwatch,
    on_step: Callable[[int], None],
    *,
    say: Callable[[str], None] = lambda sentence: None,
    chosen: ChosenLoader | None = None,
) -> Ready:
    """Builds a run and rehearses its steps; every rank calls it.

    Args:
        spec, splits, accelerator: see `execute`.
        stopwatch: takes the seconds of `build`, `compile` and `whiten`.
        on_step, say: see `Observer`.
        chosen: what `auto` chose before, for a run that goes on.

    Raises:
        HarnessError: this machine cannot build the config.
    """
    with stopwatch("build"):
        apply_switches(spec.train)
        set_seed(spec.seed)
        loader, sampler = build_loader(spec, splits, accelerator, chosen)
        if isinstance(why := loader.measured.get(spec.loader.name), str):
            say(f"loader {loader.name} instead of {spec.loader.name}: {why}")
        spec = search_micro_batches(spec, splits, accelerator)
        train, image = spec.train, splits.image_shape(spec.data.augment)
        train_state = build_train_state(spec, splits, accelerator, len(sampler.sizes), on_step)
        size = count_size(train_state.network, image, accelerator.device)
        if loaded := loaded_weights(train_state.network):
            say(f"{spec.label} begins with {loaded.file}; its last layer is {loaded.head}")
    stopwatch.seconds["whiten"] = train_state.whiten_seconds
    peaks = None
    if has_rehearsal(train, accelerator.device):
        with stopwatch("compile" if train.compile else "build"):
            peaks = rehearse(train_state, image, sampler, splits.evaluated(train=train.evaluate_train))
    else:
        release_freed_memory(accelerator.device)  # of building
    return Ready(train, loader, sampler, train_state, size, peaks)


def execute(
    spec: RunSpec,
    splits: Splits,
    accelerator: Accelerator,
    observer: Observer,
    *,
    fingerprint: str,
    target: Target | None = None,
    data_seconds: float = 0.0,
    checkpoint_policy: CheckpointPolicy | None = None,
) -> Outcome:
    """Runs one run; every rank calls it.

    Args:
        spec: the run, with `num_processes` equal to the world size.
        splits: its data.
        accelerator: the process group and device; the same for all runs of a process.
        observer: is told of steps and epochs.
        fingerprint: of the data.
        target: an accuracy whose time is taken.
        data_seconds: what reading the data took, for the record.
        checkpoint_policy: its checkpoints; None to write none.

    Raises:
        HarnessError: this machine cannot build the config, or cannot go on from the checkpoint; before the first step.
        Diverged: a loss was not finite.
        Stopped, Lost: as the observer asked.
    """
    began = time.perf_counter()
    device = accelerator.device
    release_freed_memory(device)  # of earlier runs
    stopwatch = Stopwatch(device)
    resume_from = checkpoint_policy.resume_from if checkpoint_policy else None

    ready = make_ready(
        spec,
        splits,
        accelerator,
        stopwatch,
        observer.on_step,
        say=observer.say,
        chosen=chosen_loader(resume_from) if resume_from else None,
    )
    train, loader, sampler, train_state = ready.train, ready.loader, ready.sampler, ready.train_state
    loaded = loaded_weights(train_state.network)

    torch.manual_seed(hash_seed(spec.seed, 0, DROPOUT + accelerator.process_index))  # differs from rank to rank
    progress = Progress(begin_epoch(train_state, 0), History(sampler.sizes, target), stopwatch.seconds, loader)
    progress.seconds |= {"data": data_seconds, "total": 0.0}
    if resume_from:
        with stopwatch("checkpoint"):
            restore(resume_from, train_state, progress)
    peaks = ready.peaks or PeakMemory(device)  # what came before depends on the runs before
    earlier_seconds, first_step = progress.seconds["total"], progress.step(len(sampler.sizes))
    earlier_readings, telemetry = progress.readings, open_telemetry_sampler(accelerator, launching_process())
    telemetry.on_sample = observer.on_sample

    def peak_memory() -> tuple[Memory, dict[str, str]]:
        own, reasons = peaks.read()
        return larger(progress.memory, largest_memory(accelerator, own)), reasons

    def all_readings() -> Readings:
        return earlier_readings + over_ranks(accelerator, telemetry.readings)

    def save() -> bool:
        progress.seconds["total"] = earlier_seconds + time.perf_counter() - began
        progress.memory, _ = peak_memory()
        progress.readings = all_readings()
        return save_checkpoint(checkpoint_policy, train_state, progress, len(sampler.sizes), observer.on_checkpoint)

    every = (train.checkpoint_every_seconds, train.checkpoint_every_steps) if checkpoint_policy else (None, None)
    pauses = StepControl(accelerator.num_processes, observer.stop_requested, *every, first_step, observer.is_lost)
    try:
        with telemetry:
            last = run_epochs(
                train_state,
                splits,
                loader,
                sampler.sizes,
                progress,
                pauses,
                stopwatch,
                telemetry,
                save,
                observer.on_epoch,
            )
    finally:
        loader.close()
        free_graphs(train, device)
        accelerator.free_memory()

    history, (memory, no_memory) = progress.history, peak_memory()
    throughput, no_throughput = history.throughput(sampler.skipped)
    readings, reached = all_readings(), history.target()
    sampled = recorded(readings, history.train_joules, len(history.epochs))
    disturbed = judge(readings, sampled.telemetry, uses_gpu=device.type == "cuda")
    no_energy = {}
    if reached and reached.epoch is not None and reached.train_joules is None:
        no_energy["target.train_joules"] = sampled.unavailable["energy.train_joules"]
    return Outcome(
        measured=Measurements(
            epochs=train.epochs,
            resolved=Resolved(
                device=device.type,
                mixed_precision=train_state.mixed_precision,
                loader=loader.name,
                loader_images_per_second=loader.measured,
                micro_batch_size=train.micro_batch_size,
                gradient_accumulation_steps=train.gradient_accumulation_steps,
                checkpointed_blocks=checkpointed_blocks(train_state.network) or None,
                pretrained_file=loaded.file if loaded else None,
                pretrained_sha256=loaded.sha256 if loaded else None,
                pretrained_head=loaded.head if loaded else None,
            ),
            data=DataFacts(
                fingerprint=fingerprint,
                train_samples=len(splits.train.labels),
                validation_samples=len(splits.validation.labels),
                test_samples=len(splits.test.labels),
                num_classes=len(splits.class_names),
                skipped_files=len(splits.skipped),
                skipped_names=["/".join(Path(path).parts[-3:]) for path in splits.skipped[:MOST_SKIPPED]],
                rankable=splits.rankable,
                decode_seconds=splits.decode_seconds,
            ),
            model=ready.size,
            clock=Clock(
                train_seconds=history.train_seconds,
                eval_seconds=stopwatch.seconds["eval"],
                data_seconds=stopwatch.seconds["data"],
                build_seconds=stopwatch.seconds["build"],
                compile_seconds=stopwatch.seconds.get("compile", 0.0),
                checkpoint_seconds=stopwatch.seconds.get("checkpoint", 0.0),
                inference_seconds=0.0,
                speedrun_seconds=stopwatch.seconds["whiten"] + history.train_seconds + stopwatch.seconds["eval"],
                total_seconds=earlier_seconds + time.perf_counter() - began,
            ),
            throughput=throughput,
            memory=larger(memory, sampled.memory),
            energy=sampled.energy,
            telemetry=sampled.telemetry,
            disturbance=disturbed.disturbance,
            disturbed=disturbed.sentences,
            metrics=history.last_metrics(),
            selected=history.selected(),
            target=reached,
            resumed_at_steps=progress.resumed_at,
            unavailable={
                **no_memory,
                **no_throughput,
                **sampled.unavailable,
                **disturbed.unavailable,
                **no_energy,
            },
        ),
        arrays={
            "label": torch.from_numpy(splits.test.labels),
            "prediction": last.predictions.cpu(),
            **{f"confusion_{split}": matrix for split, matrix in last.confusion.items()},
        },
        losses=torch.cat(progress.losses),
        network=train_state.evaluated,
    )


def save_checkpoint(
    checkpoint_policy: CheckpointPolicy | None,
    train_state: TrainState,
    progress: Progress,
    steps_per_epoch: int,
    on_checkpoint: Callable[[int, str | None], None],
) -> bool:
    """Writes a checkpoint, on rank 0, and tells whether it could; every rank calls it. Training goes on either way."""
    if checkpoint_policy is None:
        return False
    step, problem = progress.step(steps_per_epoch), None
    try:
        files = checkpoint_files(train_state, progress)
        if files and not checkpoint_policy.is_ours():
            problem = "another process has taken this run over"
        elif files:
            checkpoint_policy.folder.commit(step, files, checkpoint_policy.run)
    except HarnessError as error:
        problem = error.message
    except OSError as error:
        problem = f"{error.strerror}: {checkpoint_policy.folder.path}"
    problem = broadcast_object_list([problem])[0]
    on_checkpoint(step, problem)
    return problem is None
