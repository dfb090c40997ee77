"""torch's DataLoader with pinned memory, copies on a side stream one batch ahead, augmentation on the device."""

from __future__ import annotations

import dataclasses
import gc
import signal
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from harness.data.augment.batched import Batched
from harness.data.augment.draws import Draws
from harness.data.cut import cut
from harness.data.loading import Batch, Feed
from harness.data.order import evaluation_share
from harness.data.source import Split
from harness.errors import HarnessError, MachineError
from harness.parameters import NonNegativeInt
from harness.registry import loader

RawBatch = tuple[Tensor, Tensor, Tensor]
"""Uint8 images [n, H, W, C], int64 labels [n] and sample numbers [n]."""
Job = tuple[Tensor, np.ndarray | None]
"""Sample numbers, int64 [n], and the boxes to cut, int32 [n, 4], of images of several sizes."""


def usual_workers(device: torch.device) -> int:
    """Returns how many workers to use where nobody says: none on a CPU, where handing batches over costs more."""
    return 0 if device.type == "cpu" else 2


@loader("pinned")
def pinned(feed: Feed, *, workers: NonNegativeInt = 2) -> Pinned:
    """torch's DataLoader, for data sets that do not fit on the device.

    Args:
        workers: processes that gather batches for each rank; 0 does it in the rank itself.
    """
    return Pinned(feed, workers)


class Pinned:
    """See `harness.data.loading.Loader`."""

    name = "pinned"

    def __init__(self, feed: Feed, workers: int) -> None:
        self.measured: dict[str, float | str] = {}
        self._feed = feed
        self._cuda = feed.device.type == "cuda"
        self._transform = OnGpu(feed) if self._cuda else OnCpu(feed)
        self._sampler = _EpochSampler(feed)
        self._workers = workers
        self._loader = self._loader_of(feed.train, self._sampler, persistent=workers > 0)
        self._stream = torch.cuda.Stream(feed.device) if self._cuda else None

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yields this process's share of each global batch."""
        draws = self._feed.draws(epoch)
        self._sampler.start, self._sampler.boxes = (epoch, first_batch), None
        if self._feed.train.varied:
            draws, self._sampler.boxes = dataclasses.replace(draws, box=None), draws.box
        batches = (
            (images, labels, self._transform.bring(draws[samples.numpy()]))
            for images, labels, samples in self._raw_batches(self._loader)
        )
        for images, labels, drawn in self._ahead(batches):
            yield self._transform.train(images, drawn), labels

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, in order."""
        shares = evaluation_share(split, self._feed.rank, self._feed.num_processes, batch_size)
        if split.varied:
            samples = [torch.arange(share.start, share.stop, share.step) for share in shares]
            jobs = [(part, split.boxes(part.numpy())) for part in samples]
            host = ((images, labels) for images, labels, _ in self._raw_batches(self._loader_of(split, jobs)))
        else:
            pixels, rows = split.pixels, split.rows
            host = ((torch.from_numpy(pixels[rows[s]]), torch.from_numpy(split.labels[s])) for s in shares)
        batches = ((self._pinned(images), self._pinned(labels), Draws()) for images, labels in host)
        for images, labels, _ in self._ahead(batches):
            yield self._transform.evaluate(images), labels

    def close(self) -> None:
        """Stops the workers."""
        iterator = getattr(self._loader, "_iterator", None)
        if iterator is not None and hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()
            self._loader._iterator = None
        self._transform.close()

    def _loader_of(self, split: Split, jobs: Iterable[Job], *, persistent: bool = False) -> DataLoader[RawBatch]:
        return DataLoader(
            _Batches(split),
            sampler=jobs,
            batch_size=None,  # the sampler already gives whole batches of indices
            num_workers=self._workers,
            pin_memory=self._cuda,
            persistent_workers=persistent,
            worker_init_fn=_keep_what_the_rank_has,
            # It draws a seed for its workers: from the default generator, dropout would depend on the loader.
            generator=torch.Generator(),
        )

    def _raw_batches(self, loader: DataLoader[RawBatch]) -> Iterator[RawBatch]:
        try:
            handler = signal.getsignal(signal.SIGCHLD)
            collects = gc.isenabled()
            gc.disable()  # in the workers, too, until they keep what the rank has
            try:
                batches = iter(loader)
            finally:
                if collects:
                    gc.enable()
            # torch's own would raise in whatever the rank is doing when a worker dies; it is found out below.
            if signal.getsignal(signal.SIGCHLD) is not handler:
                signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)
            for batch in batches:
                if isinstance(batch, HarnessError):
                    raise batch
                yield batch
        except (RuntimeError, ConnectionError, EOFError) as error:
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            raise MachineError(
                f"a worker of the loader died: {str(error).partition(chr(10))[0] or 'it closed the connection'}",
                "it may have been out of memory, or /dev/shm full; use fewer loader.workers",
            ) from None

    def _pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory() if self._cuda else tensor

    def _ahead(self, batches: Iterator[tuple[Tensor, Tensor, Draws]]) -> Iterator[tuple[Tensor, Tensor, Draws]]:
        """Copies each batch on a side stream while the device works on the one before."""
        if self._stream is None:
            yield from batches
            return
        # The generator resumes when the step on the last batch has been enqueued: the copy runs beside it.
        while (batch := next(batches, None)) is not None:
            images, labels, draws = batch
            with torch.cuda.stream(self._stream):
                images = images.to(self._feed.device, non_blocking=True)
                labels = labels.to(self._feed.device, non_blocking=True)
                draws = draws.map(lambda values: values.to(self._feed.device, non_blocking=True))
            current = torch.cuda.current_stream()
            current.wait_stream(self._stream)
            for tensor in (images, labels, *draws.arrays()):
                tensor.record_stream(current)
            yield images, labels, draws


class OnCpu:
    """Makes batches of uint8 images [n, H, W, C] in the host's memory."""

    def __init__(self, feed: Feed) -> None:
        from harness.data.augment.fused import Fused  # Numba, which a GPU does without

        self._fused = Fused(feed.recipe_of_cut)
        height, width, channels = feed.train.shape
        draws = feed.draws(0)[:1]
        draws = dataclasses.replace(draws, box=None) if feed.train.varied else draws
        self.train(torch.zeros(1, height, width, channels, dtype=torch.uint8), draws)  # compiles

    def bring(self, draws: Draws) -> Draws:
        """Returns the draws where the images will be."""
        return draws

    def train(self, images: Tensor, draws: Draws) -> Tensor:
        """Augments and normalises."""
        return self._fused.train(images.numpy().transpose(0, 3, 1, 2), np.arange(len(images)), draws)

    def evaluate(self, images: Tensor) -> Tensor:
        """Resizes and normalises."""
        return self._fused.evaluate(images.numpy().transpose(0, 3, 1, 2), np.arange(len(images)))

    def close(self) -> None:
        """Ends the threads."""
        self._fused.close()


