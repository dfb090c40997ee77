"""What torch's compiler makes for a run: before its clock runs, and as in a process that had no run before."""

from __future__ import annotations

import json
import sys

import torch

from harness.data.order import GlobalBatches
from harness.spec import ImageShape, RunSpec
from harness.training.loop import Trainee, micro_batch_sizes
from harness.training.precision import autocast, image_dtype

GRAPH_CALLS = 3  # the first compiles, the second records a CUDA graph, the third replays it
# What of a spec, beside model, data and loader, decides what is compiled.
DECISIVE = {
    "global_batch_size", "num_processes", "gradient_accumulation_steps", "drop_last", "mixed_precision", "tf32",
    "channels_last", "compile", "deterministic",
}  # fmt: skip

_compiled_for = ""


def forget_other_runs(spec: RunSpec, device: torch.device) -> None:
    """Makes the compiler forget what this process has compiled for runs of another kind; call it before a run is built.

    It keeps what it compiled by the code of a network: of the ninth variant of an architecture it would compile nothing
    and say so in a log alone, and CUDA graphs stay in the device's memory, each of them looked at before each step.
    Kernels stay on disk: what is compiled again takes seconds (benchmarks/performance/start.py --compile-cache).
    """
    global _compiled_for
    of_run = spec.model_dump(mode="json", include={"model", "data", "loader"})
    kind = json.dumps([of_run, spec.train.model_dump(mode="json", include=DECISIVE)], sort_keys=True)
    records_graphs = isinstance(spec.train.compile, str) and device.type == "cuda"
    if "torch._dynamo" in sys.modules and (kind != _compiled_for or records_graphs):
        torch.compiler.reset()
    _compiled_for = kind


def compile_ahead(trainee: Trainee, image: ImageShape, sampler: GlobalBatches) -> None:
    """Compiles for each batch shape of an epoch, and leaves weights, gradients and randomness as they were.

    The images are as the loader yields them: for those of another type or layout it would be compiled again, in a step.
    """
    device, train = trainee.accelerator.device, trainee.train
    dtype = image_dtype(trainee.mixed_precision, device)
    format = torch.channels_last if train.channels_last else torch.contiguous_format
    state = {name: value.clone() for name, value in trainee.network.state_dict().items()}
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
            for _ in range(GRAPH_CALLS if isinstance(train.compile, str) else 1):
                with autocast(trainee.mixed_precision, device):
                    loss = trainee.model(images).square().mean()
                loss.backward()
                trainee.optimizer.zero_grad(set_to_none=not train.keeps_gradients)
    trainee.network.load_state_dict(state)
