"""Seeded, stratified splits: pure functions from labels to indices.

The order is drawn from raw bits of PCG64, the only stream that numpy promises not to change between versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.counted import counted, is_are, was_were
from harness.errors import HarnessError

if TYPE_CHECKING:
    import numpy as np


def rank_in_class(labels: np.ndarray, seed: int) -> np.ndarray:
    """Returns each image's place (int64 [N], from 0) in a random order of its class."""
    import numpy as np

    keys = np.random.PCG64(seed).random_raw(len(labels))
    order = np.lexsort((keys, labels))
    by_class = labels[order]
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - np.searchsorted(by_class, by_class)
    return ranks


def hold_out(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits off `fraction` of every class.

    Where `fraction` is above 0, at least one image of a class is held out and at least one is kept; a class of
    one image keeps it.

    Returns:
        The indices kept and the indices held out, each sorted; together all of them, once.
    """
    import numpy as np

    _, of_class, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    held_sizes = np.floor(sizes * fraction + 0.5).astype(np.int64)
    if fraction > 0:
        held_sizes = np.minimum(np.maximum(held_sizes, 1), sizes - 1)
    held = rank_in_class(labels, seed) < held_sizes[of_class]
    return np.flatnonzero(~held), np.flatnonzero(held)


def take(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the sorted indices of `count` images: of each class its share, if possible at least one.

    Raises:
        HarnessError: there are fewer than `count` images.
    """
    import numpy as np

    if count > len(labels):
        raise HarnessError(
            f"{counted(count, 'image')} {was_were(count)} asked for, but there {is_are(len(labels))} {len(labels)}",
            "ask for fewer images",
        )
    _, of_class, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    shares, remainders = np.divmod(sizes * count, max(len(labels), 1))
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    if count >= len(sizes):
        for missing in np.flatnonzero(shares == 0):
            shares[np.argmax(shares)] -= 1
            shares[missing] = 1
    return np.flatnonzero(rank_in_class(labels, seed) < shares[of_class])
