"""Which samples each process sees, and when: functions of seed, epoch and rank."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from harness.counted import counted, is_are
from harness.data.source import Split
from harness.errors import HarnessError


@dataclass(frozen=True)
class GlobalBatches:
    """A true permutation of the training set for each epoch, cut into global batches that processes share evenly.

    The order depends on seed and epoch alone, so that a run sees the same batches at any world size. A last batch
    that would leave a process fewer than two samples is left out of the epoch (batch norm needs two); which samples
    that strikes changes with the permutation, and their number is recorded.

    Attributes:
        shuffle: `each_epoch`; `once` for the same permutation in every epoch; `never` for the order as stored.
    """

    num_samples: int
    global_batch_size: int
    num_processes: int
    seed: int
    drop_last: bool = False
    shuffle: Literal["each_epoch", "once", "never"] = "each_epoch"

    @property
    def sizes(self) -> list[int]:
        """Samples of each global batch of an epoch."""
        full, tail = divmod(self.num_samples, self.global_batch_size)
        keep_tail = tail >= 2 * self.num_processes and (not self.drop_last or full == 0)
        return [self.global_batch_size] * full + [tail] * keep_tail

    @property
    def skipped(self) -> int:
        """Samples that an epoch leaves out."""
        return self.num_samples - sum(self.sizes)

    def require_steps(self) -> None:
        """Checks that an epoch has at least one batch.

        Raises:
            HarnessError: too few samples for the processes.
        """
        if not self.sizes:
            samples = counted(self.num_samples, "training sample")
            message = f"{samples} {is_are(self.num_samples)} too few for {self.num_processes} processes"
            raise HarnessError(message, "use fewer processes or more samples")

    def shares(self, epoch: int, rank: int, first_batch: int = 0) -> Iterator[Tensor]:
        """Yields the sample indices (int64) of one process, batch by batch, from a batch of the epoch on."""
        order = self._order(epoch)
        sizes = self.sizes
        start = sum(sizes[:first_batch])
        for size in sizes[first_batch:]:
            yield order[start : start + size].tensor_split(self.num_processes)[rank]
            start += size

    def _order(self, epoch: int) -> Tensor:
        if self.shuffle == "never":
            return torch.arange(self.num_samples)
        seed = hash_seed(self.seed, 0 if self.shuffle == "once" else epoch, 0)
        return torch.randperm(self.num_samples, generator=torch.Generator().manual_seed(seed))


def evaluation_share(split: Split, rank: int, num_processes: int, batch_size: int) -> Iterator[slice]:
    """Yields the slices of a split that a process evaluates; together they cover each sample once."""
    span = batch_size * num_processes
    for start in range(rank, len(split.labels), span):
        yield slice(start, min(start + span, len(split.labels)), num_processes)


def hash_seed(seed: int, epoch: int, stream: int) -> int:
    """Mixes three numbers into one 63-bit seed (splitmix64); neighbouring inputs give unrelated seeds."""
    value = 0
    for part in (seed, epoch, stream):
        value = (value + part + 0x9E3779B97F4A7C15) & (2**64 - 1)
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        value ^= value >> 31
    return value >> 1
