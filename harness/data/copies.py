"""One copy of each split on the device, for all runs of a process."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.source import Split, available_bytes
from harness.errors import MachineError

ROOM = 0.9  # of the free memory may be taken


def on_cpu(splits: Sequence[Split], *, channels_last: bool) -> list[np.ndarray]:
    """Returns uint8 [N, C, H, W] of each split, in the memory format of the batches that are made of it.

    Raises:
        HarnessError: together they do not fit in memory; none is copied then.
    """

    def copy(split: Split) -> np.ndarray:
        pixels, rows = split.pixels, split.rows
        height, width, channels = split.shape
        shape = (len(rows), height, width, channels) if channels_last else (len(rows), channels, height, width)
        copied = np.empty(shape, np.uint8)
        logical = copied.transpose(0, 3, 1, 2) if channels_last else copied
        for row, image in zip(rows, logical, strict=True):
            image[:] = pixels[row].transpose(2, 0, 1)
        return logical

    return _kept(splits, ("cpu", channels_last), copy, torch.device("cpu"))


def on_gpu(splits: Sequence[Split], device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Returns uint8 images [N, H, W, C] and int64 labels [N] of each split on a GPU.

    Raises:
        HarnessError: together they do not fit in its memory; none is copied then.
    """

    def copy(split: Split) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device)

    return _kept(splits, (str(device),), copy, device)


def require_room(splits: Sequence[Split], device: torch.device) -> str:
    """Checks that splits fit on a device, and returns what they take and what is free there, for a person.

    Raises:
        HarnessError: they do not.
    """
    needed = sum(split.size_bytes for split in splits)
    on_cpu = device.type == "cpu"
    free, where = (available_bytes(), "in memory") if on_cpu else (torch.cuda.mem_get_info(device)[0], f"on {device}")
    if free is None:
        return f"{needed / 2**30:.1f} GiB {where}, which does not say what is free"
    told = f"{needed / 2**30:.1f} GiB {where}, where {free / 2**30:.1f} GiB are free"
    if needed > ROOM * free:
        raise MachineError(f"the data set needs {told}", "use loader: pinned or dali, or smaller images")
    return told


@contextlib.contextmanager
def of_one_loader() -> Iterator[None]:
    """Frees, once a loader has been built in it, the copies that this loader did not ask for.

    They are those of a loader that the process has done with, of a layout that is not wanted any more, or of one that
    was only tried: they would be in the peak of a run that does not use them.
    """
    _asked.clear()
    yield
    _free_unused()


_copies: dict[tuple, Any] = {}
_asked: set[tuple] = set()  # since the last loader was begun


def _kept(splits: Sequence[Split], form: tuple, copy: Callable[[Split], Any], device: torch.device) -> list[Any]:
    _asked.update((id(split), *form) for split in splits)
    new = [split for split in splits if (id(split), *form) not in _copies]
    if new:
        _free_unused()  # before there must be room
        require_room(new, device)
    for split in new:
        key = (id(split), *form)
        _copies[key] = copy(split)
        weakref.finalize(split, _copies.pop, key, None)
    return [_copies[id(split), *form] for split in splits]


def _free_unused() -> None:
    for key in _copies.keys() - _asked:
        _copies.pop(key, None)
