"""What the tests of loaders share beside the contract: training images in files, and readers of batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness import registry
from harness.contracts.loader import COUNT, SIDE
from harness.data.files import ImageFiles
from harness.data.loading import Batch, Feed, Loader
from harness.data.source import Split


def write_photographs(folder: Path, count: int = COUNT, side: int = SIDE) -> list[str]:
    """Writes JPEG files of noise, each another one."""
    random = np.random.default_rng(0)
    paths = [str(folder / f"{number:03}.jpg") for number in range(count)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)).save(path, quality=90)
    return paths


def read_by_hand(paths: Iterable[str]) -> np.ndarray:
    """Returns uint8 [N, H, W, 3], without the harness."""
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def file_split(paths: list[str], **options: Any) -> Split:
    """Returns the images of files; the label of each is its number."""
    return Split(ImageFiles(paths, channels=3, **options), np.arange(len(paths)))


def build(name: str, parameters: dict[str, Any], feed: Feed) -> Loader:
    """Returns a loader as a run would have it."""
    return registry.build("loader", name, feed, **parameters)


def labels_of(batches: Iterable[Batch]) -> list[int]:
    """Returns the labels in the order in which they come."""
    return [label for _, labels in batches for label in labels.tolist()]


def changed(feed: Feed, **values: Any) -> Feed:
    """Returns a feed with other values."""
    return dataclasses.replace(feed, **values)
