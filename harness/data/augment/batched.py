"""Augmentation of a whole batch at once with torch, on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.data.augment.draws import Draws
from harness.data.augment.trivial import apply_operations
from harness.spec import Augment


@dataclass(frozen=True)
class Recipe:
    """What is made of uint8 images.

    Attributes:
        augment: the definition.
        mean, std: of each channel, for pixel values in [0, 1].
        dtype: of the result.
        channels_last: its memory format.
        cut_size: height and width that the box of each image comes to, where images have several sizes.
    """

    augment: Augment
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    cut_size: int | None = None

    @property
    def scale(self) -> tuple[float, ...]:
        """What a pixel value from 0 to 255 is multiplied by."""
        return tuple(1 / (255 * s) for s in self.std)

    @property
    def shift(self) -> tuple[float, ...]:
        """What is added then; what black becomes."""
        return tuple(-m / s for m, s in zip(self.mean, self.std, strict=True))

    def to_format(self, images: Tensor) -> Tensor:
        """Returns images [n, C, H, W] in the memory format and type that is wanted."""
        format = torch.channels_last if self.channels_last else torch.contiguous_format
        return images.to(self.dtype, memory_format=format)


class Batched:
    """Turns uint8 images [n, C, H, W], of any strides, into normalised ones.

    Args:
        recipe: what is made of them.
        device: where they are.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self._recipe = recipe
        cropped = recipe.augment.random_resized_crop
        self._resize, self._box_size = recipe.augment.resize, cropped.size if cropped else recipe.cut_size or 0
        self._scale = torch.tensor(recipe.scale, device=device).view(1, -1, 1, 1)
        self._shift = torch.tensor(recipe.shift, device=device).view(1, -1, 1, 1)

    def evaluate(self, images: Tensor, boxes: Tensor | None = None) -> Tensor:
        """Resizes, or brings a box of each image to one size, and normalises; nothing random."""
        if boxes is not None:
            return self._normalize(resample(images, boxes, self._box_size))
        augment = self._recipe.augment
        height, width = augment.output_size(*images.shape[2:])
        return self._normalize(_resize(images, height, width))

    def train(self, images: Tensor, draws: Draws) -> Tensor:
        """Does what the draws say, and normalises.

        Args:
            images: uint8 [n, C, H, W].
            draws: of these n samples, on the same device.
        """
        if self._resize:
            images = _resize(images, self._resize, self._resize)
        if draws.box is not None:
            images = resample(images, draws.box, self._box_size)
        if draws.offset is not None or draws.flip is not None or draws.turn is not None:
            images = move(images, draws, reflect=self._recipe.augment.reflects)
        if draws.color is not None:
            images = recolor(images, draws.color)
        if draws.operation is not None:
            whole = images.round().to(torch.uint8) if images.is_floating_point() else images
            images = apply_operations(whole, draws.operation)
        batch = self._normalize(images)
        for boxes in (draws.cutout, draws.erase):
            if boxes is not None:  # what is erased is the mean colour, zero after normalisation
                batch = batch.masked_fill_(inside(boxes, *batch.shape[2:])[:, None], 0.0)
        return batch

    def _normalize(self, images: Tensor) -> Tensor:
        return self._recipe.to_format(torch.addcmul(self._shift, images.float(), self._scale))


