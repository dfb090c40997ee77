"""TrivialAugment Wide (Müller and Hutter, arXiv 2103.10158) of a whole batch at once, on any device.

Each image has one operation of one strength, those of torchvision's `TrivialAugmentWide`. All are computed for all
images, in three passes: one gather that moves pixels, one table of gray values, one blend with another image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

STRENGTHS = 31
GRAY = (0.2989, 0.587, 0.114)  # of red, green and blue, as torchvision has them
# Of each operation the strengths from the least to the most, and whether they have a sign.
OPERATIONS: dict[str, tuple[np.ndarray, bool]] = {
    "identity": (np.zeros(STRENGTHS), False),
    "shear_x": (np.linspace(0, 0.99, STRENGTHS), True),
    "shear_y": (np.linspace(0, 0.99, STRENGTHS), True),
    "translate_x": (np.trunc(np.linspace(0, 32, STRENGTHS)), True),
    "translate_y": (np.trunc(np.linspace(0, 32, STRENGTHS)), True),
    "rotate": (np.linspace(0, 135, STRENGTHS), True),
    "brightness": (np.linspace(0, 0.99, STRENGTHS), True),
    "color": (np.linspace(0, 0.99, STRENGTHS), True),
    "contrast": (np.linspace(0, 0.99, STRENGTHS), True),
    "sharpness": (np.linspace(0, 0.99, STRENGTHS), True),
    "posterize": (8 - np.rint(np.arange(STRENGTHS) / ((STRENGTHS - 1) / 6)), False),  # bits that are kept
    "solarize": (255 * np.linspace(1, 0, STRENGTHS), False),
    "autocontrast": (np.zeros(STRENGTHS), False),
    "equalize": (np.zeros(STRENGTHS), False),
}
NAMES = tuple(OPERATIONS)


def draw_operations(random: np.random.Generator, count: int) -> np.ndarray:
    """Returns float32 [count, 2]: the number of each sample's operation, and its strength."""
    operation = random.integers(len(NAMES), size=count)
    strength = np.stack([strengths for strengths, _ in OPERATIONS.values()])[
        operation, random.integers(STRENGTHS, size=count)
    ]
    signed = np.array([has_sign for _, has_sign in OPERATIONS.values()])[operation] & (random.random(count) < 0.5)
    return np.stack([operation, np.where(signed, -strength, strength)], 1).astype(np.float32)


def apply_operations(images: Tensor, drawn: Tensor) -> Tensor:
    """Does to each image what was drawn for it.

    Args:
        images: uint8 [n, C, H, W].
        drawn: float32 [n, 2], see `draw_operations`.

    Returns:
        uint8, of the same shape.
    """
    operation, strength = drawn[:, 0], drawn[:, 1]

    def of(*names: str) -> Tensor:
        """The strengths of these operations, [n]; 0 for images of others."""
        chosen = sum(operation == NAMES.index(name) for name in names)
        return torch.where(chosen > 0, strength, 0.0)  # type: ignore[operator]

    def has(name: str) -> Tensor:
        return (operation == NAMES.index(name))[:, None, None]

    moved = _moved(images, of("shear_x"), of("shear_y"), of("translate_x"), of("translate_y"), of("rotate"))
    flat = moved.flatten(2).long()
    gray = _gray(moved)
    value = torch.arange(256.0, device=images.device)
    table = _blended(
        value, gray.mean((1, 2, 3))[:, None, None] * has("contrast"), of("brightness", "contrast")[:, None, None]
    )
    bits = torch.where(has("posterize"), strength[:, None, None], 8.0)
    step = torch.exp2(8 - bits)
    table = torch.where(has("posterize"), (value / step).floor() * step, table)
    table = torch.where(has("solarize") & (value >= strength[:, None, None]), 255 - value, table)
    low, high = flat.amin(2, keepdim=True), flat.amax(2, keepdim=True)
    scale = torch.where(low == high, 1.0, (high - low) * (1 / 255))
    stretched = ((value - torch.where(low == high, 0, low)) / scale).clamp(0, 255).floor()
    table = torch.where(has("autocontrast"), stretched, table)
    table = torch.where(has("equalize"), _equalizing(flat, value), table)
    mapped = table.expand(*images.shape[:2], 256).gather(2, flat).view(images.shape)

    other = torch.where(has("color")[..., None], gray if images.shape[1] == 3 else mapped, _smoothed(mapped))
    return _blended(mapped, other, of("color", "sharpness")[:, None, None, None]).to(torch.uint8)


