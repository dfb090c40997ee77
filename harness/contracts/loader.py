"""What every loader promises: the same batches as all others, whose definition stands here, without a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from harness.contracts.promise import Promise, require
from harness.data.augment.batched import Batched, Recipe
from harness.data.loading import Batch, Feed, Loader
from harness.data.order import GlobalBatches
from harness.data.source import Split
from harness.spec import Augment

CPU = torch.device("cpu")
COUNT = 101  # divided by no world size that is tested
SIDE = 12
ERASING = Augment.model_validate({"crop": 2, "flip": True, "cutout": 3, "erase": {"probability": 0.5}})
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
EVALUATION_BATCH = 9

Build = Callable[[Feed], Loader]


def promises(build: Build) -> Iterator[Promise]:
    """Yields what is promised, of images in memory, on the CPU."""
    split = array_split(COUNT)
    pixels = split.images.copy()
    yield "the ranks together see each sample once an epoch", lambda: ranks_share_each_epoch(build, split, pixels)
    yield "evaluation sees each sample once, as it is", lambda: ranks_share_the_evaluation(build, split, pixels)
    yield "an epoch goes on from any of its batches", lambda: goes_on_from_any_batch(build, split, pixels)


def array_split(count: int, side: int = SIDE, seed: int = 0) -> Split:
    """Returns random images; the label of each is its number."""
    images = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)
    return Split(images, np.arange(count))


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


def require_same(found: Iterable[Batch], expected: list[Batch], feed: Feed, levels: float = 1.0) -> None:
    """Requires equal labels, and images that differ by so many grey levels at the most."""
    batches = list(found)
    own, wanted = ([labels.tolist() for _, labels in some] for some in (batches, expected))
    require(len(own) == len(wanted), f"it yields {len(own)} batches, not {len(wanted)}")
    for number, (labels, right) in enumerate(zip(own, wanted, strict=True)):
        require(labels == right, f"batch {number} has the samples {labels[:5]}..., not {right[:5]}...")
    scale = torch.tensor(feed.recipe.scale).view(1, -1, 1, 1)
    for number, ((images, labels), (right, _)) in enumerate(zip(batches, expected, strict=True)):
        require(labels.dtype == torch.int64, f"the labels are {labels.dtype}, not int64")
        is_a, should = (f"{list(some.shape)} of {some.dtype}" for some in (images, right))
        require(is_a == should, f"the images of batch {number} are {is_a}, not {should}")
        most = float(((images - right).abs() / scale).max())
        require(
            most <= levels + 1e-3, f"the images of batch {number} differ by {most:.1f} grey levels from the right ones"
        )


def ranks_share_each_epoch(build: Build, split: Split, pixels: np.ndarray) -> None:
    """With one, two and three processes each yields its share, ordered and augmented as all loaders do it."""
    for num_processes in (1, 2, 3):
        for rank in range(num_processes):
            given = feed(split, rank, num_processes)
            loader = build(given)
            for epoch in (0, 1):
                require_same(loader.epoch(epoch), expected_epoch(given, pixels, epoch), given)
            loader.close()


def ranks_share_the_evaluation(build: Build, split: Split, pixels: np.ndarray) -> None:
    """Evaluation yields each sample of a split once, in order and unaugmented."""
    for num_processes in (1, 2):
        for rank in range(num_processes):
            given = feed(split, rank, num_processes)
            loader = build(given)
            expected = expected_evaluation(given, split, pixels, EVALUATION_BATCH)
            require_same(loader.evaluation(split, EVALUATION_BATCH), expected, given)
            loader.close()


def goes_on_from_any_batch(build: Build, split: Split, pixels: np.ndarray) -> None:
    """The rest of an epoch is what the whole one would have been from there: the loader has no state."""
    given = feed(split)
    loader = build(given)
    for first in (3, 0, 1):
        require_same(loader.epoch(1, first), expected_epoch(given, pixels, 1, first), given)
    loader.close()


def _channels_first(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
