"""The data set as uint8 on the device; whole batches gathered and augmented there."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.data.loading import Batch, Feed, evaluation_share
from harness.data.source import Split
from harness.errors import HarnessError
from harness.registry import loader


@loader("resident")
def resident(feed: Feed) -> Resident:
    """The data set as uint8 on the device: the fastest where it fits."""
    return Resident(feed)


class Resident:
    """See `harness.data.loading.Loader`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._images, self._labels = _on_device(feed.train, feed.device)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yields this process's share of each global batch."""
        feed = self._feed
        random = feed.generator(epoch)
        for share in feed.sampler.shares(epoch, feed.rank):
            indices = share.to(feed.device, non_blocking=True)
            images = self._images.index_select(0, indices)
            yield feed.transform.train(images, random), self._labels.index_select(0, indices)

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, in order."""
        images, labels = _on_device(split, self._feed.device)
        for share in evaluation_share(split, self._feed.rank, self._feed.num_processes, batch_size):
            yield self._feed.transform.evaluate(images[share]), labels[share]

    def close(self) -> None:
        """Nothing to stop: the data set stays for the process's next run."""


# One copy for all runs of a process; it goes when the array that it was made of goes.
_copies: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}


def _on_device(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    if device.type == "cpu":
        return torch.from_numpy(split.images), torch.from_numpy(split.labels)
    key = (id(split.images), str(device))
    if key not in _copies:
        _require_room(split.images.nbytes, device)
        _copies[key] = torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device)
        weakref.finalize(split.images, _copies.pop, key, None)
    return _copies[key]


def _require_room(needed: int, device: torch.device) -> None:
    free = torch.cuda.mem_get_info(device)[0]
    if needed > 0.9 * free:
        message = f"the data set needs {needed / 2**30:.1f} GiB on {device}, where {free / 2**30:.1f} GiB are free"
        raise HarnessError(message, "use loader: pinned, or smaller images")