def _blended(image: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    """Returns an image that lies beyond another one, or towards it, by a strength; in whole gray levels.

    So Pillow blends. torchvision rounds two products, and is one level below where the two images are alike.
    """
    return (image + strength * (image - other)).clamp(0, 255).floor()


def _gray(images: Tensor) -> Tensor:
    if images.shape[1] != 3:
        return images.float()
    red, green, blue = images.split(1, 1)  # by numbers: a tensor of weights from the host would wait for a GPU
    return (red * GRAY[0] + green * GRAY[1] + blue * GRAY[2]).floor()


def _smoothed(images: Tensor) -> Tensor:
    """Returns each pixel's mean with its neighbours, itself five times; those of the border as they are."""
    if min(images.shape[2:]) <= 2:
        return images
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]  # a convolution by groups takes ten times as long
    smoothed = images.clone()
    smoothed[:, :, 1:-1, 1:-1] = ((around + 4 * images[:, :, 1:-1, 1:-1]) / 13).round()
    return smoothed


def _equalizing(flat: Tensor, value: Tensor) -> Tensor:
    """Returns the tables [n, C, 256] that equalize histograms, as Pillow's `ImageOps.equalize` makes them.

    Args:
        flat: int64 [n, C, H * W].
        value: 0 to 255.
    """
    rows = flat.shape[0] * flat.shape[1]
    places = (flat.view(rows, -1) + 256 * torch.arange(rows, device=flat.device)[:, None]).flatten()
    counts = torch.zeros(256 * rows, dtype=torch.int64, device=flat.device)
    below = counts.index_add_(0, places, torch.ones_like(places)).view(*flat.shape[:2], 256).cumsum(2)
    counts = counts.view_as(below)
    last = counts.gather(2, flat.amax(2, keepdim=True))
    step = (flat.shape[2] - last) // 255
    before = torch.cat([torch.zeros_like(below[..., :1]), below[..., :-1]], 2)
    table = ((before + step // 2) // step.clamp(min=1)).clamp(0, 255)
    return torch.where(step > 0, table, value.long()).float()


def _moved(images: Tensor, shear_x: Tensor, shear_y: Tensor, right: Tensor, down: Tensor, degrees: Tensor) -> Tensor:
    """Shears about the top left corner, moves, or rotates about the middle: the nearest pixel, or black."""
    count, channels, height, width = images.shape
    shear_x, shear_y, right, down, turn = (
        one[:, None, None] for one in (shear_x, shear_y, right, down, torch.deg2rad(degrees))
    )
    y = torch.arange(height, device=images.device).view(1, -1, 1) - (height - 1) / 2
    x = torch.arange(width, device=images.device).view(1, 1, -1) - (width - 1) / 2
    cos, sin = torch.cos(turn), torch.sin(turn)
    from_x = cos * x - sin * y + shear_x * (y + height / 2) - right
    from_y = sin * x + cos * y + shear_y * (x + width / 2) - down
    column, row = (from_x + width / 2).floor().long(), (from_y + height / 2).floor().long()
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    places = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    places = places.view(count, 1, -1).expand(count, channels, -1)
    moved = images.reshape(count, channels, -1).gather(2, places).view(images.shape)
    return moved.masked_fill(~inside[:, None], 0)
