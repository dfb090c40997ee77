"""What the tests of loaders share: a small training set, as an array and as files, and what its batches should be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from harness import registry
from harness.data.augment.batched import Batched, Recipe
from harness.data.files import ImageFiles
from harness.data.loading import Batch, Feed, Loader
from harness.data.order import GlobalBatches
from harness.data.source import Split
from harness.spec import Augment

CPU = torch.device("cpu")
COUNT = 101  # divided by no world size that is tested
SIDE = 12
ERASING = Augment.model_validate({"crop": 2, "flip": True, "cutout": 3, "erase": {"probability": 0.5}})
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


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


def array_split(count: int, side: int = SIDE, seed: int = 0) -> Split:
    """Returns random images; the label of each is its number."""
    images = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)
    return Split(images, np.arange(count))


def file_split(paths: list[str], **options: Any) -> Split:
    """Returns the images of files; the label of each is its number."""
    return Split(ImageFiles(paths, channels=3, **options), np.arange(len(paths)))


def feed(
    train: Split,
    rank: int = 0,
    num_processes: int = 1,
    *,
    seed: int = 0,
    batch: int = 24,
    augment: Augment = ERASING,
    channels_last: bool = False,
) -> Feed:
    """Returns what a loader is told of a run on the CPU."""
    channels = train.shape[2]
    return Feed(
        train=train,
        recipe=Recipe(augment, MEAN[:channels], STD[:channels], torch.float32, channels_last),
        device=CPU,
        rank=rank,
        num_processes=num_processes,
        sampler=GlobalBatches(len(train.labels), batch, num_processes, seed),
        seed=seed,
    )


def build(name: str, parameters: dict[str, Any], feed: Feed) -> Loader:
    """Returns a loader as a run would have it."""
    return registry.build("loader", name, feed, **parameters)


def expected_epoch(feed: Feed, pixels: np.ndarray, epoch: int, first_batch: int = 0) -> list[Batch]:
    """Returns an epoch's batches as the definition has them, without a loader.

    Args:
        feed: of the run.
        pixels: uint8 [N, H, W, C], the training images one by one.
        epoch, first_batch: what is asked for.
    """
    batched, draws = Batched(feed.recipe, CPU), feed.draws(epoch)
    return [
        (
            batched.train(_channels_first(pixels[share]), draws[share.numpy()].map(torch.from_numpy)),
            torch.from_numpy(feed.train.labels)[share],
        )
        for share in feed.sampler.shares(epoch, feed.rank, first_batch)
    ]


def expected_evaluation(feed: Feed, split: Split, pixels: np.ndarray, batch_size: int) -> list[Batch]:
    """Returns the batches of a split as the definition has them, without a loader."""
    own = np.arange(feed.rank, len(split.labels), feed.num_processes)
    parts = [own[start : start + batch_size] for start in range(0, len(own), batch_size)]
    batched = Batched(feed.recipe, CPU)
    return [(batched.evaluate(_channels_first(pixels[part])), torch.from_numpy(split.labels[part])) for part in parts]


def assert_same(found: Iterable[Batch], expected: list[Batch], feed: Feed, levels: float = 1.0) -> None:
    """Asserts equal labels, and images that differ by so many grey levels at the most."""
    batches = list(found)
    assert [labels.tolist() for _, labels in batches] == [labels.tolist() for _, labels in expected]
    scale = torch.tensor(feed.recipe.scale).view(1, -1, 1, 1)
    for (images, labels), (wanted, _) in zip(batches, expected, strict=True):
        assert labels.dtype == torch.int64 and images.dtype == wanted.dtype and images.shape == wanted.shape
        assert float(((images - wanted).abs() / scale).max()) <= levels + 1e-3


def labels_of(batches: Iterable[Batch]) -> list[int]:
    """Returns the labels in the order in which they come."""
    return [label for _, labels in batches for label in labels.tolist()]


def changed(feed: Feed, **values: Any) -> Feed:
    """Returns a feed with other values."""
    return dataclasses.replace(feed, **values)


def _channels_first(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
