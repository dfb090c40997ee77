"""NVIDIA DALI: image files decoded on the GPU, or without one on the CPU, and augmented in DALI's pipeline.

DALI's readers shuffle within a buffer, pad shards, rotate them between epochs and ignore a reset in mid-epoch. So none
is used: each batch is fed in the order that all loaders share, as the files' content where that is small enough to
keep, else as paths that `fn.io.file.read` reads in DALI's threads, as fast as the reader does.
"""

from __future__ import annotations

import gc
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from harness import registry
from harness.data.augment.draws import Draws
from harness.data.images import read_image
from harness.data.loaders.pinned import usual_workers
from harness.data.loading import Batch, Feed, Loader, of_all_ranks
from harness.data.order import evaluation_share
from harness.data.source import Split
from harness.errors import HarnessError, MachineError
from harness.parameters import NonNegativeInt, PositiveInt
from harness.registry import loader

INSTALL = "pip install nvidia-dali-cuda130 (with CUDA 12: nvidia-dali-cuda120)"
NO_TRIVIAL_AUGMENT = "has no trivial_augment"
PREFETCHED = 2

Job = tuple[np.ndarray, Draws]
"""The samples of a batch, int64 [n], and their draws."""


@loader("dali", decodes=True)
def dali(
    feed: Feed,
    *,
    threads: PositiveInt | None = None,
    keep_bytes: NonNegativeInt = 1073741824,
    fallback: Literal["pinned", "resident"] | None = None,
) -> Loader:
    """NVIDIA DALI: decodes image files on the GPU, or without one on the CPU.

    Args:
        threads: CPU threads of each rank's pipeline; null: its share of the cores.
        keep_bytes: files, as they are on disk, are kept in each rank's memory if all together are no larger.
        fallback: loader to use where DALI is not available; null: an error.
    """
    chosen = feed.chosen.name if feed.chosen else ""
    if feed.recipe.augment.trivial_augment and not fallback:
        raise HarnessError(f"loader 'dali' {NO_TRIVIAL_AUGMENT}", "use resident, pinned or auto, or give it a fallback")
    if not fallback or chosen == Dali.name:  # a run that goes on keeps its loader: bits may differ between them
        return Dali(feed, threads or _share_of_cores(), keep_bytes)
    if feed.chosen:
        return _other(chosen, feed, dict(feed.chosen.measured))
    if feed.recipe.augment.trivial_augment:
        return _other(fallback, feed, {Dali.name: NO_TRIVIAL_AUGMENT})
    own, why = None, ""
    try:
        own = Dali(feed, threads or _share_of_cores(), keep_bytes)
        next(own.epoch(0))  # a driver that is too old, or a decoder that is missing, is found here
        own.begin_anew()
    except MachineError as error:
        why = error.message
    why = next(filter(None, of_all_ranks(why)), "")  # where one rank cannot have it, none has
    if own and not why:
        return own
    if own:
        own.close()
    return _other(fallback, feed, {Dali.name: why})


def is_installed() -> bool:
    """Tells whether DALI can be imported; whether it can start here is found by starting it."""
    try:
        require_installed()
    except MachineError:
        return False
    return True


def require_installed() -> None:
    """Checks that DALI can be imported.

    Raises:
        MachineError: it cannot, with the reason.
    """
    try:
        from harness.data.augment import graph  # noqa: F401
    except ImportError as error:
        raise MachineError(f"loader 'dali' needs NVIDIA DALI: {error}", INSTALL) from None


def _other(name: str, feed: Feed, measured: dict[str, float | str]) -> Loader:
    """Returns a loader in DALI's place, with what the record says of that.

    Raises:
        MachineError: it cannot be had either.
    """
    parameters = {"workers": usual_workers(feed.device)} if name == "pinned" else {}
    try:
        other = registry.build("loader", name, feed, **parameters)
    except MachineError as error:
        message = f"neither loader 'dali' nor its fallback '{name}' can be used: {measured[Dali.name]}; {error.message}"
        raise MachineError(message, "name another loader") from None
    other.measured = measured | other.measured
    return other


