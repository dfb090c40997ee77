"""torch's DataLoader with pinned memory, copies on a side stream one batch ahead, augmentation on the device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from harness.data.loading import Batch, Feed, evaluation_share
from harness.data.source import Split
from harness.parameters import NonNegativeInt
from harness.registry import loader


@loader("pinned")
def pinned(feed: Feed, *, workers: NonNegativeInt = 2) -> Pinned:
    """torch's DataLoader, for data sets that do not fit on the device.

    Args:
        workers: processes that gather batches for each rank; 0 does it in the rank itself.
    """
    return Pinned(feed, workers)


class Pinned:
    """See `harness.data.loading.Loader`."""

    def __init__(self, feed: Feed, workers: int) -> None:
        self._feed = feed
        self._cuda = feed.device.type == "cuda"
        self._sampler = _EpochSampler(feed)
        self._loader = DataLoader(
            _Batches(feed.train),
            sampler=self._sampler,
            batch_size=None,  # the sampler already gives whole batches of indices
            num_workers=workers,
            pin_memory=self._cuda,
            persistent_workers=workers > 0,
            # It draws a seed for its workers: from the default generator, dropout would depend on the loader.
            generator=torch.Generator(),
        )
        self._stream = torch.cuda.Stream(feed.device) if self._cuda else None

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yields this process's share of each global batch."""
        self._sampler.epoch = epoch
        random = self._feed.generator(epoch)
        for images, labels in self._ahead(iter(self._loader)):
            yield self._feed.transform.train(images, random), labels

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, in order."""
        feed = self._feed
        shares = evaluation_share(split, feed.rank, feed.num_processes, batch_size)
        host = ((torch.from_numpy(split.images[s]), torch.from_numpy(split.labels[s])) for s in shares)
        for images, labels in self._ahead((i.pin_memory(), t.pin_memory()) if self._cuda else (i, t) for i, t in host):
            yield feed.transform.evaluate(images), labels

    def close(self) -> None:
        """Stops the workers."""
        iterator = getattr(self._loader, "_iterator", None)
        if iterator is not None and hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()
            self._loader._iterator = None

    def _ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Copies each batch on a side stream while the device works on the one before."""
        if self._stream is None:
            yield from batches
            return
        # The generator resumes when the step on the last batch has been enqueued: the copy runs beside it.
        while (batch := self._copy(next(batches, None))) is not None:
            torch.cuda.current_stream().wait_stream(self._stream)
            for tensor in batch:
                tensor.record_stream(torch.cuda.current_stream())
            yield batch

    def _copy(self, batch: Batch | None) -> Batch | None:
        if batch is None:
            return None
        with torch.cuda.stream(self._stream):
            images, labels = (tensor.to(self._feed.device, non_blocking=True) for tensor in batch)
        return images, labels


class _EpochSampler(Sampler[Tensor]):
    """Yields this process's batches of indices in the order of the epoch that was set."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.epoch = 0

    def __iter__(self) -> Iterator[Tensor]:
        return self._feed.sampler.shares(self.epoch, self._feed.rank)

    def __len__(self) -> int:
        return len(self._feed.sampler.sizes)


class _Batches(Dataset[Batch]):
    """Gathers a batch of raw images by its indices."""

    def __init__(self, split: Split) -> None:
        self._images = torch.from_numpy(split.images)
        self._labels = torch.from_numpy(split.labels)

    def __getitem__(self, indices: Tensor) -> Batch:
        return self._images[indices], self._labels[indices]
