"""Micro-batches that fit the device's memory, found by trial before a run, and the same on every rank."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from harness.data.prepare import Splits
from harness.errors import MachineError
from harness.measure.memory import is_out_of_memory, release_freed_memory
from harness.running.build import black_images, network_of, undrawn
from harness.spec import RunSpec
from harness.training.precision import autocast, resolve_mixed_precision, round_weights
from harness.training.setup import build_ema, build_optimizer

STEPS = 2  # the second has the optimizer's state beside it


def search_micro_batches(spec: RunSpec, splits: Splits, accelerator: Accelerator) -> RunSpec:
    """Returns the spec with as many micro-batches a step as it needs to fit, at least its own; every rank calls it.

    A network that is thrown away is stepped twice with a micro-batch. Where that is too much for one rank, all go on
    with halves: `global_batch_size` stays what it is. The data set is to be where it stays during the run. Each rank
    tries alone, without DDP: one that ran out of memory would leave the others waiting.

    Raises:
        MachineError: too large even where they can be halved no more.
    """
    if not spec.train.retry_out_of_memory:
        return spec
    while not _fits_everywhere(spec, splits, accelerator):
        train = spec.train.with_halved_micro_batches()
        if train is None:
            raise MachineError(
                f"{spec.model.name} does not fit the memory with micro-batches of {spec.train.micro_batch_size}, and "
                "they cannot be halved",
                "use a smaller network or smaller images, or a global_batch_size that can be halved more often",
            )
        spec = spec.model_copy(update={"train": train})
    return spec


def _fits_everywhere(spec: RunSpec, splits: Splits, accelerator: Accelerator) -> bool:
    too_large = torch.tensor(not _fits(spec, splits, accelerator.device), dtype=torch.int32, device=accelerator.device)
    found = accelerator.reduce(too_large, "sum")
    assert isinstance(found, Tensor)
    return not found.item()


def _fits(spec: RunSpec, splits: Splits, device: torch.device) -> bool:
    try:
        with undrawn(device):
            _step(spec, splits, device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        release_freed_memory(device)
    return True


def _step(spec: RunSpec, splits: Splits, device: torch.device) -> None:
    train, image = spec.train, splits.image_shape(spec.data.augment)
    precision = resolve_mixed_precision(train.mixed_precision, device)
    network = round_weights(network_of(spec, splits), precision).to(device)
    format = torch.channels_last if train.channels_last else torch.contiguous_format
    network = network.to(memory_format=format)  # type: ignore[call-overload]
    optimizer, ema = build_optimizer(spec.optimizer, network), build_ema(network, train.ema_decay)
    images = black_images(train.micro_batch_size, image, train, precision, device)
    labels = torch.zeros(len(images), dtype=torch.int64, device=device)
    network.train()
    for _ in range(STEPS):
        with autocast(precision, device):
            loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if ema is not None:
            ema.update_parameters(network)
