"""RunSpec -> what the run came to: the one place that wires data, model, training and measurement together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from harness import registry
from harness.data.augment.batched import Recipe
from harness.data.loading import Feed, Loader
from harness.data.normalize import normalization
from harness.data.order import GlobalBatches, hash_seed
from harness.data.prepare import Splits
from harness.measure.clock import Stopwatch, TrainClock
from harness.measure.memory import NOT_SAMPLED, PeakMemory
from harness.models.size import count_size
from harness.records.result import Clock, DataFacts, Metrics, Resolved
from harness.spec import ImageShape, RunSpec, parameters
from harness.suite_file import Target
from harness.training.distributed import (
    agree_on_time,
    average_buffers,
    gather_predictions,
    largest_memory,
    sum_tally,
)
from harness.training.history import Epoch, History
from harness.training.loop import Trainee, evaluate, micro_batch_sizes, train_epoch
from harness.training.precision import DTYPES, apply_switches, autocast, resolve_mixed_precision
from harness.training.setup import build_ema, build_learning_rate, build_optimizer

DROPOUT = 2**32  # a stream of random numbers apart from those of the permutation and the augmentation


@dataclass(frozen=True)
class Observer:
    """Who watches a run: `on_step` is given each step's number in the run, `on_epoch` each epoch."""

    on_step: Callable[[int], None]
    on_epoch: Callable[[Epoch], None]


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        fields: those of a `RunResult`, by name.
        arrays: to store beside it.
        losses: of each optimizer step, float [steps].
        network: as it was evaluated after the last epoch.
    """

    fields: dict[str, Any]
    arrays: dict[str, Tensor]
    losses: Tensor
    network: nn.Module


def execute(
    spec: RunSpec,
    splits: Splits,
    accelerator: Accelerator,
    observer: Observer,
    *,
    fingerprint: str,
    target: Target | None = None,
    data_seconds: float = 0.0,
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

    Raises:
        HarnessError: this machine cannot build the config; every rank raises it, before the first step.
        Diverged: a loss was not finite.
    """
    began = time.perf_counter()
    device, train = accelerator.device, spec.train
    peaks, stopwatch = PeakMemory(device), Stopwatch(device)

    with stopwatch("build"):
        apply_switches(train)
        set_seed(spec.seed)
        loader, sampler = build_loader(spec, splits, accelerator)
        trainee = build_trainee(spec, splits, accelerator, len(sampler.sizes), observer.on_step)
        size = count_size(trainee.network, splits.image_shape(spec.data.augment), device)
    if train.compile:
        with stopwatch("compile"):
            compile_ahead(trainee, splits.image_shape(spec.data.augment), sampler)

    torch.manual_seed(hash_seed(spec.seed, 0, DROPOUT + accelerator.process_index))  # differs from rank to rank
    history, clock = History(sampler.sizes, target), TrainClock(device, train.untimed_steps)
    confusion: dict[str, Tensor] = {}
    losses: list[Tensor] = []
    predictions = torch.empty(0)
    try:
        for epoch in range(train.epochs):
            steps_before = epoch * len(sampler.sizes)
            counts, of_steps = train_epoch(trainee, loader.epoch(epoch), sampler.sizes, steps_before, clock)
            eval_before = stopwatch.seconds.get("eval", 0.0)
            with stopwatch("eval"):
                losses.append(cast(Tensor, accelerator.reduce(of_steps, "mean")).cpu())
                metrics: dict[str, Metrics] = {}
                metrics["train"], confusion["train"] = sum_tally(accelerator, counts).metrics()
                if (epoch + 1) % train.evaluate_every_epochs == 0 or epoch + 1 == train.epochs:
                    average_buffers(accelerator, trainee.evaluated)
                    evaluated = splits.held_out()
                    for name, split in [("train", splits.train), *evaluated] if train.evaluate_train else evaluated:
                        batches = loader.evaluation(split, train.eval_batch_size)
                        counts, own = evaluate(trainee, batches)
                        metrics[name], confusion[name] = sum_tally(accelerator, counts).metrics()
                        predictions = gather_predictions(accelerator, own, len(split.labels))
            eval_seconds = stopwatch.seconds["eval"] - eval_before
            timed = agree_on_time(accelerator, clock.last_epoch())
            history.add(Epoch(epoch, timed, eval_seconds, trainee.learning_rate.value, metrics))
            observer.on_epoch(history.epochs[-1])
    finally:
        loader.close()
        accelerator.free_memory()

    memory, no_memory = peaks.read()
    memory = largest_memory(accelerator, memory)
    throughput, no_throughput = history.throughput(sampler.skipped)
    return Outcome(
        fields={
            "epochs": train.epochs,
            "resolved": Resolved(
                device=device.type,
                mixed_precision=trainee.mixed_precision,
                loader=loader.name,
                loader_images_per_second=loader.measured,
                micro_batch_size=train.micro_batch_size,
            ),
            "data": DataFacts(
                fingerprint=fingerprint,
                train_samples=len(splits.train.labels),
                validation_samples=len(splits.validation.labels),
                test_samples=len(splits.test.labels),
                num_classes=len(splits.class_names),
                skipped_files=splits.skipped_files,
                rankable=splits.rankable,
                decode_seconds=splits.decode_seconds,
            ),
            "model": size,
            "clock": Clock(
                train_seconds=history.train_seconds,
                eval_seconds=stopwatch.seconds["eval"],
                data_seconds=data_seconds,
                build_seconds=stopwatch.seconds["build"],
                compile_seconds=stopwatch.seconds.get("compile", 0.0),
                checkpoint_seconds=0.0,
                total_seconds=time.perf_counter() - began,
            ),
            "throughput": throughput,
            "memory": memory,
            "metrics": history.last_metrics(),
            "selected": history.selected(),
            "target": history.target(),
            "unavailable": {
                **no_memory,
                **no_throughput,
                "energy": NOT_SAMPLED,
                "telemetry": NOT_SAMPLED,
                "calibration": "the system was not calibrated",
            },
        },
        arrays={
            "label": torch.from_numpy(splits.test.labels),
            "prediction": predictions.cpu(),
            **{f"confusion_{split}": matrix for split, matrix in confusion.items()},
        },
        losses=torch.cat(losses),
        network=trainee.evaluated,
    )


