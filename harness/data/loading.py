"""What every loader is given and gives, and which samples each process sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from harness.data.source import Split
from harness.data.transform import Transform
from harness.errors import HarnessError

Batch = tuple[Tensor, Tensor]
"""Normalised float32 images [n, C, H, W] and int64 labels [n], both on the device."""


class Loader(Protocol):
    """Feeds one process of one run."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yields this process's share of each global batch of an epoch, augmented; epochs count from 0."""
        ...

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, in order and unaugmented: samples rank, rank + N, rank + 2 N, ..."""
        ...

    def close(self) -> None:
        """Stops workers and frees memory."""
        ...


@dataclass(frozen=True)
class Feed:
    """What a loader needs to know of the run.

    Attributes:
        train: the training images.
        transform: makes batches of them.
        device: where batches are wanted.
        rank, num_processes: of this process, and how many share each global batch.
        sampler: which samples make up a batch.
        seed: of the augmentation.
    """

    train: Split
    transform: Transform
    device: torch.device
    rank: int
    num_processes: int
    sampler: GlobalBatches
    seed: int

    def generator(self, epoch: int) -> torch.Generator:
        """Returns the generator of this process's augmentation in an epoch."""
        return torch.Generator(self.device).manual_seed(hash_seed(self.seed, epoch, self.rank + 1))


@dataclass(frozen=True)
class GlobalBatches:
    """A true permutation of the training set for each epoch, cut into global batches that processes share evenly.

    The order depends on seed and epoch alone, so that a run sees the same batches at any world size. A last batch
    that would leave a process fewer than two samples is left out of the epoch (batch norm needs two); which samples
    that strikes changes with the permutation, and their number is recorded.
    """

    num_samples: int
    global_batch_size: int
    num_processes: int
    seed: int
    drop_last: bool = False

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
            message = f"{self.num_samples} training samples are too few for {self.num_processes} processes"
            raise HarnessError(message, "use fewer processes or more samples")

    def shares(self, epoch: int, rank: int) -> Iterator[Tensor]:
        """Yields the sample indices (int64) of one process, batch by batch."""
        order = torch.randperm(
            self.num_samples, generator=torch.Generator().manual_seed(hash_seed(self.seed, epoch, 0))
        )
        start = 0
        for size in self.sizes:
            yield order[start : start + size].tensor_split(self.num_processes)[rank]
            start += size


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
