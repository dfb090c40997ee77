"""Augmentation on the CPU: in one pass over the pixels where that pays, which Numba compiles; else by torch."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from harness.data.augment.batched import Batched, Recipe
from harness.data.augment.draws import Draws

VALUES_FOR_A_THREAD = 2**20  # handing fewer to another thread takes longer than doing them
NOWHERE = np.zeros((0, 4), np.int32)


class Fused:
    """Turns images of a data set into normalised batches on the CPU.

    Args:
        recipe: what is made of them; with `resize`, `random_resized_crop`, `color_jitter` or `trivial_augment`,
            and where nothing moves or erases pixels, torch does the work: Numba takes half a second to import.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._scale = np.array(recipe.scale, np.float32)
        self._shift = np.array(recipe.shift, np.float32)
        augment = recipe.augment
        self._batched = Batched(recipe, torch.device("cpu"))
        beyond = augment.resize or augment.random_resized_crop or augment.color_jitter or augment.trivial_augment
        beyond = beyond or recipe.cut_size
        within = augment.crop or augment.flip or augment.rotate or augment.cutout or augment.erase
        self._by_torch = bool(beyond or not within)
        if not self._by_torch:
            from harness.data.augment.kernels import fill

            self._fill = fill
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

    def evaluate(self, store: np.ndarray, rows: np.ndarray, boxes: np.ndarray | None = None) -> Tensor:
        """Resizes, or brings a box of each image to one size, and normalises; nothing random."""
        if self._by_torch:
            return self._batched.evaluate(
                torch.from_numpy(store[rows]), None if boxes is None else torch.from_numpy(boxes)
            )
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
            self._recipe.augment.reflects,
            batch.numpy(),
        )
        parts = max(1, min(self._threads, batch.numel() // VALUES_FOR_A_THREAD))
        cuts = [count * part // parts for part in range(parts + 1)]
        others = [self._pool.submit(self._fill, *arguments, *cut) for cut in itertools.pairwise(cuts[1:])]
        self._fill(*arguments, 0, cuts[1])
        for other in others:
            other.result()
        return batch
