"""Steps that are made and thrown away before a run's clock runs, and the CUDA graphs that they leave."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch

from harness.data.order import GlobalBatches, evaluation_share
from harness.data.source import Split
from harness.measure.memory import PeakMemory, release_freed_memory
from harness.running.build import black_images, undrawn
from harness.spec import ImageShape, TrainSection
from harness.training.loop import TrainState, micro_batch_sizes
from harness.training.precision import autocast
from harness.training.test_time_augmentation import logits_of_views

GRAPH_CALLS = 3  # the first compiles, the second records a CUDA graph, the third replays it


def has_rehearsal(train: TrainSection, device: torch.device) -> bool:
    """Tells whether a first step takes longer than a later one: where it compiles, and on a GPU.

    On a GPU cuDNN tries its algorithms for each new shape, and kernels are loaded: that would fall on the first run of
    a shape in a process and on no later one. On a CPU a first step took no longer.
    """
    return bool(train.compile) or device.type == "cuda"


def rehearse(
    train_state: TrainState, image: ImageShape, sampler: GlobalBatches, evaluated: Iterable[tuple[str, Split]] = ()
) -> PeakMemory | None:
    """Steps and evaluates each batch shape of a run; leaves weights, gradients and randomness as they were.

    It does so twice. The first time kernels are compiled and algorithms tried, with memory that a later run of these
    shapes does not take; when that is released, the second time takes the memory that a step will find.

    Args:
        train_state: what is stepped.
        image: as the network sees it.
        sampler: says how large the batches are.
        evaluated: the splits that the run evaluates.

    Returns:
        The peaks since CUDA graphs were recorded, whose memory is counted then and in no replay; else None.
    """
    device, train = train_state.accelerator.device, train_state.train
    records = train.records_graphs and device.type == "cuda"
    with _left_as_it_was(train_state):
        _step(train_state, image, sampler, calls=1)
        _evaluate(train_state, image, evaluated)
    release_freed_memory(device)
    peaks = PeakMemory(device) if records else None
    with _left_as_it_was(train_state):
        _step(train_state, image, sampler, calls=GRAPH_CALLS - 1 if train.records_graphs else 1)
        _evaluate(train_state, image, evaluated)
    return peaks


@contextlib.contextmanager
def _left_as_it_was(train_state: TrainState) -> Iterator[None]:
    tensors = [*train_state.network.parameters(), *train_state.network.buffers()]  # more than a state dict may hold
    before = [tensor.detach().to("cpu", copy=True) for tensor in tensors]  # on the device they would be in the peak
    with undrawn(train_state.accelerator.device):
        yield
    with torch.no_grad():
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)


def _step(train_state: TrainState, image: ImageShape, sampler: GlobalBatches, calls: int) -> None:
    """Passes each batch shape of an epoch forward and backward.

    The images are as the loader yields them: for those of another type or layout a step would compile or try again.
    """
    device, train = train_state.accelerator.device, train_state.train
    train_state.model.train()
    sizes = {
        part
        for size in set(sampler.sizes)
        for share in {size // sampler.num_processes, -(-size // sampler.num_processes)}
        for part in micro_batch_sizes(share, train.micro_batch_size)
    }
    for size in sorted(sizes, reverse=True):
        images = black_images(size, image, train, train_state.mixed_precision, device)
        for _ in range(calls):
            with autocast(train_state.mixed_precision, device):
                loss = train_state.model(images).square().mean()
            loss.backward()
            train_state.optimizer.zero_grad(set_to_none=not train.keeps_gradients)


@torch.no_grad()
def _evaluate(train_state: TrainState, image: ImageShape, evaluated: Iterable[tuple[str, Split]]) -> None:
    """Passes each batch shape of an evaluation forward, on a GPU; on a CPU nothing of it is compiled or tried."""
    accelerator, train = train_state.accelerator, train_state.train
    device, network = accelerator.device, train_state.evaluated.eval()
    if device.type != "cuda":
        return
    ranks = accelerator.process_index, accelerator.num_processes
    shares = (share for _, split in evaluated for share in evaluation_share(split, *ranks, train.eval_batch_size))
    for size in sorted({len(range(share.start, share.stop, share.step)) for share in shares}, reverse=True):
        images = black_images(size, image, train, train_state.mixed_precision, device)
        with autocast(train_state.mixed_precision, device):
            logits_of_views(network, images, train.evaluate_views, train.evaluate_views_share)


def free_graphs(train: TrainSection, device: torch.device) -> None:
    """Frees the CUDA graphs of a run that has ended, and has the compiler forget what else it made.

    They would stay in the device's memory, in the peak of the process's next run, and each would be looked at before
    each of its steps. Kernels stay on disk: to compile again takes seconds (benchmarks/performance/start.py
    --compile-cache).
    """
    if train.records_graphs and device.type == "cuda":
        torch.compiler.reset()
