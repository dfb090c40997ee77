"""One copy of each split on the device, for all runs of a process."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.source import Split, available_bytes
from harness.errors import MachineError

ROOM = 0.9  # of the free memory may be taken


def on_cpu(split: Split, *, channels_last: bool) -> np.ndarray:
    """Returns uint8 [N, C, H, W], in the memory format of the batches that are made of it.

    Raises:
        HarnessError: it does not fit in memory.
    """

    def copy() -> np.ndarray:
        _require_room(split.size_bytes, available_bytes(), "in memory")
        pixels, rows = split.pixels, split.rows
        height, width, channels = split.shape
        shape = (len(rows), height, width, channels) if channels_last else (len(rows), channels, height, width)
        copied = np.empty(shape, np.uint8)
        logical = copied.transpose(0, 3, 1, 2) if channels_last else copied
        for row, image in zip(rows, logical, strict=True):
            image[:] = pixels[row].transpose(2, 0, 1)
        return logical

    return _kept(split, ("cpu", channels_last), copy)


def on_gpu(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns uint8 images [N, H, W, C] and int64 labels [N] on a GPU.

    Raises:
        HarnessError: they do not fit in its memory.
    """

    def copy() -> tuple[Tensor, Tensor]:
        _require_room(split.size_bytes, torch.cuda.mem_get_info(device)[0], f"on {device}")
        return torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device)

    return _kept(split, (str(device),), copy)


_copies: dict[tuple, Any] = {}


def _kept(split: Split, form: tuple, copy: Callable[[], Any]) -> Any:
    key = (id(split), *form)
    if key not in _copies:
        _copies[key] = copy()
        weakref.finalize(split, _copies.pop, key, None)
    return _copies[key]


def _require_room(needed: int, free: int | None, where: str) -> None:
    if free is not None and needed > ROOM * free:
        message = f"the data set needs {needed / 2**30:.1f} GiB {where}, where {free / 2**30:.1f} GiB are free"
        raise MachineError(message, "use loader: pinned or dali, or smaller images")
