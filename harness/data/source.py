"""What a dataset plug-in returns, and what all of them share. Imports neither torch nor numpy."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.errors import MachineError
from harness.paths import user_path

if TYPE_CHECKING:
    import numpy as np

    from harness.data.download import Archive
    from harness.data.varied import VariedFiles
    from harness.spec import Evaluate

MEMORY_SHARE = 0.8


class ImageStore(Protocol):
    """Images of one size that are not in memory; `harness.data.files.ImageFiles` is one.

    Attributes:
        resized: whether the files differ in size and are cropped and resized as they are read.
    """

    resized: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """N, H, W and C."""
        ...

    def array(self) -> np.ndarray:
        """Returns them as uint8 [N, H, W, C]; it may lie on disk and be mapped into memory."""
        ...

    def encoded(self) -> list[bytes]:
        """Returns the path of each image's file; those are JPEG or PNG, gray or RGB, upright."""
        ...


class Split:
    """Images and their classes.

    Args:
        store: uint8 [M, H, W, C], or a store of images; the splits of a dataset may share one.
        labels: int64 [N], indices into the dataset's class names.
        rows: int64 [N], where the images are in the store; default: it holds these and no others.
    """

    def __init__(self, store: np.ndarray | ImageStore, labels: np.ndarray, rows: np.ndarray | None = None) -> None:
        self.store = store
        self.labels = labels
        self._rows = rows

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        _, height, width, channels = self.store.shape
        return height, width, channels

    @property
    def rows(self) -> np.ndarray:
        """Where the images are in the store, int64 [N]."""
        import numpy as np

        return np.arange(len(self.labels)) if self._rows is None else self._rows

    @property
    def pixels(self) -> np.ndarray:
        """The store's images, uint8 [M, H, W, C]; this split's are at `rows`."""
        import numpy as np

        return self.store if isinstance(self.store, np.ndarray) else self.store.array()

    @property
    def images(self) -> np.ndarray:
        """This split's images, uint8 [N, H, W, C]: the store itself or a copy of a part of it."""
        return self.pixels if self._rows is None else self.pixels[self._rows]

    @property
    def sizes(self) -> np.ndarray | None:
        """Height and width of each file, int32 [N, 2], where files of any size stay as they are; else None."""
        sizes = getattr(self.store, "sizes", None)
        return None if sizes is None else sizes[self.rows]

    @property
    def varied(self) -> VariedFiles | None:
        """The store, where it has files of any size, of which boxes are cut as they are read."""
        return self.store if hasattr(type(self.store), "squashed") else None  # type: ignore[return-value]

    @functools.cached_property
    def squashed(self) -> Split:
        """The split with its images in a form that fits into an array: itself, unless their sizes vary."""
        return Split(self.varied.squashed, self.labels, self.rows) if self.varied else self

    def boxes(self, numbers: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray | None:
        """Returns the boxes that are seen of some images, in pixels of the store; None where images have one size.

        Args:
            numbers: int64 [n], of images of this split.
            drawn: int32 [n, 4], in pixels of the files; None for what evaluation sees.
        """
        boxes = getattr(self.store, "boxes", None)
        return boxes and boxes(self.rows[numbers], drawn)

    @property
    def size_bytes(self) -> int:
        """Bytes of the images when decoded."""
        height, width, channels = self.shape
        return len(self.labels) * height * width * channels

    def take(self, indices: np.ndarray) -> Split:
        """Returns a part of the split in the order of the indices; no image is copied."""
        return Split(self.store, self.labels[indices], self.rows[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset, read.

    Args:
        train: what is learnt from; a validation split is taken from it, never from `test`.
        test: what accuracy is measured on.
        class_names: one name a label.
        skipped: the paths of unreadable images that were left out.
        rankable: False where accuracy means nothing (random images).
        decode_seconds: what reading image files took; 0 where the cache had them.
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    rankable: bool = True
    decode_seconds: float = 0.0


@dataclass(frozen=True)
class DataSource:
    """A dataset that is described but not yet read. It may list its files once: describe it anew to find changes.

    Args:
        fingerprint: returns the identity of the data's content; it reads files whose content is not known.
        load: reads the data from disk; never from the network.
        load_encoded: the same where images lie in files and the loader decodes them itself.
        load_varied: the same of files that may differ in size and stay as they are; None where images have one size.
        download: fetches what is missing, to be called by one process of a machine before `load`; None unless
            the suite asked for it.
        archive: that the data are published as, where they can be fetched.
        known_fingerprint: the same as `fingerprint` where it takes seconds at the most, else an empty text; None where
            `fingerprint` reads no file.
    """

    fingerprint: Callable[[], str]
    load: Callable[[], Dataset]
    load_encoded: Callable[[], Dataset] | None = None
    load_varied: Callable[[Evaluate], Dataset] | None = None
    download: Callable[[], None] | None = None
    archive: Archive | None = None
    known_fingerprint: Callable[[], str] | None = None


def data_root(root: str | None) -> Path:
    """Returns the folder of the data: `root`, else the environment's HARNESS_DATA, else `data`."""
    return user_path(root or os.environ.get("HARNESS_DATA") or "data")


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
    available = available_bytes()
    if available is not None and needed_bytes * processes > MEMORY_SHARE * available:
        each = f" in each of {processes} processes" if processes > 1 else ""
        raise MachineError(
            f"the images would take {needed_bytes / 2**30:.1f} GiB{each}, "
            f"but only {available / 2**30:.1f} GiB of memory is available",
            "use a smaller data.size, fewer images, or a machine with more memory",
        )


def available_bytes() -> int | None:
    """Returns the memory that new processes could take without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
