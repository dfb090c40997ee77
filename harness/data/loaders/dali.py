"""NVIDIA DALI: image files decoded on the GPU, or without one on the CPU, and augmented in DALI's pipeline.

DALI's readers shuffle within a buffer, pad shards, rotate them between epochs and ignore a reset in mid-epoch. So none
is used: each batch is fed as paths (or pixels) and draws in the order that all loaders share, and `fn.io.file.read`
reads the files in DALI's threads, as fast as the reader does.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.augment.draws import Draws
from harness.data.images import read_image
from harness.data.loading import Batch, Feed
from harness.data.order import evaluation_share
from harness.data.source import Split
from harness.errors import HarnessError
from harness.parameters import PositiveInt
from harness.registry import loader

INSTALL = "pip install nvidia-dali-cuda130 (with CUDA 12: nvidia-dali-cuda120)"
PREFETCHED = 2

Job = tuple[Any, np.ndarray, Draws]
"""The key of a batch, its samples (int64 [n]) and their draws."""


@loader("dali")
def dali(feed: Feed, *, threads: PositiveInt | None = None) -> Dali:
    """NVIDIA DALI: decodes image files on the GPU, or without one on the CPU.

    Args:
        threads: CPU threads of each rank's pipeline; null: its share of the cores.
    """
    return Dali(feed, threads or _share_of_cores())


class Dali:
    """See `harness.data.loading.Loader`."""

    name = "dali"

    def __init__(self, feed: Feed, threads: int) -> None:
        try:
            from harness.data.augment import graph  # noqa: F401
        except ImportError as error:
            raise HarnessError(f"loader 'dali' needs NVIDIA DALI: {error}", INSTALL) from None
        self.measured: dict[str, float | str] = {}
        self._feed = feed
        self._threads = threads
        self._train = _Conveyor(feed, feed.train, threads, max(len(s) for s in feed.shares(0, 0)), train=True)
        self._evaluations: dict[int, tuple[Split, int, _Conveyor]] = {}

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yields this process's share of each global batch."""
        batches = len(self._feed.sampler.sizes)
        yield from self._train.take((epoch, first_batch), batches - first_batch, self._jobs)

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, in order."""
        feed = self._feed
        shares = list(evaluation_share(split, feed.rank, feed.num_processes, batch_size))
        kept = self._evaluations.get(id(split))
        if kept is None or kept[1] != batch_size:
            conveyor = _Conveyor(feed, split, self._threads, batch_size, train=False)
            self._evaluations[id(split)] = kept = (split, batch_size, conveyor)

        def jobs(first: Any) -> Iterator[Job]:
            while True:
                for share in shares:
                    yield share.start, np.arange(share.start, share.stop, share.step), Draws()

        if shares:
            yield from kept[2].take(shares[0].start, len(shares), jobs)

    def close(self) -> None:
        """Frees the pipelines and the memory that DALI would keep for the next one."""
        from nvidia.dali import backend

        self._train.close()
        for _, _, conveyor in self._evaluations.values():
            conveyor.close()
        self._evaluations.clear()
        backend.ReleaseUnusedMemory()  # type: ignore[attr-defined]

    def _jobs(self, first: tuple[int, int]) -> Iterator[Job]:
        """Yields the batches of an epoch and of all epochs after it: the next one is prefetched while this one ends."""
        epoch, first_batch = first
        while True:
            draws = self._feed.draws(epoch)
            for batch, share in enumerate(self._feed.shares(epoch, first_batch), first_batch):
                samples = share.numpy()
                yield (epoch, batch), samples, draws[samples]
            epoch, first_batch = epoch + 1, 0


class _Conveyor:
    """A pipeline and what is on its way through it."""

    def __init__(self, feed: Feed, split: Split, threads: int, batch_size: int, *, train: bool) -> None:
        from harness.data.augment.graph import Pictures

        self._feed = feed
        self._split = split
        self._batch_size = batch_size
        self._threads = threads
        self._is_train = train
        files = None if isinstance(split.store, np.ndarray) else split.store
        self._paths = [np.frombuffer(path, np.uint8) for path in files.encoded()] if files else None
        self._pictures = Pictures(
            shape=split.shape,
            encoded=files is not None,
            resized=files is not None and files.resized,
            on_gpu=feed.device.type == "cuda",
        )
        self._pipeline: Any = None
        self._jobs: Iterator[Job] = iter(())
        self._under_way: deque[Job] = deque()

    def take(self, first: Any, count: int, jobs: Callable[[Any], Iterator[Job]]) -> Iterator[Batch]:
        """Yields `count` batches from the one with a key on; `jobs` gives the endless sequence that starts there."""
        if not self._under_way or self._under_way[0][0] != first:  # the first call, or an epoch was left early
            self.close()
            self._jobs = jobs(first)
            self._pipeline = self._build()
        for _ in range(count):
            try:
                (output,) = self._pipeline.run()
            except RuntimeError as error:
                raise self._explained(error) from error
            _, samples, _ = self._under_way.popleft()
            yield self._to_torch(output, len(samples)), self._labels(samples)

    def close(self) -> None:
        """Drops the pipeline and what was prefetched."""
        self._pipeline = None
        self._under_way.clear()

    def _build(self) -> Any:
        from nvidia.dali import fn
        from nvidia.dali.pipeline import Pipeline

        from harness.data.augment import graph

        device = self._feed.device.index or 0 if self._pictures.on_gpu else None
        pipeline = Pipeline(self._batch_size, self._threads, device, prefetch_queue_depth=PREFETCHED)
        drawn = len(graph.arguments(self._feed.draws(0)[:1])) if self._is_train else 0
        with pipeline:
            images, *draws = fn.external_source(self._next, num_outputs=1 + drawn, batch=True)
            if not self._pictures.encoded:
                images = fn.reshape(images, layout="HWC")
            output = graph.build(self._pictures, self._feed.recipe, images, draws, train=self._is_train)
            pipeline.set_outputs(output)
        pipeline.build()
        return pipeline

    def _next(self) -> list[Any]:
        from harness.data.augment import graph

        job = next(self._jobs)
        self._under_way.append(job)
        _, samples, draws = job
        rows = self._split.rows[samples]
        if self._paths is None:
            return [self._split.pixels[rows], *graph.arguments(draws)]
        return [[self._paths[row] for row in rows], *graph.arguments(draws)]

    def _labels(self, samples: np.ndarray) -> Tensor:
        return torch.from_numpy(self._split.labels[samples]).to(self._feed.device)

    def _to_torch(self, output: Any, count: int) -> Tensor:
        from nvidia.dali.plugin.pytorch.torch_utils import feed_ndarray

        tensor = output.as_tensor()
        images = torch.empty(tensor.shape(), dtype=torch.float32, device=self._feed.device)
        stream = torch.cuda.current_stream() if self._pictures.on_gpu else None
        feed_ndarray(tensor, images, cuda_stream=stream)  # DALI writes the next batch where this one was
        assert len(images) == count
        if self._feed.recipe.channels_last:
            images = images.permute(0, 3, 1, 2)
        return images.to(self._feed.recipe.dtype)

    def _explained(self, error: RuntimeError) -> HarnessError:
        """Returns an error that names the file DALI stumbled over; the pipeline is of no use any more."""
        under_way = list(self._under_way)
        self.close()
        if self._paths is not None:
            rows = (row for _, samples, _ in under_way for row in self._split.rows[samples])
            try:
                for row in rows:
                    read_image(os.fsdecode(self._paths[row].tobytes()), channels=self._split.shape[2])
            except HarnessError as found:
                return found
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return HarnessError(f"DALI stopped: {lines[0] if lines else error}", "try loader: pinned")


def _share_of_cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
