"""What a run is made of: its batches, loader and train_state, built from its spec."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor, nn

from harness import registry
from harness.compiled import compile_for_each_shape
from harness.counted import counted
from harness.data.augment.batched import Batched, Recipe
from harness.data.augment.mixing import MixingLoader
from harness.data.copies import of_one_loader
from harness.data.cut import seen
from harness.data.loading import ChosenLoader, Feed, Loader
from harness.data.normalize import normalization
from harness.data.order import GlobalBatches
from harness.data.prepare import Splits
from harness.errors import HarnessError
from harness.models.network import build_network, fit_to_data
from harness.spec import ImageShape, RunSpec, TrainSection, parameters
from harness.training.activation_checkpointing import checkpoint_activations
from harness.training.loop import TrainState
from harness.training.precision import image_dtype, resolve_mixed_precision, round_weights
from harness.training.setup import build_ema, build_learning_rate, build_optimizer
from harness.without_compiler import wrap_for_ranks

SLACK_SECONDS = 60.0  # for what is no step: rank 0 claims a run, or writes a checkpoint
SUPERVISED_SLACK_SECONDS = 600.0  # in which a supervisor finds out who hangs, and ends the launch itself
YEAR_SECONDS = 365 * 86400.0  # the greatest timeout: a suite may set 1e300


def global_batches(spec: RunSpec, splits: Splits) -> GlobalBatches:
    """Returns which samples make up each batch of a run."""
    return GlobalBatches(
        num_samples=len(splits.train.labels),
        global_batch_size=spec.train.global_batch_size,
        num_processes=spec.train.world_size,
        seed=spec.seed,
        drop_last=spec.train.drop_last,
        shuffle=spec.train.shuffle,
    )


def build_loader(
    spec: RunSpec, splits: Splits, accelerator: Accelerator, chosen: ChosenLoader | None = None
) -> tuple[Loader, GlobalBatches]:
    """Returns the loader of this rank and the batches that all ranks share.

    Args:
        spec: the run.
        splits: its data.
        accelerator: tells the device and the rank.
        chosen: what `auto` chose before, for a run that goes on.
    """
    mean, std = normalization(spec.data, splits.train)
    sampler = global_batches(spec, splits)
    sampler.require_steps()
    precision = resolve_mixed_precision(spec.train.mixed_precision, accelerator.device)
    dtype = image_dtype(precision, accelerator.device)
    cut_size = spec.data.evaluate.crop if spec.data.evaluate else None
    feed = Feed(
        train=splits.train,
        recipe=Recipe(spec.data.augment, mean, std, dtype, spec.train.channels_last, cut_size),
        device=accelerator.device,
        rank=accelerator.process_index,
        num_processes=accelerator.num_processes,
        sampler=sampler,
        seed=spec.seed,
        chosen=chosen,
        evaluated=tuple(split for _, split in splits.held_out()),
        batches=len(sampler.sizes) * spec.train.epochs,
        deterministic=spec.train.deterministic,
    )
    with of_one_loader():
        loader = registry.build("loader", spec.loader.name, feed, **parameters(spec.loader))
    if spec.data.augment.mixes:
        loader = MixingLoader(loader, spec.data.augment, spec.seed, len(splits.class_names))
    return loader, sampler


def network_of(spec: RunSpec, splits: Splits) -> nn.Module:
    """Returns the network of a run, on the CPU, with a first layer that is not fitted to the data yet.

    Raises:
        HarnessError: it cannot be built so, or has no blocks to checkpoint.
    """
    network = build_network(spec.model, splits.image_shape(spec.data.augment), len(splits.class_names))
    if spec.train.activation_checkpointing:
        checkpoint_activations(spec.model.name, network)
    return network


def some_training_images(spec: RunSpec, splits: Splits, most: int = 5000) -> Tensor:
    """Returns images from all over the training split as evaluation would take them, float [n, C, H, W]."""
    split = splits.train
    numbers = np.linspace(0, len(split.labels) - 1, min(most, len(split.labels))).astype(int)
    pixels = torch.from_numpy(seen(split, numbers)).permute(0, 3, 1, 2)
    mean, std = normalization(spec.data, split)
    return Batched(Recipe(spec.data.augment, mean, std), pixels.device).evaluate(pixels)


def build_train_state(
    spec: RunSpec, splits: Splits, accelerator: Accelerator, steps_per_epoch: int, on_step: Callable[[int], None]
) -> TrainState:
    """Returns the network with all that steps it, on the device and wrapped in DDP where there are several ranks."""
    train = spec.train
    mixed_precision = resolve_mixed_precision(train.mixed_precision, accelerator.device)
    network, began = network_of(spec, splits), time.perf_counter()
    if spec.model.whiten:
        fit_to_data(network, some_training_images(spec, splits))
    whiten_seconds = time.perf_counter() - began
    network, model = prepare_network(round_weights(network, mixed_precision), train, accelerator)
    optimizer = build_optimizer(spec.optimizer, network)
    if train.keeps_gradients:
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    return TrainState(
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
        class_weights=class_weights(train, splits, accelerator.device),
        whiten_seconds=whiten_seconds,
    )


def class_weights(train: TrainSection, splits: Splits, device: torch.device) -> Tensor | None:
    """Returns the weight of each class in the loss, float32 [C]; None where all weigh the same.

    Raises:
        HarnessError: there are not as many weights as classes.
    """
    wanted, count = train.class_weights, len(splits.class_names)
    if wanted is None:
        return None
    if wanted == "balanced":
        images = np.bincount(splits.train.labels, minlength=count)
        return torch.from_numpy(images.sum() / count / np.maximum(images, 1)).to(device, torch.float32)
    if len(wanted) != count:
        message = f"train.class_weights has {counted(len(wanted), 'weight')} for {counted(count, 'class', 'classes')}"
        raise HarnessError(message, f"give one for each: {', '.join(splits.class_names[:8])}")
    return torch.tensor(wanted, dtype=torch.float32, device=device)


def prepare_network(network: nn.Module, train: TrainSection, accelerator: Accelerator) -> tuple[nn.Module, nn.Module]:
    """Returns the network on the device, and what is called in training: wrapped in DDP and compiled, as asked."""
    if train.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = network.to(accelerator.device)
    # It is placed; asked to, Accelerate would import all of torch.distributed.tensor first.
    prepare = functools.partial(accelerator.prepare_model, network, device_placement=False)
    model: Any = prepare() if train.compile or accelerator.num_processes == 1 else wrap_for_ranks(prepare)
    if accelerator.num_processes > 1:
        model.broadcast_buffers = False  # every step would pay for it; `average_buffers` does it before evaluation
    if train.compile:
        model = compile_for_each_shape(model, None if train.compile is True else train.compile)
    return network, model


def black_images(
    size: int, image: ImageShape, train: TrainSection, mixed_precision: str, device: torch.device
) -> Tensor:
    """Returns images [size, C, H, W] of the type and layout in which the loader of a run yields them."""
    # Not by `contiguous`, for which images of one channel are of either format as they are.
    format = torch.channels_last if train.channels_last else torch.contiguous_format
    dtype = image_dtype(mixed_precision, device)
    return torch.empty((size, *image), device=device, dtype=dtype, memory_format=format).zero_()


def undrawn(device: torch.device) -> AbstractContextManager[None]:
    """Returns a context after which random numbers of the host and the device go on as if none had been drawn in it."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])  # not of all GPUs, as by default


def group_options(trains: Iterable[TrainSection], *, supervised: bool) -> InitProcessGroupKwargs:
    """Returns how long ranks wait for each other in a collective: longer than a step of any of these runs may take.

    By default NCCL gives up after ten minutes, whatever a suite allows.
    """
    longest = max((train.timeout_seconds for train in trains), default=0.0)
    seconds = longest + (SUPERVISED_SLACK_SECONDS if supervised else SLACK_SECONDS)
    return InitProcessGroupKwargs(timeout=timedelta(seconds=min(seconds, YEAR_SECONDS)))


def ddp_options() -> DistributedDataParallelKwargs:
    """Returns how Accelerate shall wrap networks where there are several ranks.

    Not with `static_graph`: it makes no step faster (benchmarks/performance/ddp.py), and with it the first backward
    pass under `no_sync`, which gradient accumulation needs, fails an internal assertion of torch (seen with 2.15).
    """
    return DistributedDataParallelKwargs(gradient_as_bucket_view=True)
