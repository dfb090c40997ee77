"""Boxes of image files, brought to one size."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.nn.functional import interpolate

from harness.data.images import read_box
from harness.data.source import Split
from harness.data.varied import VariedFiles


def cut(files: VariedFiles, rows: np.ndarray, boxes: np.ndarray, threads: int = 1) -> np.ndarray:
    """Decodes images and brings a box of each to one size: bilinear, antialiased, of no pixel beyond the box.

    The pixels are those of Pillow's `crop` and `resize` to within one gray level, by torch, which is three times as
    fast (docs/loaders.md).

    Args:
        files: the images.
        rows: int64 [n], which of them.
        boxes: int32 [n, 4] (top, left, height, width), in pixels of the upright images.
        threads: that share the work.

    Returns:
        uint8 [n, H, W, C], see `files.shape`.

    Raises:
        HarnessError: a file cannot be read any more, or has become smaller.
    """
    _, size, _, channels = files.shape
    found = np.empty((len(rows), size, size, channels), np.uint8)

    def one(place: int) -> None:
        pixels = read_box(files.path(rows[place]), boxes[place], channels=channels)
        part = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)  # it stays channels last in memory
        resized = interpolate(part, (size, size), mode="bilinear", antialias=True)
        found[place] = resized[0].permute(1, 2, 0).numpy()

    if threads == 1:
        for place in range(len(rows)):
            one(place)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(len(rows))))
    return found


def seen(split: Split, numbers: np.ndarray) -> np.ndarray:
    """Returns some images of a split as evaluation sees them, uint8 [n, H, W, C]; those of one size are as they are."""
    rows = split.rows[numbers]
    if not (files := split.varied):
        return split.pixels[rows]
    return cut(files, rows, files.boxes(rows), torch.get_num_threads())
