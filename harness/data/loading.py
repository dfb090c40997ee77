"""What every loader is given and gives."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import torch.distributed
from torch import Tensor

from harness.data.augment.batched import Recipe
from harness.data.augment.draws import Draws, draw
from harness.data.order import GlobalBatches
from harness.data.source import Split

T = TypeVar("T")
Batch = tuple[Tensor, Tensor]
"""Normalised images [n, C, H, W] in the recipe's type and int64 labels [n], both on the device.

Mixed images have soft labels, float32 [n, classes]; see `harness.data.augment.mixing`."""


@dataclass(frozen=True)
class ChosenLoader:
    """What `auto` came to.

    Attributes:
        name: of the loader that it took.
        measured: images per second of each candidate, or why it could not be had.
    """

    name: str
    measured: dict[str, float | str]


class Loader(Protocol):
    """Feeds one process of one run.

    It has no state that would have to be saved: what it yields depends on seed, epoch and batch alone, so a run goes
    on in the middle of an epoch by asking for the rest of it.

    Attributes:
        name: of the loader that does the work.
        measured: images per second of each candidate that was tried, or why one was not; empty where none was.
    """

    name: str
    measured: dict[str, float | str]

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yields this process's share of each global batch of an epoch, augmented; both count from 0."""
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
        recipe: what is made of them.
        device: where batches are wanted.
        rank, num_processes: of this process, and how many share each global batch.
        sampler: which samples make up a batch.
        seed: of the augmentation.
        chosen: what `auto` took before, for a run that goes on from a checkpoint.
        evaluated: the splits that `evaluation` will be asked for, as far as they are known.
        batches: that the whole run takes; None where it is not known.
        deterministic: whether the run may depend on no choice that is made by time.
    """

    train: Split
    recipe: Recipe
    device: torch.device
    rank: int
    num_processes: int
    sampler: GlobalBatches
    seed: int
    chosen: ChosenLoader | None = None
    evaluated: tuple[Split, ...] = ()
    batches: int | None = None
    deterministic: bool = False

    def draws(self, epoch: int) -> Draws:
        """Returns what an epoch does to each training image, on the host; a box is in pixels of the store."""
        train, size = self.train, self.recipe.cut_size
        shape = (size, size, train.shape[2]) if size else train.shape
        drawn = draw(self.recipe.augment, len(train.labels), shape, self.seed, epoch, train.sizes)
        if train.sizes is None:
            return drawn
        return dataclasses.replace(drawn, box=train.boxes(np.arange(len(train.labels)), drawn.box))

    def squashed(self) -> Feed:
        """Returns the feed with images that fit into an array: the same, unless their sizes vary."""
        evaluated = tuple(split.squashed for split in self.evaluated)
        return dataclasses.replace(self, train=self.train.squashed, evaluated=evaluated) if self.train.varied else self

    @property
    def recipe_of_cut(self) -> Recipe:
        """What is made of images of which the boxes have been cut already, where their sizes vary."""
        if not self.train.varied:
            return self.recipe
        augment = self.recipe.augment.model_copy(update={"random_resized_crop": None})
        return dataclasses.replace(self.recipe, augment=augment, cut_size=None)

    def shares(self, epoch: int, first_batch: int) -> Iterator[Tensor]:
        """Yields this process's samples (int64) of each batch of an epoch, from a batch on."""
        return self.sampler.shares(epoch, self.rank, first_batch)

    def in_order(self, epoch: int, first_batch: int) -> tuple[list[slice], Tensor, Draws]:
        """Returns this process's batches as slices of its samples (int64) of the epoch, and what is done to them.

        Picking a slice of either costs next to nothing, picking samples one by one would cost as much as a small batch.
        """
        shares = list(self.shares(epoch, first_batch))
        samples = torch.cat([torch.empty(0, dtype=torch.int64), *shares])
        ends = list(itertools.accumulate(len(share) for share in shares))
        batches = [slice(end - len(share), end) for end, share in zip(ends, shares, strict=True)]
        return batches, samples, self.draws(epoch)[samples.numpy()]


def of_all_ranks(value: T) -> list[T]:
    """Returns what each rank gives, in their order; every rank calls it."""
    every: list[Any] = [value]
    if torch.distributed.is_initialized():
        every = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(every, value)
    return every
