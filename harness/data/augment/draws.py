"""What is random in an epoch's augmentation: a few numbers for each sample, drawn on the host.

They depend on seed, epoch and sample alone. So every loader augments a sample alike, at any world size, on any device,
from any batch of an epoch on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.data.augment.trivial import draw_operations
from harness.data.order import hash_seed
from harness.spec import Augment, ColorJitter, Erase, RandomResizedCrop

ATTEMPTS = 10  # as torchvision's RandomResizedCrop and RandomErasing
FLIP, CROP, ROTATE, JITTER, CUTOUT, BOX, ERASE, MIX, TRIVIAL = range(1, 10)  # each a stream of its own

# Rows give Y, I, Q of an RGB pixel; `color_twist` of DALI (operators/image/color/color_twist.h) rounds to 0.001.
RGB_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]], np.float64
)


@dataclass(frozen=True)
class Draws:
    """For each of n samples what to do with it; None where a step is off.

    Attributes:
        box: int32 [n, 4] (top, left, height, width) that `random_resized_crop` takes.
        offset: int32 [n, 2] (down, right) by which the crop is shifted, from -padding to padding.
        flip: bool [n].
        turn: float32 [n, 2] (cosine, sine) of the angle, counter-clockwise as seen.
        color: float32 [n, C, C + 1]: matrix and shift of `color_jitter`, for pixel values from 0 to 255.
        operation: float32 [n, 2]: number and strength of what `trivial_augment` does.
        cutout: int32 [n, 4] (top, left, height, width), within the image.
        erase: int32 [n, 4], height 0 where nothing is erased.
    """

    box: Any = None
    offset: Any = None
    flip: Any = None
    turn: Any = None
    color: Any = None
    operation: Any = None
    cutout: Any = None
    erase: Any = None

    def __getitem__(self, samples: Any) -> Draws:
        """Returns the draws of some samples."""
        return self.map(lambda values: values[samples])

    def arrays(self) -> list[Any]:
        """Returns those that are not None."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return [value for value in values if value is not None]

    def map(self, function: Callable[[Any], Any]) -> Draws:
        """Returns the draws with a function applied to each array."""
        fields = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return Draws(**{name: None if values is None else function(values) for name, values in fields})


def draw(
    augment: Augment, count: int, shape: tuple[int, int, int], seed: int, epoch: int, sizes: np.ndarray | None = None
) -> Draws:
    """Draws for every sample of the training set.

    Args:
        augment: the definition.
        count: samples.
        shape: height, width and channels of the stored images.
        seed: of the run.
        epoch: from 0.
        sizes: int32 [count, 2], height and width of each original that a box is drawn in; None: as `shape` says.

    Returns:
        Arrays in the order of the training set.
    """

    def random(stream: int, in_epoch: int = epoch) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(hash_seed(seed, in_epoch, AUGMENTATION + stream)))

    height, width, channels = shape
    if augment.resize:
        height = width = augment.resize
    cropped = augment.random_resized_crop
    high, wide = (height, width) if sizes is None else sizes.T
    box = _boxes(cropped, random(BOX), count, high, wide) if cropped else None
    height, width = augment.output_size(height, width)
    return Draws(
        box=box,
        offset=random(CROP).integers(-augment.crop, augment.crop, (count, 2), np.int32, endpoint=True)
        if augment.crop
        else None,
        flip=_flips(augment, random, count, epoch) if augment.flip else None,
        turn=_turns(augment.rotate, random(ROTATE), count) if augment.rotate else None,
        color=_colors(augment.color_jitter, random(JITTER), count, channels) if augment.color_jitter else None,
        operation=draw_operations(random(TRIVIAL), count) if augment.trivial_augment else None,
        cutout=_cutouts(augment.cutout, random(CUTOUT), count, height, width) if augment.cutout else None,
        erase=_erased(augment.erase, random(ERASE), count, height, width) if augment.erase else None,
    )


AUGMENTATION = 2**16  # a stream apart from those of the permutation and of dropout


def _flips(augment: Augment, random: Any, count: int, epoch: int) -> np.ndarray:
    if augment.flip != "alternating":
        return random(FLIP).random(count) < 0.5
    # Each image starts at random and is mirrored every other epoch (Jordan, arXiv 2404.00498).
    return (random(FLIP, 0).random(count) < 0.5) ^ bool(epoch % 2)