def global_batches(spec: RunSpec, splits: Splits) -> GlobalBatches:
    """Returns which samples make up each batch of a run."""
    return GlobalBatches(
        num_samples=len(splits.train.labels),
        global_batch_size=spec.train.global_batch_size,
        num_processes=spec.train.num_processes or 1,
        seed=spec.seed,
        drop_last=spec.train.drop_last,
        shuffle=spec.train.shuffle,
    )


def build_loader(spec: RunSpec, splits: Splits, accelerator: Accelerator) -> tuple[Loader, GlobalBatches]:
    """Returns the loader of this rank and the batches that all ranks share."""
    mean, std = normalization(spec.data, splits.train)
    sampler = global_batches(spec, splits)
    sampler.require_steps()
    precision = resolve_mixed_precision(spec.train.mixed_precision, accelerator.device)
    # What autocast would make of the images in the first layer, the loader can make at once.
    dtype = DTYPES.get(precision, torch.float32) if accelerator.device.type == "cuda" else torch.float32
    feed = Feed(
        train=splits.train,
        recipe=Recipe(spec.data.augment, mean, std, dtype, spec.train.channels_last),
        device=accelerator.device,
        rank=accelerator.process_index,
        num_processes=accelerator.num_processes,
        sampler=sampler,
        seed=spec.seed,
    )
    return registry.build("loader", spec.loader.name, feed, **parameters(spec.loader)), sampler


def build_trainee(
    spec: RunSpec, splits: Splits, accelerator: Accelerator, steps_per_epoch: int, on_step: Callable[[int], None]
) -> Trainee:
    """Returns the network with all that steps it, on the device and wrapped in DDP where there are several ranks."""
    train = spec.train
    mixed_precision = resolve_mixed_precision(train.mixed_precision, accelerator.device)
    network: nn.Module = registry.build(
        "architecture",
        spec.model.name,
        splits.image_shape(spec.data.augment),
        len(splits.class_names),
        **parameters(spec.model),
    )
    if train.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = network.to(accelerator.device)
    model: Any = accelerator.prepare_model(network)
    if accelerator.num_processes > 1:
        model.broadcast_buffers = False  # every step would pay for it; `average_buffers` does it before evaluation
    if train.compile:
        model = torch.compile(model, mode=None if train.compile is True else train.compile)
    optimizer = build_optimizer(spec.optimizer, network)
    return Trainee(
        accelerator=accelerator,
        train=train,
        mixed_precision=mixed_precision,
        network=network,
        model=model,
        optimizer=optimizer,
        learning_rate=build_learning_rate(spec.schedule, optimizer, train.epochs, steps_per_epoch),
        ema=build_ema(network, train.ema_decay),
        scaler=torch.amp.GradScaler("cuda", enabled=mixed_precision == "fp16"),
        num_classes=len(splits.class_names),
        on_step=on_step,
    )


def compile_ahead(trainee: Trainee, image: ImageShape, sampler: GlobalBatches) -> None:
    """Compiles for each batch shape of an epoch, and leaves weights and randomness as they were."""
    device, train = trainee.accelerator.device, trainee.train
    state = {name: value.clone() for name, value in trainee.network.state_dict().items()}
    trainee.model.train()
    sizes = {
        part
        for size in set(sampler.sizes)
        for share in {size // sampler.num_processes, -(-size // sampler.num_processes)}
        for part in micro_batch_sizes(share, train.micro_batch_size)
    }
    with torch.random.fork_rng():
        for size in sorted(sizes, reverse=True):
            images = torch.zeros(size, *image, device=device)
            if train.channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            with autocast(trainee.mixed_precision, device):
                loss = trainee.model(images).square().mean()
            loss.backward()
    trainee.optimizer.zero_grad(set_to_none=True)
    trainee.network.load_state_dict(state)
