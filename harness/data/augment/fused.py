"""Augmentation on the CPU in one pass over the pixels, compiled by Numba: gather, crop, mirror, rotate, normalise.

Images are picked from the whole data set by their index, so no batch of uint8 is made first. Each thread does a slice
of the batch without Python's lock.
"""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from torch import Tensor

from harness.data.augment.batched import Batched, Recipe
from harness.data.augment.draws import Draws

compiled = numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")
VALUES_FOR_A_THREAD = 2**20  # handing fewer to another thread takes longer than doing them
NOWHERE = np.zeros((0, 4), np.int32)


class Fused:
    """Turns images of a data set into normalised batches on the CPU.

    Args:
        recipe: what is made of them; with `resize`, `random_resized_crop` or `color_jitter` torch does the work.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._scale = np.array(recipe.scale, np.float32)
        self._shift = np.array(recipe.shift, np.float32)
        augment = recipe.augment
        self._batched = Batched(recipe, torch.device("cpu"))
        self._by_torch = bool(augment.resize or augment.random_resized_crop or augment.color_jitter)
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(max(self._threads - 1, 1), "augment")

    def train(self, store: np.ndarray, rows: np.ndarray, draws: Draws) -> Tensor:
        """Augments and normalises.

        Args:
            store: uint8 [N, C, H, W], of any strides.
            rows: int64 [n], which of them.
            draws: of these n samples.

        Returns:
            float32 [n, C, H, W].
        """
        if self._by_torch:
            return self._batched.train(torch.from_numpy(store[rows]), draws.map(torch.from_numpy))
        return self._normalized(store, rows, draws)

    def evaluate(self, store: np.ndarray, rows: np.ndarray) -> Tensor:
        """Resizes and normalises; nothing random."""
        if self._by_torch:
            return self._batched.evaluate(torch.from_numpy(store[rows]))
        return self._normalized(store, rows, Draws())

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=False)

    def _normalized(self, store: np.ndarray, rows: np.ndarray, draws: Draws) -> Tensor:
        count, shape = len(rows), store.shape[1:]
        format = torch.channels_last if self._recipe.channels_last else torch.contiguous_format
        batch = torch.empty((count, *shape), memory_format=format)
        arguments = (
            store,
            rows,
            np.zeros((count, 2), np.int32) if draws.offset is None else draws.offset,
            np.zeros(count, bool) if draws.flip is None else draws.flip,
            np.zeros((0, 2), np.float32) if draws.turn is None else draws.turn,
            NOWHERE if draws.cutout is None else draws.cutout,
            NOWHERE if draws.erase is None else draws.erase,
            self._scale,
            self._shift,
            batch.numpy(),
        )
        parts = max(1, min(self._threads, batch.numel() // VALUES_FOR_A_THREAD))
        cuts = [count * part // parts for part in range(parts + 1)]
        others = [self._pool.submit(_fill, *arguments, *cut) for cut in itertools.pairwise(cuts[1:])]
        _fill(*arguments, 0, cuts[1])
        for other in others:
            other.result()
        return batch


@compiled
def _fill(store, rows, offset, flip, turn, cutout, erase, scale, shift, batch, begin, end):  # type: ignore[no-untyped-def]
    for sample in range(begin, end):
        image = store[rows[sample]]
        out = batch[sample]
        if len(turn):
            _rotated(image, offset[sample], flip[sample], turn[sample], scale, shift, out)
        else:
            _straight(image, offset[sample], flip[sample], scale, shift, out)
        if len(cutout):
            _erase(out, cutout[sample])
        if len(erase):
            _erase(out, erase[sample])


@compiled
def _straight(image, offset, flip, scale, shift, out):  # type: ignore[no-untyped-def]
    # By rows, without a branch for each pixel and with unsigned indices, which Numba need not check for being negative:
    # so the compiler makes vector instructions of the inner loops (3.3 x as fast).
    channels, height, width = image.shape
    down, right = offset[0], offset[1]
    top, bottom = max(0, -down), min(height, height - down)
    begin, end = min(max(0, -right), width), max(min(width, width - right), 0)
    left = np.uint64(width - end if flip else begin)
    stop = left + np.uint64(end - begin)
    wide, to_source = np.uint64(width), np.uint64(width - 1 + right) if flip else np.uint64(right)
    for channel in range(channels):
        gain, black = scale[channel], shift[channel]
        for y in range(height):
            row = out[channel, y]
            if y < top or y >= bottom:
                for x in range(wide):
                    row[x] = black
                continue
            source = image[channel, y + down]
            for x in range(left):
                row[x] = black
            for x in range(stop, wide):
                row[x] = black
            if flip:
                for x in range(left, stop):
                    row[x] = np.float32(source[to_source - x]) * gain + black
            else:
                for x in range(left, stop):
                    row[x] = np.float32(source[to_source + x]) * gain + black


@compiled
def _rotated(image, offset, flip, turn, scale, shift, out):  # type: ignore[no-untyped-def]
    channels, height, width = image.shape
    cos, sin = turn[0], turn[1]
    middle_y, middle_x, half = np.float32((height - 1) / 2), np.float32((width - 1) / 2), np.float32(0.5)
    for y in range(height):
        for x in range(width):
            dy, dx = np.float32(y) - middle_y, np.float32(x) - middle_x
            column = math.floor(cos * dx - sin * dy + (middle_x + half))
            row = math.floor(sin * dx + cos * dy + (middle_y + half))
            visible = 0 <= row < height and 0 <= column < width
            if flip:
                column = width - 1 - column
            row, column = row + offset[0], column + offset[1]
            if visible and 0 <= row < height and 0 <= column < width:
                for channel in range(channels):
                    out[channel, y, x] = np.float32(image[channel, row, column]) * scale[channel] + shift[channel]
            else:
                for channel in range(channels):
                    out[channel, y, x] = shift[channel]


@compiled
def _erase(out, box):  # type: ignore[no-untyped-def]
    for channel in range(out.shape[0]):
        for y in range(box[0], box[0] + box[2]):
            for x in range(box[1], box[1] + box[3]):
                out[channel, y, x] = 0.0