class OnGpu:
    """Makes batches of uint8 images [n, H, W, C] that have been copied to a GPU."""

    def __init__(self, feed: Feed) -> None:
        self._batched = Batched(feed.recipe_of_cut, feed.device)

    def bring(self, draws: Draws) -> Draws:
        """Returns the draws in pinned memory."""
        return draws.map(lambda values: torch.from_numpy(values).pin_memory())

    def train(self, images: Tensor, draws: Draws) -> Tensor:
        """Augments and normalises."""
        return self._batched.train(images.permute(0, 3, 1, 2), draws)

    def evaluate(self, images: Tensor) -> Tensor:
        """Resizes and normalises."""
        return self._batched.evaluate(images.permute(0, 3, 1, 2))

    def close(self) -> None:
        """Nothing to end."""


class _EpochSampler(Sampler[Job]):
    """Yields this process's batches of indices, and of boxes, in the order of the epoch that was set."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.start: tuple[int, int] = (0, 0)
        self.boxes: np.ndarray | None = None

    def __iter__(self) -> Iterator[Job]:
        for share in self._feed.shares(*self.start):
            yield share, None if self.boxes is None else self.boxes[share.numpy()]

    def __len__(self) -> int:
        return len(self._feed.sampler.sizes) - self.start[1]


class _Batches(Dataset[RawBatch]):
    """Gathers a batch of raw images by its samples, or cuts their boxes from the files."""

    def __init__(self, split: Split) -> None:
        self._varied = split.varied
        self._pixels = None if self._varied else split.pixels
        self._rows = split.rows
        self._labels = torch.from_numpy(split.labels)

    def __getitem__(self, job: Job) -> RawBatch:
        samples, boxes = job
        rows = self._rows[samples.numpy()]
        if self._varied is None or boxes is None:
            assert self._pixels is not None
            images = self._pixels[rows]
        else:
            try:
                images = cut(self._varied, rows, boxes, 1 if get_worker_info() else torch.get_num_threads())
            except HarnessError as error:  # raised here, torch would make a text of it that is no message
                return error  # type: ignore[return-value]
        return torch.from_numpy(images), self._labels[samples], samples


def _keep_what_the_rank_has(worker: int) -> None:
    """A worker that collected what the rank has dropped would crash on DALI's pipelines."""
    gc.freeze()
    gc.enable()
