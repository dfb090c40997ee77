"""The loaders that `loaders.py` compares, ours and those of `peers.py`, and the images that they read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peers
import torch
from peers import BATCH_SIZE, MEAN, STD, Batches
from PIL import Image

from harness import registry
from harness.data.augment.batched import Recipe
from harness.data.files import ImageFiles
from harness.data.loading import Feed
from harness.data.order import GlobalBatches
from harness.data.prepare import prepare
from harness.data.source import Split
from harness.spec import Augment, DataSection, section_model

HALF = ("resident_half", "airbench")  # yield float16, channels last


class Contender(NamedTuple):
    """A loader that is not started yet.

    Attributes:
        begin: starts it.
        prefetched: batches that wait ready at most.
        warm_up: batches after which it is at its speed.
    """

    begin: Callable[[], Batches]
    prefetched: int
    warm_up: int


def make_images(root: Path, count: int = 5000, size: int = 32) -> Path:
    """Makes a folder of JPEG files: soft shapes of ten classes, about as large as photographs of this size."""
    random = np.random.default_rng(0)
    for number in range(count):
        soft = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8)).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        pixels = np.asarray(soft, np.int16) + random.integers(-12, 13, (size, size, 3))
        folder = root / "train" / f"class{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05}.jpg", quality=90)
    return root


def folder_split(root: Path) -> Split:
    """Returns the training set of a folder, read by the data set `image_folder` where there is a test set too."""
    if (root / "test").is_dir():
        section = section_model("data", "image_folder").model_validate({"name": "image_folder", "root": str(root)})
        assert isinstance(section, DataSection)
        return prepare(section).train
    samples = peers.ImageFolder(str(root / "train")).samples
    return Split(ImageFiles([path for path, _ in samples], channels=3), np.array([label for _, label in samples]))


def all_contenders(root: Path, split: Split, device: torch.device) -> dict[str, Contender]:
    """Returns the loaders by their names, ours first."""
    cuda = device.type == "cuda"
    images, labels = np.array(split.images), split.labels
    arrays = Split(images, labels)
    epoch = -(-len(labels) // BATCH_SIZE)
    found: dict[str, Contender] = {}

    def add(name: str, begin: Callable[..., Batches], *arguments: Any, prefetched: int = 0, warm_up: int = 3) -> None:
        found[name] = Contender(functools.partial(begin, *arguments), prefetched, max(warm_up, prefetched))

    add("resident", ours, "resident", arrays, device)
    if cuda:
        add("resident_half", ours, "resident", arrays, device, torch.float16)
        add("airbench", peers.airbench, images, labels, device, warm_up=epoch)
    for workers in (0, 2, 16) if cuda else (0, 2):
        add(f"pinned_w{workers}", pinned, arrays, device, workers, prefetched=2 * workers)
        # An epoch to warm up: each worker maps the cache's pages.
        add(f"pinned_cached_w{workers}", pinned, split, device, workers, prefetched=2 * workers, warm_up=epoch)
    add("dali_ours_array", ours, "dali", arrays, device, prefetched=3)
    add("dali", ours, "dali", split, device, prefetched=3)
    add("dali_array", peers.dali_array, images, labels, device, prefetched=3)
    for workers in (0, 2, 16) if cuda else (0, 1, 2):
        for kind in ("v1_pil", "v2_pil", "v2_tensor"):
            name = f"torch_{kind}_w{workers}"
            add(name, peers.torch_arrays, kind, images, labels, workers, device, prefetched=2 * workers)
        name = f"image_folder_w{workers}"
        add(name, peers.image_folder, root / "train", images.shape[1], workers, device, prefetched=2 * workers)
    return found


def ours(
    name: str, split: Split, device: torch.device, dtype: torch.dtype = torch.float32, **parameters: Any
) -> Batches:
    """Yields the batches of one of the harness's loaders, epoch after epoch."""
    augment = Augment(crop=peers.PADDING, flip=True)
    recipe = Recipe(augment, MEAN, STD, dtype, channels_last=dtype == torch.float16)
    sampler = GlobalBatches(len(split.labels), BATCH_SIZE, 1, 0)
    loader = registry.build("loader", name, Feed(split, recipe, device, 0, 1, sampler, 0), **parameters)
    for epoch in range(2**63):
        yield from loader.epoch(epoch)


def pinned(split: Split, device: torch.device, workers: int) -> Batches:
    """Yields the batches of `pinned`."""
    return ours("pinned", split, device, workers=workers)


def check(
    batch: tuple[torch.Tensor, torch.Tensor], shape: tuple[int, int, int], device: torch.device, *, half: bool
) -> None:
    """Checks that a loader does the task, since one that did less would seem fast."""
    images, labels = batch
    height, width, channels = shape
    assert images.shape == (BATCH_SIZE, channels, height, width)
    assert labels.shape == (BATCH_SIZE,)
    assert images.dtype == (torch.float16 if half else torch.float32)
    assert images.device == labels.device == device
    black = -torch.tensor(MEAN) / torch.tensor(STD)
    lowest = images.float().amin((0, 2, 3)).cpu()
    assert torch.allclose(lowest, black, atol=2e-3), f"padded with {lowest.tolist()}"
    assert images.float().std() > 0.3
