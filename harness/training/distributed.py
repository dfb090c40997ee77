"""What ranks exchange outside the steps: counts, predictions, batch-norm statistics."""

from __future__ import annotations

import itertools
import time

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn

from harness.measure.clock import EpochTime
from harness.records.result import Memory
from harness.training.metrics import Tally


def wait_for_all(accelerator: Accelerator, name: str) -> None:
    """Waits until each rank has come here, for as long as that takes: one may read data for hours.

    A collective would give up after the process group's timeout. What a rank does until then is watched by the
    supervisor, and a rank that ends takes the launch with it.

    Args:
        accelerator: of this rank.
        name: the same on all ranks, and another one at each call.
    """
    if accelerator.num_processes == 1:
        return
    store = dist.distributed_c10d._get_default_store()
    if store.add(f"{name} came", 1) == accelerator.num_processes:
        store.set(f"{name} all", "")
    pauses = itertools.accumulate(itertools.repeat(0.1), lambda pause, most: min(2 * pause, most), initial=0.001)
    # In one line, so that a supervisor which looks twice finds that this rank has not moved.
    while not (store.check([f"{name} all"]) or time.sleep(next(pauses))):
        pass


def tell(name: str, value: str) -> None:
    """Gives a text to the ranks that ask for it by its name; each name once."""
    dist.distributed_c10d._get_default_store().set(name, value)


def told(name: str) -> str:
    """Returns what a rank has told under a name; empty where none has."""
    store = dist.distributed_c10d._get_default_store()
    return store.get(name).decode() if store.check([name]) else ""


def sum_tally(accelerator: Accelerator, tally: Tally) -> Tally:
    """Adds up the counts of all ranks, in place, so that every sample counts once."""
    tally.count()
    if accelerator.num_processes > 1:
        dist.all_reduce(tally.confusion)
        dist.all_reduce(tally.sums)
    return tally


def gather_predictions(accelerator: Accelerator, predictions: Tensor, total: int) -> Tensor:
    """Returns the predictions of a whole split (int64 [total]) in its order, from shares rank, rank + N, ..."""
    if accelerator.num_processes == 1:
        return predictions
    whole = torch.zeros(total, dtype=torch.int64, device=predictions.device)
    whole[accelerator.process_index :: accelerator.num_processes] = predictions
    dist.all_reduce(whole)
    return whole


def average_buffers(accelerator: Accelerator, network: nn.Module) -> None:
    """Averages floating buffers (batch norm's running statistics) over ranks.

    DDP does not broadcast them each step (`broadcast_buffers=False`): that costs time and keeps rank 0's alone.
    """
    if accelerator.num_processes == 1:
        return
    buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    if buffers:
        flat = torch.cat([buffer.reshape(-1) for buffer in buffers])
        dist.all_reduce(flat)
        flat /= accelerator.num_processes
        for buffer, mean in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(mean.view_as(buffer))


def agree_on_time(accelerator: Accelerator, time: EpochTime) -> EpochTime:
    """Returns an epoch's time over all ranks: the slowest rank's seconds, and the mean of their waits."""
    own = [time.train_seconds, time.wait_seconds, time.timed_seconds]
    seconds = accelerator.gather(torch.tensor([own], dtype=torch.float64, device=accelerator.device))
    train, _, timed = seconds.max(0).values.tolist()  # type: ignore[union-attr]
    return EpochTime(train, float(seconds[:, 1].mean()), timed, time.timed_steps)  # type: ignore[index]


def largest_memory(accelerator: Accelerator, own: Memory) -> Memory:
    """Returns each peak of the rank where it is largest; what a rank could not measure stays null."""
    names = list(Memory.model_fields)
    values = [-1 if getattr(own, name) is None else getattr(own, name) for name in names]
    everywhere = accelerator.gather(torch.tensor([values], dtype=torch.int64, device=accelerator.device))
    peaks = everywhere.max(0).values.tolist()  # type: ignore[union-attr]
    return Memory(**{name: None if peak < 0 else peak for name, peak in zip(names, peaks, strict=True)})