class Dali:
    """See `harness.data.loading.Loader`."""

    name = "dali"

    def __init__(self, feed: Feed, threads: int, keep_bytes: int) -> None:
        require_installed()
        self.measured: dict[str, float | str] = {}
        self._feed = feed
        self._threads = threads
        self._keep_bytes = keep_bytes
        largest = max(len(share) for share in feed.shares(0, 0))
        self._train = _Conveyor(feed, feed.train, threads, largest, keep_bytes, train=True)
        self._evaluations: dict[int, tuple[Split, int, _Conveyor]] = {}

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yields this process's share of each global batch."""
        draws = self._feed.draws(epoch)
        shares = (share.numpy() for share in self._feed.shares(epoch, first_batch))
        yield from self._train.take((samples, draws[samples]) for samples in shares)

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, in order."""
        feed = self._feed
        shares = list(evaluation_share(split, feed.rank, feed.num_processes, batch_size))
        kept = self._evaluations.get(id(split))
        if kept is None or kept[1] != batch_size:
            if kept is not None:
                kept[2].close()
            conveyor = _Conveyor(feed, split, self._threads, batch_size, self._keep_bytes, train=False)
            self._evaluations[id(split)] = kept = (split, batch_size, conveyor)

        samples = (np.arange(share.start, share.stop, share.step) for share in shares)
        yield from kept[2].take((part, Draws(box=split.boxes(part))) for part in samples)

    def begin_anew(self) -> None:
        """Forgets an epoch that was left early, now and not when the next one begins, whose time is taken."""
        self._train.build()

    def close(self) -> None:
        """Frees the pipelines and the memory that DALI would keep for the next one."""
        from nvidia.dali import backend

        self._train.close()
        for _, _, conveyor in self._evaluations.values():
            conveyor.close()
        self._evaluations.clear()
        gc.collect()  # a pipeline is part of a cycle; collected in a forked worker of the next loader, it would end it
        backend.ReleaseUnusedMemory()  # type: ignore[attr-defined]


class _Conveyor:
    """A pipeline and what is on its way through it."""

    def __init__(
        self, feed: Feed, split: Split, threads: int, batch_size: int, keep_bytes: int, *, train: bool
    ) -> None:
        from harness.data.augment.graph import Pictures

        self._feed = feed
        self._split = split
        self._batch_size = batch_size
        self._threads = threads
        self._is_train = train
        self._rows = split.rows
        self._images = _images_of(split, keep_bytes)
        self._pictures = Pictures(
            shape=split.shape,
            form=self._images.form,
            resized=not isinstance(split.store, np.ndarray) and not split.varied and split.store.resized,
            on_gpu=feed.device.type == "cuda",
            varied=bool(split.varied),
        )
        self._jobs: Iterator[Job] = iter(())
        self._under_way: deque[np.ndarray] = deque()
        self._pipeline: Any = None
        self.build()

    def take(self, jobs: Iterator[Job]) -> Iterator[Batch]:
        """Yields a batch for each job. Nothing is fetched ahead of the first: no other clock runs meanwhile."""
        is_ready = self._pipeline and not self._under_way  # else the last jobs were left early, or an error ended them
        pipeline = self._pipeline if is_ready else self.build()
        pipeline.reset()
        self._jobs = jobs
        stream = torch.cuda.current_stream(self._feed.device) if self._pictures.on_gpu else None
        while self._jobs is jobs:  # until others are taken: what was left does not go on
            try:
                (output,) = pipeline.run(stream)
                tensor = output.as_tensor()
            except StopIteration:
                return
            except (RuntimeError, UnicodeDecodeError) as error:  # the second: of a message with a file's name
                raise self._explained(error) from error
            samples = self._under_way.popleft()
            yield self._to_torch(tensor, len(samples)), self._labels(samples)

    def close(self) -> None:
        """Drops the pipeline and what was prefetched."""
        self._pipeline = None
        self._under_way.clear()

    def build(self) -> Any:
        """Makes a pipeline in place of the one that there is, and returns it.

        Raises:
            MachineError: DALI cannot start, e.g. as the driver is older than DALI's CUDA.
        """
        self.close()
        try:
            self._pipeline = self._new_pipeline()
        except RuntimeError as error:
            raise _stopped("DALI cannot start", error) from error
        return self._pipeline

    def _new_pipeline(self) -> Any:
        from nvidia.dali import fn
        from nvidia.dali.pipeline import Pipeline

        from harness.data.augment import graph

        device = self._feed.device.index or 0 if self._pictures.on_gpu else None
        pipeline = Pipeline(self._batch_size, self._threads, device, prefetch_queue_depth=PREFETCHED)
        drawn = len(graph.arguments(self._feed.draws(0)[:1])) if self._is_train else int(self._pictures.varied)
        with pipeline:
            images, *draws = fn.external_source(self._next, num_outputs=1 + drawn, batch=True)
            if self._pictures.form == "pixels":
                images = fn.reshape(images, layout="HWC")
            output = graph.build(self._pictures, self._feed.recipe, images, draws, train=self._is_train)
            pipeline.set_outputs(output)
        pipeline.build()
        return pipeline

    def _next(self) -> list[Any]:
        from harness.data.augment import graph

        samples, draws = next(self._jobs)  # DALI ends its epoch where there is none left
        self._under_way.append(samples)
        return [self._images.feed(self._rows[samples]), *graph.arguments(draws)]

    def _labels(self, samples: np.ndarray) -> Tensor:
        labels = torch.from_numpy(self._split.labels[samples])
        if self._pictures.on_gpu:  # otherwise the host would wait for the step before
            labels = labels.pin_memory().to(self._feed.device, non_blocking=True)
        return labels

    def _to_torch(self, tensor: Any, count: int) -> Tensor:
        from nvidia.dali.plugin.pytorch.torch_utils import feed_ndarray

        images = torch.empty(tensor.shape(), dtype=torch.float32, device=self._feed.device)
        stream = torch.cuda.current_stream() if self._pictures.on_gpu else None
        feed_ndarray(tensor, images, cuda_stream=stream)  # DALI writes the next batch where this one was
        assert len(images) == count
        return self.in_format(images)

    def in_format(self, images: Tensor) -> Tensor:
        """Returns a batch of the pipeline as [n, C, H, W] in the recipe's type: all that torch does to it."""
        recipe = self._feed.recipe
        return recipe.to_format(images.permute(0, 3, 1, 2) if recipe.channels_last else images)

    def _explained(self, error: Exception) -> HarnessError:
        """Returns an error that names the file DALI stumbled over; the pipeline is of no use any more."""
        under_way = list(self._under_way)
        self.close()
        try:
            for samples in under_way:
                for path in self._images.paths(self._rows[samples]):
                    read_image(os.fsdecode(path), channels=self._split.shape[2])
        except HarnessError as found:
            return found
        return _stopped("DALI stopped", error)


