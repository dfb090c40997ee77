"""From uint8 images to what a network takes: augmentation and normalisation, a whole batch at once on the device."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.errors import HarnessError
from harness.spec import Augment, DataSection, MeanStd

PUBLISHED = {
    "none": ((0.0,), (1.0,)),
    "half": ((0.5,), (0.5,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
IMAGES_AT_ONCE = 512


class Transform:
    """Turns uint8 [N, H, W, C] on the device into normalised float32 [N, C, H, W].

    Args:
        augment: what is done at random to training images.
        mean, std: of each channel, for pixel values in [0, 1].
        device: where batches are.
        channels_last: the memory format of the result.
    """

    def __init__(
        self,
        augment: Augment,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        channels_last: bool = False,
    ) -> None:
        self._augment = augment
        scale = torch.tensor([1 / (255 * s) for s in std], device=device)
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)
        self._scale, self._shift = scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)
        self._channels_last = channels_last

    def evaluate(self, images: Tensor) -> Tensor:
        """Normalises; nothing random."""
        return self._normalize(images.permute(0, 3, 1, 2))

    def train(self, images: Tensor, random: torch.Generator) -> Tensor:
        """Augments and normalises.

        Args:
            images: uint8 [N, H, W, C].
            random: a generator on the same device.
        """
        augment = self._augment
        if augment.crop or augment.flip:
            images = crop_and_flip(images, augment.crop, augment.flip, random)
        planes = images.permute(0, 3, 1, 2)
        if augment.rotate:
            planes = rotate(planes.float(), augment.rotate, random)
        batch = self._normalize(planes)
        if augment.cutout:
            # Erased pixels are the mean colour, zero after normalisation, as in the paper.
            batch.masked_fill_(cutout_mask(batch, augment.cutout, random), 0.0)  # in place keeps channels-last
        return batch

    def _normalize(self, planes: Tensor) -> Tensor:
        format = torch.channels_last if self._channels_last else torch.contiguous_format
        return torch.addcmul(self._shift, planes.to(torch.float32, memory_format=format), self._scale)


def crop_and_flip(images: Tensor, padding: int, flip: bool, random: torch.Generator) -> Tensor:
    """Pads with zeros, crops each image at an offset of its own and mirrors each with probability one half.

    Args:
        images: uint8 [N, H, W, C].
        padding: pixels on each side; offsets are uniform in [0, 2 x padding].
        flip: whether to mirror left and right.
    """
    count, height, width, _ = images.shape
    device = images.device
    rows = torch.arange(height, device=device).expand(count, height)
    columns = torch.arange(width, device=device).expand(count, width)
    if flip:
        mirrored = torch.rand(count, 1, device=device, generator=random) < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    if padding:
        images = F.pad(images, (0, 0, padding, padding, padding, padding))
        offsets = torch.randint(0, 2 * padding + 1, (2, count, 1), device=device, generator=random)
        rows, columns = rows + offsets[0], columns + offsets[1]
    samples = torch.arange(count, device=device)
    return images[samples[:, None, None], rows[:, :, None], columns[:, None, :]]


def rotate(planes: Tensor, degrees: float, random: torch.Generator) -> Tensor:
    """Rotates each image about its centre by an angle uniform in [-degrees, degrees]; nearest pixel, zeros outside.

    Args:
        planes: float [N, C, H, W].
        degrees: the largest angle.
    """
    count, _, height, width = planes.shape
    angles = (torch.rand(count, device=planes.device, generator=random) * 2 - 1) * math.radians(degrees)
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # The grid runs over [-1, 1] on both axes, so the sine is scaled by the aspect ratio.
    matrix = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], 1).view(count, 2, 3)
    grid = F.affine_grid(matrix, list(planes.shape), align_corners=False)
    return F.grid_sample(planes, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def cutout_mask(batch: Tensor, side: int, random: torch.Generator) -> Tensor:
    """Returns bool [N, 1, H, W]: a square around a uniform centre, clipped at the border (arXiv 1708.04552)."""
    count, _, height, width = batch.shape
    device = batch.device
    y = torch.randint(0, height, (count, 1), device=device, generator=random)
    x = torch.randint(0, width, (count, 1), device=device, generator=random)
    low, high = side // 2, side - side // 2
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    inside_y = (rows >= y - low) & (rows < y + high)
    inside_x = (columns >= x - low) & (columns < x + high)
    return (inside_y[:, :, None] & inside_x[:, None, :])[:, None]


def normalization(section: DataSection, train_images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation for each channel.

    Args:
        section: its `normalize` says which.
        train_images: uint8 [N, H, W, C], after the validation split was held out.

    Raises:
        HarnessError: a data set's published values do not fit the number of channels.
    """
    channels = train_images.shape[-1]
    if isinstance(section.normalize, MeanStd):
        mean, std = tuple(section.normalize.mean), tuple(section.normalize.std)
    elif section.normalize == "train":
        return _mean_and_std(train_images)
    else:
        mean, std = PUBLISHED[section.normalize]
    if len(mean) == 1:
        mean, std = mean * channels, std * channels
    if len(mean) != channels or len(std) != channels:
        message = f"data.normalize has {len(mean)} means and {len(std)} deviations; the images have {channels} channels"
        raise HarnessError(message, "use normalize: train, or one value a channel")
    return mean, std


def _mean_and_std(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    # Counting pixel values is exact; in parts, because bincount makes an int64 copy.
    values = np.arange(256) / 255
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), IMAGES_AT_ONCE):
        some = images[start : start + IMAGES_AT_ONCE]
        counts += [np.bincount(some[..., channel].ravel(), minlength=256) for channel in range(channels)]
    means, stds = [], []
    for shares in counts / (images.size // channels):
        mean = float(shares @ values)
        means.append(mean)
        stds.append(max(float(shares @ (values - mean) ** 2) ** 0.5, 1e-3))  # one colour only: do not divide by 0
    return tuple(means), tuple(stds)
