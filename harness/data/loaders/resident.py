"""The data set as uint8 on the device; whole batches gathered and augmented there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from harness.compiled import compile_for_each_shape
from harness.data.augment.batched import Batched
from harness.data.augment.draws import Draws
from harness.data.copies import on_cpu, on_gpu
from harness.data.loading import Batch, Feed
from harness.data.order import evaluation_share
from harness.data.source import Split
from harness.registry import loader

TRIAL_BATCHES = 50


@loader("resident")
def resident(feed: Feed, *, compile: bool | None = None) -> ResidentOnCpu | ResidentOnGpu:
    """The data set as uint8 on the device: the fastest where it fits.

    Args:
        compile: compile the augmentation on a GPU with torch.compile; null tries both and takes the faster.
    """
    return ResidentOnCpu(feed) if feed.device.type == "cpu" else ResidentOnGpu(feed, compile)


class ResidentOnCpu:
    """See `harness.data.loading.Loader`."""

    name = "resident"

    def __init__(self, feed: Feed) -> None:
        from harness.data.augment.fused import Fused  # Numba, which a GPU does without

        self.measured: dict[str, float | str] = {}
        self._feed = feed
        # All of it before the first step: what is evaluated must not find the memory full of what training needs.
        self._images, *_ = on_cpu([feed.train, *feed.evaluated], channels_last=feed.recipe.channels_last)
        self._labels = torch.from_numpy(feed.train.labels)
        self._fused = Fused(feed.recipe)
        self._fused.train(self._images, np.zeros(1, np.int64), feed.draws(0)[:1])  # compiles before the clock runs

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yields this process's share of each global batch."""
        batches, samples, draws = self._feed.in_order(epoch, first_batch)
        for batch in batches:
            rows = samples[batch]
            yield self._fused.train(self._images, rows.numpy(), draws[batch]), self._labels.index_select(0, rows)

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, in order."""
        [images] = on_cpu([split], channels_last=self._feed.recipe.channels_last)
        for share in evaluation_share(split, self._feed.rank, self._feed.num_processes, batch_size):
            rows = np.arange(share.start, share.stop, share.step)
            yield self._fused.evaluate(images, rows), torch.from_numpy(split.labels[rows])

    def close(self) -> None:
        """Ends the threads; the data set stays for the process's next run, if that asks for it."""
        self._fused.close()


class ResidentOnGpu:
    """See `harness.data.loading.Loader`."""

    name = "resident"

    def __init__(self, feed: Feed, compile: bool | None) -> None:
        self.measured: dict[str, float | str] = {}
        self._feed = feed
        self._batched = Batched(feed.recipe, feed.device)
        (self._images, self._labels), *_ = on_gpu([feed.train, *feed.evaluated], feed.device)  # as on a CPU
        self._make = self._faster() if compile is None else self._compiled() if compile else self._gather

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yields this process's share of each global batch."""
        device = self._feed.device
        batches, samples, draws = self._feed.in_order(epoch, first_batch)
        # One copy an epoch: a copy a batch would cost more than the batch.
        draws = draws.map(lambda values: torch.from_numpy(values).to(device))
        samples = samples.to(device)
        labels = self._labels.index_select(0, samples)
        for batch in batches:
            yield self._make(samples[batch], draws[batch]), labels[batch]

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, in order."""
        [(images, labels)] = on_gpu([split], self._feed.device)
        for share in evaluation_share(split, self._feed.rank, self._feed.num_processes, batch_size):
            yield self._batched.evaluate(images[share].permute(0, 3, 1, 2)), labels[share]

    def close(self) -> None:
        """Nothing to stop: the data set stays for the process's next run, if that asks for it."""

    def _gather(self, samples: Tensor, draws: Draws) -> Tensor:
        return self._batched.train(self._images.index_select(0, samples).permute(0, 3, 1, 2), draws)

    def _compiled(self) -> Callable[[Tensor, Draws], Tensor]:
        compiled = compile_for_each_shape(self._gather)
        for size in sorted({len(share) for share in self._feed.shares(0, 0)}):  # before the clock runs
            self._try(compiled, size, 1)
        return compiled

    def _faster(self) -> Callable[[Tensor, Draws], Tensor]:
        size = len(next(self._feed.shares(0, 0)))
        self._try(self._gather, size, 3)
        rate = size * TRIAL_BATCHES / self._try(self._gather, size, TRIAL_BATCHES)
        self.measured["resident, not compiled"] = rate
        try:
            compiled = self._compiled()
        except Exception as error:  # no Triton, no compiler: it says so in the record
            self.measured["resident, compiled"] = str(error).partition("\n")[0]
            return self._gather
        compiled_rate = size * TRIAL_BATCHES / self._try(compiled, size, TRIAL_BATCHES)
        self.measured["resident, compiled"] = compiled_rate
        return compiled if compiled_rate > rate else self._gather

    def _try(self, make: Callable[[Tensor, Draws], Tensor], size: int, batches: int) -> float:
        """Returns the seconds of some batches."""
        device = self._feed.device
        draws = self._feed.draws(0)[:size].map(lambda values: torch.from_numpy(values).to(device))
        samples = torch.arange(size, device=device)
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        for _ in range(batches):
            make(samples, draws)
        torch.cuda.synchronize(device)
        return time.perf_counter() - began
