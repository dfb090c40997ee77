"""Steps that are made and thrown away before a run's clock runs."""

from __future__ import annotations

import torch

from harness.data.order import GlobalBatches
from harness.spec import ImageShape, TrainSection
from harness.training.loop import Trainee, micro_batch_sizes
from harness.training.precision import autocast, image_dtype

GRAPH_CALLS = 3  # the first compiles, the second records a CUDA graph, the third replays it

_graphs_are_kept = False


def has_rehearsal(train: TrainSection, device: torch.device) -> bool:
    """Tells whether a first step takes longer than a later one: where it compiles, and on a GPU.

    There cuDNN tries its algorithms for each new shape and kernels are loaded, which would fall on the first run of a
    shape in a process and on no later one. On a CPU a first step took no longer.
    """
    return bool(train.compile) or device.type == "cuda"


def rehearse(trainee: Trainee, image: ImageShape, sampler: GlobalBatches) -> None:
    """Passes each batch shape of an epoch forward and backward; leaves weights, gradients and randomness as they were.

    The images are as the loader yields them: for those of another type or layout a step would compile or try again.
    """
    global _graphs_are_kept
    device, train = trainee.accelerator.device, trainee.train
    records_graphs = isinstance(train.compile, str)
    _graphs_are_kept |= records_graphs and device.type == "cuda"
    dtype = image_dtype(trainee.mixed_precision, device)
    format = torch.channels_last if train.channels_last else torch.contiguous_format
    tensors = [*trainee.network.parameters(), *trainee.network.buffers()]  # more than a state dict may hold
    before = [tensor.detach().clone() for tensor in tensors]
    trainee.model.train()
    sizes = {
        part
        for size in set(sampler.sizes)
        for share in {size // sampler.num_processes, -(-size // sampler.num_processes)}
        for part in micro_batch_sizes(share, train.micro_batch_size)
    }
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for size in sorted(sizes, reverse=True):
            # Not by `contiguous`, for which images of one channel are of either format as they are.
            images = torch.empty((size, *image), device=device, dtype=dtype, memory_format=format).zero_()
            for _ in range(GRAPH_CALLS if records_graphs else 1):
                with autocast(trainee.mixed_precision, device):
                    loss = trainee.model(images).square().mean()
                loss.backward()
                trainee.optimizer.zero_grad(set_to_none=not train.keeps_gradients)
    with torch.no_grad():
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)


def free_graphs() -> None:
    """Frees the CUDA graphs of this process's runs before, and has the compiler forget what else it made.

    They would stay in the device's memory, and each would be looked at before each step. Kernels stay on disk: what is
    compiled again takes seconds (benchmarks/performance/start.py --compile-cache).
    """
    global _graphs_are_kept
    if _graphs_are_kept:
        torch.compiler.reset()
    _graphs_are_kept = False
