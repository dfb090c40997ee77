"""How long a step takes on N devices, from what it takes on one: ring all-reduces beside the backward pass.

DistributedDataParallel sums gradients in buckets. A bucket's all-reduce begins when the backward pass has made its
gradients and that of the bucket before it is done; the optimizer steps when the last one is done. Each device has a
batch as large as that of the one (weak scaling), so its own work takes as long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Link:
    """What carries gradients from a device to the next one of the ring.

    Attributes:
        source: of the figures: `published`, `given` or `calibrated`.
        bytes_per_second: in one direction.
        hop_seconds: of each of a ring's 2 (N - 1) transfers, whatever its size.
        start_seconds: of each all-reduce.
    """

    source: str
    bytes_per_second: float
    hop_seconds: float = 0.0
    start_seconds: float = 0.0


@dataclass(frozen=True)
class Bucket:
    """Gradients that are summed at once.

    Attributes:
        nbytes: how many bytes they have.
        ready: when the backward pass has made them, as a share of the step.
    """

    nbytes: int
    ready: float


@dataclass(frozen=True)
class Step:
    """An optimizer step of one device.

    Attributes:
        seconds: of forward pass, backward pass and optimizer, without DistributedDataParallel.
        buckets: in the order in which they are ready; the last one is, when the backward pass is through.
        ddp_seconds: what DistributedDataParallel adds, all-reduces left out.
    """

    seconds: float
    buckets: tuple[Bucket, ...]
    ddp_seconds: float = 0.0


def all_reduce_seconds(nbytes: int, ranks: int, link: Link) -> float:
    """Returns the seconds of a ring's all-reduce: each device sends 2 (N - 1) parts of an Nth of the bytes."""
    hops = 2 * (ranks - 1)
    return link.start_seconds + hops * (link.hop_seconds + nbytes / ranks / link.bytes_per_second)


def exposed_seconds(step: Step, ranks: int, link: Link) -> float:
    """Returns how long the optimizer waits after the backward pass until the last bucket is summed."""
    done = 0.0
    for bucket in step.buckets:
        done = max(done, bucket.ready * step.seconds) + all_reduce_seconds(bucket.nbytes, ranks, link)
    return done - step.buckets[-1].ready * step.seconds


def speed_up(step: Step, ranks: int, link: Link) -> float:
    """Returns how many times as many samples a second N devices do as one."""
    return ranks * step.seconds / (step.seconds + step.ddp_seconds + exposed_seconds(step, ranks, link))


def least_seconds(step: Step, ranks: int, link: Link, at_least: float) -> float:
    """Returns how long a step must take for a speed-up of less than N, its buckets at the same shares of it."""
    low, high = 1e-9, 1e6  # the speed-up rises with the seconds
    for _ in range(60):
        middle = math.sqrt(low * high)
        if speed_up(replace(step, seconds=middle), ranks, link) < at_least:
            low = middle
        else:
            high = middle
    return high


def link_between(few: tuple[int, float], many: tuple[int, float], ranks: int) -> Link:
    """Returns the link that explains two all-reduces that were measured, each as its bytes and seconds."""
    hops = 2 * (ranks - 1)
    seconds_a_byte = (many[1] - few[1]) / (many[0] - few[0]) * ranks / hops
    hop_seconds = few[1] / hops - few[0] / ranks * seconds_a_byte
    return Link("calibrated", 1 / seconds_a_byte, max(hop_seconds, 0.0))
