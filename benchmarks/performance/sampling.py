"""What telemetry costs: the train time of an epoch that is sampled beside one that is not, in interleaved pairs.

    python benchmarks/performance/sampling.py [--json] [--pairs 30] [--steps 400] [--period 1.0]

The ratio is taken pair by pair; `low` and `high` bound its median (95 %, order statistics of the pairs). A machine's
noise is larger than what is looked for, so the processor time of a sample is measured by itself, too: over the period
it is the share of one core that sampling takes, and so the most that it can take from a loop that needs its core
whole. Without a GPU a replayed one stands for it, whose readings cost Python's time alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from overhead import CASES, IMAGE, harness_loop, timed
from ratios import median_of

from harness.measure.host import Host
from harness.measure.memory import keep_freed_memory
from harness.measure.nvml import Gpu
from harness.measure.system import describe_system
from harness.measure.telemetry import PERIOD_SECONDS, Sampler

ARCHITECTURE = "cnn3"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--period", type=float, default=PERIOD_SECONDS, help="seconds from one sample to the next")
    arguments = parser.parse_args()
    found = measure(arguments.pairs, arguments.steps, arguments.period)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(
        f"{found['system']}, {found['threads']} threads; {found['gpu']} GPU, a sample every {arguments.period:g} s\n"
        f"train time sampled / not sampled: {found['median']:.4f} ({found['low']:.4f} to {found['high']:.4f}, "
        f"{found['pairs']} pairs of {found['epoch_seconds']:.2f} s, {found['samples']} samples)\n"
        f"a sample: {found['sample_cpu_milliseconds']:.2f} ms of processor time, {found['share_of_a_core']:.3%} of a "
        f"core\n"
        f"where a part of training begins and ends, outside of the train time: {found['bounds_milliseconds']:.1f} ms\n"
        f"of these for what others take: {found['disturbance_milliseconds']:.2f} ms of processor time a part and "
        f"{found['heartbeat_milliseconds']:.3f} ms a second\n"
    )


def measure(pairs: int, steps: int, period_seconds: float) -> dict[str, Any]:
    """Returns the ratio of train times, and what a sample takes by itself."""
    keep_freed_memory()
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    device, size = accelerator.device, CASES[ARCHITECTURE]
    batch = (torch.randn(size, *IMAGE, device=device), torch.randint(10, (size,), device=device))
    epoch = harness_loop(ARCHITECTURE, size, accelerator, [batch] * steps)
    gpu = Gpu(device) if device.type == "cuda" else replayed_gpu(device)
    sampler = Sampler(gpu, Host([os.getpid()]), {}, period_seconds=period_seconds)
    epoch()
    seconds: list[tuple[float, float]] = []
    with sampler:
        for pair in range(pairs):
            took = [0.0, 0.0]
            for index in (0, 1) if pair % 2 else (1, 0):
                if index:
                    took[1] = timed(epoch, device)
                    continue
                with sampler.training():
                    took[0] = timed(epoch, device)
            seconds.append((took[0], took[1]))
        one = cost(sampler)
        return {
            "system": describe_system(use_cpu=device.type == "cpu")["name"],
            "threads": torch.get_num_threads(),
            "gpu": "a real" if device.type == "cuda" else "a replayed",
            **median_of([sampled / alone for sampled, alone in seconds]),
            "samples": sampler.readings.samples,
            "epoch_seconds": statistics.median(alone for _, alone in seconds),
            "sample_cpu_milliseconds": one * 1e3,
            "share_of_a_core": one / period_seconds,
            "bounds_milliseconds": cost_of_bounds(sampler) * 1e3,
            "disturbance_milliseconds": cost_of_disturbance(sampler) * 1e3,
            "heartbeat_milliseconds": cost_of_heartbeat(sampler) * 1e3 / sampler._period,
        }


def cost(sampler: Sampler, repeats: int = 200) -> float:
    """Returns the mean processor seconds of a sample, the look for new children included at its rate."""
    began = time.thread_time()
    for _ in range(repeats):
        sampler._sample()
    alone = (time.thread_time() - began) / repeats
    host = sampler._host
    assert host
    began = time.thread_time()
    for _ in range(20):
        host.look_for_children()
    looking = (time.thread_time() - began) / 20
    return alone + looking * sampler._period / 10  # it looks every ten seconds


def cost_of_bounds(sampler: Sampler, repeats: int = 20) -> float:
    """Returns the seconds that opening and closing an empty part takes."""
    began = time.perf_counter()
    for _ in range(repeats):
        with sampler.training():
            pass
    return (time.perf_counter() - began) / repeats


def cost_of_disturbance(sampler: Sampler, repeats: int = 100) -> float:
    """Returns the processor seconds that a part takes for what others took, beyond what it takes for the rest."""
    began = time.thread_time()
    for _ in range(repeats):
        for _ in ("begin", "end"):
            sampler._count([each for each in sampler._host_counters() if each[0] != "host_cpu_seconds"])
            sampler._queued()
    return (time.thread_time() - began) / repeats


def cost_of_heartbeat(sampler: Sampler, repeats: int = 1000) -> float:
    """Returns the processor seconds that a beat takes."""
    began = time.thread_time()
    for _ in range(repeats):
        sampler._heart.listen()
        sampler._heart.missed(0.0)
    return (time.thread_time() - began) / repeats


def replayed_gpu(device: torch.device) -> Gpu:
    """Returns a GPU of a recording, with a counter that never ends."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    import pytest

    from tests.measure.replayed_nvml import NORMAL, install

    endless = dataclasses.replace(NORMAL, energy=tuple(range(0, 10**8, 1000)))
    install(endless, pytest.MonkeyPatch(), period_seconds=PERIOD_SECONDS)
    return Gpu(device)


if __name__ == "__main__":
    main()
