"""What a network costs to use: the latency of one image, and the throughput at the batch that is fastest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from harness.measure.memory import is_out_of_memory
from harness.records.result import ForwardPass

LATENCY_SECONDS, LONGEST_SECONDS = 1.0, 10.0
LEAST_TIMED = 100  # images, for a 99th percentile
BATCH_SECONDS, BLOCKS = 0.15, 5  # of each batch size
SLOWEST_BATCH_SECONDS = 0.5  # larger ones are no faster
WARM_UP_SECONDS, WARM_UP_CALLS = 0.2, 3  # the first call compiles or tries algorithms, the second may record a graph
GAIN, PATIENCE = 1.01, 3


@torch.inference_mode()
def time_forward(
    forward: Callable[[Tensor], Any],
    images: Callable[[int], Tensor],
    synchronize: Callable[[], object],
    sizes: Iterable[int],
) -> ForwardPass:
    """Times the forward pass of images that are on the device already.

    The scenarios are those of MLPerf Inference (arXiv 1911.02549): single stream, in which an image is asked for when
    the one before is answered; and offline, in which batch follows batch. Batches are timed in blocks, of which the
    median counts, as `torch.utils.benchmark` does.

    Args:
        forward: the network in evaluation mode.
        images: gives a batch of a size, [n, C, H, W].
        synchronize: waits for the device.
        sizes: of batches, rising; the search ends where three in a row are not faster, or memory does not suffice.

    Raises:
        RuntimeError: not even the smallest batch can be passed.
    """
    one = images(1)

    def seconds_of(batch: Tensor, calls: int = 1) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            forward(batch)
        synchronize()
        return time.perf_counter() - began

    _warm_up(lambda: seconds_of(one), WARM_UP_SECONDS)
    taken: list[float] = []
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < LATENCY_SECONDS or (
        len(taken) < LEAST_TIMED and spent < LONGEST_SECONDS
    ):
        taken.append(seconds_of(one))
    latencies = torch.tensor(taken, dtype=torch.float64)

    best, best_size, worse = 0.0, 0, 0
    for size in sizes:
        try:
            batch = images(size)
            seconds = _warm_up(lambda batch=batch: seconds_of(batch), 0.0)
            calls = max(1, round(BATCH_SECONDS / BLOCKS / seconds))
            blocks = [seconds_of(batch, calls) for _ in range(BLOCKS)]
        except Exception as error:
            if not best_size or not is_out_of_memory(error):
                raise
            break
        rate = size * calls / float(torch.tensor(blocks).median())
        worse = 0 if rate > GAIN * best else worse + 1
        if rate > best:
            best, best_size = rate, size
        if worse == PATIENCE or seconds > SLOWEST_BATCH_SECONDS:
            break
    return ForwardPass(
        latency_seconds=float(latencies.median()),
        latency_p99_seconds=float(latencies.quantile(0.99)) if len(taken) >= LEAST_TIMED else None,
        samples_per_second=best,
        batch_size=best_size,
    )


def _warm_up(call: Callable[[], float], seconds: float) -> float:
    """Calls some times, and for some seconds; returns what the last call took."""
    end, calls, last = time.perf_counter() + seconds, 0, 0.0
    while calls < WARM_UP_CALLS or time.perf_counter() < end:
        last = call()
        calls += 1
    return last
