"""How fast the processes of a launch sum up gradients."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from harness.measure.calibration.rounds import MOST_ROUNDS, summarise_rate, time_calls
from harness.records.calibration import Rate

BUCKET_BYTES = 25 * 2**20  # what DDP reduces at a time


def measure_all_reduce(accelerator: Accelerator, seconds: float, least_rounds: int) -> Rate:
    """Returns bytes of one bucket over the time until the sum is there, on this rank; every rank calls it.

    All ranks make as many rounds: one that stopped by its own clock would leave the others waiting.
    """
    device = accelerator.device
    bucket = torch.ones(BUCKET_BYTES // 4, device=device)

    def reduce() -> None:
        torch.distributed.all_reduce(bucket)

    time_calls(reduce, 2, device)
    once = broadcast_object_list([time_calls(reduce, 3, device) / 3])[0]
    rounds = max(least_rounds, min(MOST_ROUNDS, int(seconds / once)))
    return summarise_rate("bytes/s", [BUCKET_BYTES / time_calls(reduce, 1, device) for _ in range(rounds)])