def _turns(degrees: float, random: np.random.Generator, count: int) -> np.ndarray:
    angles = np.deg2rad(random.uniform(-degrees, degrees, count))
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def _boxes(crop: RandomResizedCrop, random: np.random.Generator, count: int, height: Any, width: Any) -> np.ndarray:
    shape = (ATTEMPTS, count)
    area = random.uniform(*crop.scale, shape) * height * width
    ratio = np.exp(random.uniform(math.log(crop.ratio[0]), math.log(crop.ratio[1]), shape))
    tall, wide = np.rint(np.sqrt(area / ratio)).astype(np.int32), np.rint(np.sqrt(area * ratio)).astype(np.int32)
    fits = (tall > 0) & (tall <= height) & (wide > 0) & (wide <= width)
    first, samples = fits.argmax(0), np.arange(count)
    # Where no attempt fits: the largest box in the middle whose ratio is allowed.
    ratio_of_image = np.clip(width / height, *crop.ratio)
    largest = (
        np.minimum(height, np.maximum(1, np.rint(width / ratio_of_image))),
        np.minimum(width, np.maximum(1, np.rint(height * ratio_of_image))),
    )
    found = fits.any(0)
    tall = np.where(found, tall[first, samples], largest[0])
    wide = np.where(found, wide[first, samples], largest[1])
    places = random.random((2, count))
    top = np.where(found, places[0] * (height - tall + 1), (height - tall) / 2)
    left = np.where(found, places[1] * (width - wide + 1), (width - wide) / 2)
    return np.stack([top, left, tall, wide], 1).astype(np.int32)


def _erased(erase: Erase, random: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    shape = (ATTEMPTS, count)
    area = random.uniform(*erase.scale, shape) * height * width
    ratio = np.exp(random.uniform(math.log(erase.ratio[0]), math.log(erase.ratio[1]), shape))
    tall, wide = np.rint(np.sqrt(area * ratio)).astype(np.int32), np.rint(np.sqrt(area / ratio)).astype(np.int32)
    fits = (tall < height) & (wide < width)
    first, samples = fits.argmax(0), np.arange(count)
    wanted = fits.any(0) & (random.random(count) < erase.probability)
    tall, wide = np.where(wanted, tall[first, samples], 0), np.where(wanted, wide[first, samples], 0)
    places = random.random((2, count))
    return np.stack([places[0] * (height - tall + 1), places[1] * (width - wide + 1), tall, wide], 1).astype(np.int32)


def _cutouts(side: int, random: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    # A square around a uniform centre, clipped at the border, as in the paper.
    centre = random.integers(0, (height, width), (count, 2))
    low = np.maximum(centre - side // 2, 0)
    high = np.minimum(centre + side - side // 2, (height, width))
    return np.concatenate([low, high - low], 1).astype(np.int32)


def _colors(jitter: ColorJitter, random: np.random.Generator, count: int, channels: int) -> np.ndarray:
    """Brightness, contrast about mid-gray, hue and saturation in one affine map, as `color_twist` of DALI has it."""

    def factors(strength: float) -> np.ndarray:
        return random.uniform(1 - strength, 1 + strength, count)

    brightness, contrast, saturation = (factors(s) for s in (jitter.brightness, jitter.contrast, jitter.saturation))
    hue = np.deg2rad(random.uniform(-jitter.hue, jitter.hue, count))
    linear = np.broadcast_to(np.eye(channels), (count, channels, channels))
    if channels == 3:  # of gray there is neither hue nor saturation
        turned = np.zeros((count, 3, 3))
        turned[:, 0, 0] = 1
        turned[:, 1, 1] = turned[:, 2, 2] = saturation * np.cos(hue)
        turned[:, 1, 2], turned[:, 2, 1] = saturation * np.sin(hue), -saturation * np.sin(hue)
        linear = np.linalg.inv(RGB_TO_YIQ) @ turned @ RGB_TO_YIQ
    linear = (brightness * contrast)[:, None, None] * linear
    shift = np.broadcast_to((brightness * 128 * (1 - contrast))[:, None, None], (count, channels, 1))
    return np.concatenate([linear, shift], 2).astype(np.float32)