def _stopped(what: str, error: Exception) -> MachineError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return MachineError(f"{what}: {lines[0] if lines else error}", "try loader: pinned")


class _Pixels:
    """Images in memory, uint8 [M, H, W, C]."""

    form: Literal["pixels"] = "pixels"

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    def feed(self, rows: np.ndarray) -> np.ndarray:
        """Returns what goes into the pipeline for some rows of the store."""
        return self._pixels[rows]

    def paths(self, rows: np.ndarray) -> list[bytes]:
        """Returns the files of some rows."""
        return []


class _Files:
    """Image files, their content in memory or read by DALI's threads at each epoch."""

    def __init__(self, paths: list[bytes], keep: bool) -> None:
        self.form: Literal["files", "paths"] = "files" if keep else "paths"
        self._paths = paths
        if keep:
            self._contents = [np.frombuffer(_content(path), np.uint8) for path in paths]
        else:  # one array: DALI takes it faster than one a path, and reads a path up to its first zero
            self._names = np.array(paths, dtype=f"S{max(map(len, paths)) + 1}").view(np.uint8).reshape(len(paths), -1)

    def feed(self, rows: np.ndarray) -> Any:
        """Returns what goes into the pipeline for some rows of the store."""
        return self._names[rows] if self.form == "paths" else [self._contents[row] for row in rows]

    def paths(self, rows: np.ndarray) -> list[bytes]:
        """Returns the files of some rows."""
        return [self._paths[row] for row in rows]


def _content(path: bytes) -> bytes:
    try:
        return Path(os.fsdecode(path)).read_bytes() if path else b""
    except OSError as error:
        raise HarnessError(f"{os.fsdecode(path)} cannot be read: {error.strerror}", "check data.root") from None


def _size_bytes(path: bytes) -> int:
    try:
        return Path(os.fsdecode(path)).stat().st_size if path else 0
    except OSError:
        return 0


def _images_of(split: Split, keep_bytes: int) -> _Pixels | _Files:
    if isinstance(split.store, np.ndarray):
        return _Pixels(split.store)
    paths = split.store.encoded()
    used = set(split.rows.tolist())
    paths = [path if row in used else b"" for row, path in enumerate(paths)]
    return _Files(paths, keep=sum(map(_size_bytes, paths)) <= keep_bytes)


def _share_of_cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
