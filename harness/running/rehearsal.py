"""Steps that are made and thrown away before a run's clock runs, and the CUDA graphs that they leave."""

from __future__ import annotations

import torch

from harness.data.order import GlobalBatches
from harness.running.build import black_images, undrawn
from harness.spec import ImageShape, TrainSection
from harness.training.loop import Trainee, micro_batch_sizes
from harness.training.precision import autocast

GRAPH_CALLS = 3  # the first compiles, the second records a CUDA graph, the third replays it


def has_rehearsal(train: TrainSection, device: torch.device) -> bool:
    """Tells whether a first step takes longer than a later one: where it compiles, and on a GPU.

    On a GPU cuDNN tries its algorithms for each new shape, and kernels are loaded: that would fall on the first run of
    a shape in a process and on no later one. On a CPU a first step took no longer.
    """
    return bool(train.compile) or device.type == "cuda"


def rehearse(trainee: Trainee, image: ImageShape, sampler: GlobalBatches) -> None:
    """Passes each batch shape of an epoch forward and backward; leaves weights, gradients and randomness as they were.

    The images are as the loader yields them: for those of another type or layout a step would compile or try again.
    """
    device, train = trainee.accelerator.device, trainee.train
    tensors = [*trainee.network.parameters(), *trainee.network.buffers()]  # more than a state dict may hold
    before = [tensor.detach().clone() for tensor in tensors]
    trainee.model.train()
    sizes = {
        part
        for size in set(sampler.sizes)
        for share in {size // sampler.num_processes, -(-size // sampler.num_processes)}
        for part in micro_batch_sizes(share, train.micro_batch_size)
    }
    with undrawn(device):
        for size in sorted(sizes, reverse=True):
            images = black_images(size, image, train, trainee.mixed_precision, device)
            for _ in range(GRAPH_CALLS if train.records_graphs else 1):
                with autocast(trainee.mixed_precision, device):
                    loss = trainee.model(images).square().mean()
                loss.backward()
                trainee.optimizer.zero_grad(set_to_none=not train.keeps_gradients)
    with torch.no_grad():
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)


def free_graphs(train: TrainSection, device: torch.device) -> None:
    """Frees the CUDA graphs of a run that has ended, and has the compiler forget what else it made.

    They would stay in the device's memory, in the peak of the process's next run, and each would be looked at before
    each of its steps. Kernels stay on disk: to compile again takes seconds (benchmarks/performance/start.py
    --compile-cache).
    """
    if train.records_graphs and device.type == "cuda":
        torch.compiler.reset()
