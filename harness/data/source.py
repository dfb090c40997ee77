"""What a dataset plug-in returns, and what all of them share. Imports neither torch nor numpy."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    import numpy as np

MEMORY_SHARE = 0.8


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their classes.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N], indices into the dataset's class names.
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset, decoded and in memory.

    Args:
        train: what is learnt from; a validation split is taken from it, never from `test`.
        test: what accuracy is measured on.
        class_names: one name a label.
        skipped: the paths of unreadable images that were left out.
        rankable: False where accuracy means nothing (random images).
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    rankable: bool = True


@dataclass(frozen=True)
class DataSource:
    """A dataset that is described but not yet read.

    Args:
        fingerprint: returns the identity of the data's content; cheap, decodes nothing.
        load: reads the data from disk; never from the network.
        download: fetches what is missing, to be called by one process of a machine before `load`; None unless
            the suite asked for it.
    """

    fingerprint: Callable[[], str]
    load: Callable[[], Dataset]
    download: Callable[[], None] | None = None


def data_root(root: str | None) -> Path:
    """Returns the folder of the data: `root`, else the environment's HARNESS_DATA, else `data`."""
    return Path(root or os.environ.get("HARNESS_DATA") or "data").expanduser()


def fingerprint_of(*parts: object) -> str:
    """Returns the sha256 (hex) of JSON-able parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def require_memory(needed_bytes: int) -> None:
    """Checks, before anything is decoded, that the images will fit.

    Raises:
        HarnessError: the processes of this machine, which load at the same time, would together take more than
            80 % of the memory that is available now.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    available = _available_bytes()
    if available is not None and needed_bytes * processes > MEMORY_SHARE * available:
        each = f" in each of {processes} processes" if processes > 1 else ""
        raise HarnessError(
            f"the images would take {needed_bytes / 2**30:.1f} GiB{each}, "
            f"but only {available / 2**30:.1f} GiB of memory is available",
            "use a smaller data.size, fewer images, or a machine with more memory",
        )


def _available_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
