"""Augmentation as a DALI graph. Importing this needs DALI."""
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false
# DALI makes its operators' names when it is imported.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from nvidia.dali import fn, math, types

from harness.data.augment.batched import Recipe
from harness.data.augment.draws import Draws


@dataclass(frozen=True)
class Pictures:
    """What goes into a graph.

    Attributes:
        shape: height, width and channels of the stored images.
        form: what is fed: pixels, the content of image files, or their paths.
        resized: whether those files differ in size and are to be cropped and resized to `shape`.
        on_gpu: whether the graph runs on a GPU.
        varied: whether the files may have any size, and boxes of them come to `shape`, in evaluation too.
    """

    shape: tuple[int, int, int]
    form: Literal["pixels", "files", "paths"]
    resized: bool
    on_gpu: bool
    varied: bool = False


def arguments(draws: Draws) -> list[np.ndarray]:
    """Returns the arrays that are fed beside the images, in the order in which `build` takes them."""
    arrays = [draws.box, draws.offset, draws.flip, draws.turn, draws.color, *_boxes(draws)]
    return [np.ascontiguousarray(_for_dali(array)) for array in arrays if array is not None]


def build(pictures: Pictures, recipe: Recipe, images: Any, drawn: list[Any], *, train: bool) -> Any:
    """Returns the graph's output, float32 [C, H, W] or, where channels are last, [H, W, C].

    Args:
        pictures: what `images` are.
        recipe: what is made of them.
        images: node of uint8: pixels [H, W, C], or the bytes of a file or of a path.
        drawn: nodes in the order of `arguments`.
        train: whether to augment.
    """
    augment, inputs = recipe.augment, iter(drawn)
    height, width = augment.output_size(*pictures.shape[:2])
    box = next(inputs) if pictures.varied or (train and augment.random_resized_crop) else None
    # Where nothing is resized before it, no more of a file is decoded than its box.
    early = box if pictures.form != "pixels" and not pictures.resized and not augment.resize else None
    if pictures.form != "pixels":
        images = _decode(pictures, images, early)
    elif pictures.on_gpu:
        images = images.gpu()
    if train and augment.resize:
        images = _resize(images, augment.resize)
    if box is not None and early is None:
        images = fn.slice(images, start=box[0:2], shape=box[2:4], axes=[0, 1])
    if box is not None or (not train and (height, width) != pictures.shape[:2]):
        images = _resize(images, height)
    mirror: Any = 0
    if train:
        if augment.crop:
            start = next(inputs)
            if augment.reflects:
                images, start = _mirrored_around(images, augment.crop, height, width), start + augment.crop
            images = fn.slice(
                images,
                start=start,
                shape=[height, width],
                axes=[0, 1],
                out_of_bounds_policy="pad",
                fill_values=0,
            )
        mirror = next(inputs) if augment.flip else 0
        if augment.rotate:
            images = fn.flip(images, horizontal=mirror) if augment.flip else images
            mirror = 0
            images = fn.warp_affine(
                images,
                matrix=_turned(next(inputs), height, width),
                interp_type=types.INTERP_NN,
                fill_value=0,
                size=[height, width],
            )
        if augment.color_jitter:
            mapped = fn.coord_transform(images, MT=next(inputs), dtype=types.FLOAT)
            images = fn.reshape(math.clamp(mapped, 0, 255), layout="HWC")
    images = fn.crop_mirror_normalize(
        images,
        mirror=mirror,
        dtype=types.FLOAT,
        output_layout="HWC" if recipe.channels_last else "CHW",
        mean=[255 * m for m in recipe.mean],
        std=[255 * s for s in recipe.std],
    )
    if train:
        for wanted in (augment.cutout, augment.erase):
            if wanted:
                region = fn.cast(next(inputs), dtype=types.FLOAT)
                images = fn.erase(images, anchor=region[0:2], shape=region[2:4], axis_names="HW", fill_value=0)
    return images


def _decode(pictures: Pictures, encoded: Any, box: Any) -> Any:
    if pictures.form == "paths":
        encoded = fn.io.file.read(encoded)
    options = {
        "device": "mixed" if pictures.on_gpu else "cpu",
        "output_type": types.RGB if pictures.shape[2] == 3 else types.GRAY,
        "jpeg_fancy_upsampling": True,  # as the CPU decodes, and libjpeg: else chroma differs by up to 33 levels
    }
    if box is not None:  # no more of a JPEG is decoded than is seen
        return fn.decoders.image_slice(encoded, start=box[0:2], shape=box[2:4], axes=[0, 1], **options)
    images = fn.decoders.image(encoded, **options)
    if not pictures.resized:
        return images
    sides = fn.peek_image_shape(encoded, dtype=types.INT32)[0:2]
    side = fn.reductions.min(sides)
    middle = fn.slice(images, start=(sides - side) // 2, shape=fn.stack(side, side), axes=[0, 1])
    return _resize(middle, pictures.shape[0])


def _resize(images: Any, size: int) -> Any:
    return fn.resize(images, size=[size, size], interp_type=types.INTERP_LINEAR, antialias=True)


def _mirrored_around(images: Any, by: int, height: int, width: int) -> Any:
    """Returns images with so many more pixels on each side, mirrored about the border pixel."""
    for axis, extent in enumerate((height, width)):
        first, last = (fn.slice(images, start=[at], shape=[by], axes=[axis]) for at in (1, extent - 1 - by))
        first, last = (fn.flip(part, horizontal=axis, vertical=1 - axis) for part in (first, last))
        images = fn.cat(first, images, last, axis=axis)
    return images


def _turned(turn: Any, height: int, width: int) -> Any:
    """Returns the matrix [2, 3] from a place in the result to one in the image, about the centre."""
    cos, sin = turn[0], turn[1]
    row_x = fn.stack(cos, -sin, width / 2 - cos * (width / 2) + sin * (height / 2))
    row_y = fn.stack(sin, cos, height / 2 - sin * (width / 2) - cos * (height / 2))
    return fn.stack(row_x, row_y)


def _boxes(draws: Draws) -> list[Any]:
    return [draws.cutout, draws.erase]


def _for_dali(array: Any) -> np.ndarray:
    values = array.numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
    return values.astype(np.int32) if values.dtype == bool else values