def move(images: Tensor, draws: Draws, *, reflect: bool = False) -> Tensor:
    """Crops, mirrors and rotates in one gather: each pixel is the nearest one of where it comes from, or black.

    Args:
        images: [n, C, H, W].
        draws: with `offset`, `flip` and `turn`, each of which may be None.
        reflect: beyond the border a crop sees the image mirrored about its border pixels.
    """
    count, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device).view(1, -1, 1).expand(count, height, width)
    columns = torch.arange(width, device=images.device).view(1, 1, -1).expand(count, height, width)
    visible = None
    if draws.turn is not None:
        cos, sin = draws.turn[:, 0, None, None], draws.turn[:, 1, None, None]
        y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
        columns = torch.floor(cos * x - sin * y + ((width - 1) / 2 + 0.5)).long()
        rows = torch.floor(sin * x + cos * y + ((height - 1) / 2 + 0.5)).long()
        visible = _within(rows, columns, height, width)
    if draws.flip is not None:
        columns = torch.where(draws.flip[:, None, None], width - 1 - columns, columns)
    if draws.offset is not None:
        rows, columns = rows + draws.offset[:, 0, None, None], columns + draws.offset[:, 1, None, None]
        if reflect:
            rows, columns = _reflected(rows, height), _reflected(columns, width)
        else:
            within = _within(rows, columns, height, width)
            visible = within if visible is None else visible & within
    if visible is not None:
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    places = (rows * width + columns).view(count, 1, height * width).expand(count, channels, height * width)
    moved = images.reshape(count, channels, height * width).gather(2, places).view(images.shape)
    return moved if visible is None else moved.masked_fill_(~visible[:, None], 0)


def resample(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Brings a box of each image to one size: bilinear, antialiased, the box's border repeated.

    Args:
        images: [n, C, H, W].
        boxes: int [n, 4] (top, left, height, width).
        size: height and width of the result.

    Returns:
        float32 [n, C, size, size], values in the range of the images.
    """
    vertical = _weights(boxes[:, 0], boxes[:, 2], images.shape[2], size)
    horizontal = _weights(boxes[:, 1], boxes[:, 3], images.shape[3], size)
    return vertical[:, None] @ images.float() @ horizontal[:, None].transpose(2, 3)


def recolor(images: Tensor, matrices: Tensor) -> Tensor:
    """Maps each pixel by its image's matrix.

    Args:
        images: [n, C, H, W], values from 0 to 255.
        matrices: float [n, C, C + 1], the shift in the last column.
    """
    flat = images.float().flatten(2)
    mapped = torch.baddbmm(matrices[:, :, -1:], matrices[:, :, :-1], flat)
    return mapped.clamp(0, 255).view(images.shape)


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Returns bool [n, height, width]: which pixels are in an image's box (top, left, height, width)."""
    rows = torch.arange(height, device=boxes.device)[None] - boxes[:, 0, None]
    columns = torch.arange(width, device=boxes.device)[None] - boxes[:, 1, None]
    in_rows = (rows >= 0) & (rows < boxes[:, 2, None])
    in_columns = (columns >= 0) & (columns < boxes[:, 3, None])
    return in_rows[:, :, None] & in_columns[:, None, :]


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    if images.shape[2:] == (height, width):
        return images
    whole = torch.zeros(1, 4, dtype=torch.int32, device=images.device)  # a copy from the host would wait for a GPU
    whole[:, 2], whole[:, 3] = images.shape[2:]
    return resample(images, whole, height)


def _weights(start: Tensor, length: Tensor, extent: int, size: int) -> Tensor:
    """Returns float32 [n, size, extent]: how much of each pixel is in each pixel of the result.

    The triangle filter of Pillow's and DALI's antialiased bilinear; what would lie beyond the box is its border pixel.
    """
    beyond = -(-extent // size) + 1  # pixels that the filter can reach out of a box
    start, length = start[:, None, None], length[:, None, None]
    step = length / size
    reach = step.clamp(min=1.0)
    centre = (torch.arange(size, device=start.device)[None, :, None] + 0.5) * step
    place = torch.arange(-beyond, extent + beyond, device=start.device)[None, None, :]
    filter = (1 - ((place + 0.5 - centre) / reach).abs()).clamp(min=0.0)
    filter = filter / filter.sum(2, keepdim=True)
    pixel = (torch.minimum(place.clamp(min=0), length - 1) + start).expand(filter.shape)
    return torch.zeros(len(start), size, extent, device=start.device).scatter_add_(2, pixel, filter)


def _reflected(places: Tensor, extent: int) -> Tensor:
    """Returns where places are that lie less than the extent beyond either border, mirrored about its pixel."""
    return extent - 1 - (extent - 1 - places.abs()).abs()


def _within(rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    return (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
