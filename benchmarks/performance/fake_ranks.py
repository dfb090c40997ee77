"""A step of one device as DistributedDataParallel does it with N ranks: only the other ranks are missing.

torch's fake process group answers at once what DDP asks the others when it starts, and a hook that exchanges nothing
stands in the place of each bucket's all-reduce; so what is measured is DDP's own work.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from all_reduce import Bucket, Step
from overhead import IMAGE, Case, bare_loop, rounds_of, timed
from torch import distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks.debugging_hooks import noop_hook
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore

from harness import registry
from harness.running.build import ddp_options

# On a CPU, DDP's copies of large gradients take far longer than a GPU's would; those of these networks are small.
NARROW: dict[str, dict[str, Any]] = {"cnn3": {"filters": (4, 4, 4), "hidden_size": 8}, "resnet18": {"width": 4}}


def step_of_one(case: Case, ranks: int, rounds: int, steps: int) -> Step:
    """Returns the step of one device beside which DDP takes `ranks` ranks to be there.

    Args:
        case: the network and its batch.
        ranks: N.
        rounds: in which epochs without and with DDP take turns.
        steps: of an epoch; of a large network a tenth.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    count = steps if case.architecture == "cnn3" else max(steps // 10, 5)
    seconds = host_seconds = step_seconds(case, device, rounds, count)
    if device.type == "cpu":
        host_seconds = step_seconds(dataclasses.replace(case, batch_size=2), device, rounds, steps, narrow=True)
    added = statistics.median(ddp - plain for plain, ddp in host_seconds)
    buckets = ready_buckets(case, device, count)
    distributed.destroy_process_group()
    return Step(statistics.median(plain for plain, _ in seconds), buckets, max(added, 0.0))


def step_seconds(
    case: Case, device: torch.device, rounds: int, count: int, *, narrow: bool = False
) -> list[tuple[float, float]]:
    """Returns, of each round, what a step takes without and with DDP."""
    batches = same_batches(case, device, count)
    loops = {
        "plain": bare_loop(network(case, device, narrow=narrow), batches, case.mixed_precision),
        "ddp": bare_loop(wrapped(network(case, device, narrow=narrow)), batches, case.mixed_precision),
    }
    found = rounds_of(loops, device, rounds)
    return [(plain / count, ddp / count) for plain, ddp in zip(found["plain"], found["ddp"], strict=True)]


def ready_buckets(case: Case, device: torch.device, count: int) -> tuple[Bucket, ...]:
    """Returns DDP's buckets, ready at the medians of their shares of the steps' time."""
    moments: list[list[Any]] = []  # of each step: its beginning, and when each bucket was ready
    nbytes: dict[int, int] = {}

    def hook(state, bucket):  # type: ignore[no-untyped-def]  # DDP takes no annotations that are texts
        moments[-1].append(mark(device))
        nbytes[bucket.index()] = bucket.buffer().nbytes
        return noop_hook(state, bucket)

    model = wrapped(network(case, device), hook)
    model.register_forward_pre_hook(lambda *_: moments.append([mark(device)]))
    timed(bare_loop(model, same_batches(case, device, count), case.mixed_precision), device)
    shares = [
        [between(began, at) / between(began, ended) for at in ready]
        for (began, *ready), (ended, *_) in itertools.pairwise(moments[1:])  # the first step has other buckets
    ]
    return tuple(
        Bucket(nbytes[index], statistics.median(of_steps)) for index, of_steps in enumerate(zip(*shares, strict=True))
    )


def network(case: Case, device: torch.device, *, narrow: bool = False) -> nn.Module:
    """Returns the network of a case, or one with as many layers and few weights."""
    torch.manual_seed(0)
    parameters = NARROW[case.architecture] if narrow else {}
    return registry.build("architecture", case.architecture, IMAGE, 10, **parameters).to(device)


def wrapped(network: nn.Module, hook: Callable[..., Any] = noop_hook) -> DistributedDataParallel:
    """Returns a network wrapped as the harness does, with a hook for each bucket that is ready."""
    model = DistributedDataParallel(network, **ddp_options().to_kwargs())
    model.broadcast_buffers = False
    model.register_comm_hook(None, hook)
    return model


def same_batches(case: Case, device: torch.device, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns a batch again and again."""
    images = torch.randn(case.batch_size, *IMAGE, device=device)
    return [(images, torch.randint(10, (case.batch_size,), device=device))] * count


def mark(device: torch.device) -> Any:
    """Returns this moment of a device's work."""
    if device.type == "cpu":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def between(began: Any, ended: Any) -> float:
    """Returns the seconds between two moments, on a GPU once it has reached them."""
    return ended - began if isinstance(began, float) else began.elapsed_time(ended) / 1000
