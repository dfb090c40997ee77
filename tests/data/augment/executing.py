"""The three executions of augmentation under one signature, and what their tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data.augment.batched import Batched, Recipe
from harness.data.augment.draws import Draws, draw
from harness.data.augment.fused import Fused
from harness.spec import Augment

CPU = torch.device("cpu")
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 30.0}
STEPS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "resize up": {"resize": 33},
    "resize down": {"resize": 13},
    "random_resized_crop up": {"random_resized_crop": {"size": 33}},
    "random_resized_crop down": {"random_resized_crop": {"size": 9}},
    "crop": {"crop": 4},
    "crop beyond the image": {"crop": 40},
    "crop, reflected": {"crop": 6, "crop_border": "reflect"},
    "flip": {"flip": True},
    "alternating": {"flip": "alternating"},
    "rotate": {"rotate": 180.0},
    "color_jitter": {"color_jitter": JITTER},
    "cutout": {"cutout": 8},
    "erase": {"erase": {"probability": 0.7}},
    "crop, flip, cutout, erase": {"crop": 4, "flip": True, "cutout": 5, "erase": {}},
    "crop, flip, rotate, cutout, erase": {"crop": 4, "flip": True, "rotate": 30.0, "cutout": 5, "erase": {}},
    "crop, reflected, flip, rotate": {"crop": 12, "crop_border": "reflect", "flip": True, "rotate": 30.0},
    "all": {
        "resize": 29,
        "random_resized_crop": {"size": 24},
        "crop": 3,
        "flip": True,
        "rotate": 20.0,
        "color_jitter": JITTER,
        "cutout": 5,
        "erase": {},
    },
}
every_step = pytest.mark.parametrize("augment", STEPS.values(), ids=STEPS)

Form = Literal["pixels", "files", "paths"]
Execute = Callable[[Recipe, np.ndarray, Draws | None], Tensor]
"""Makes [n, C, H, W] of uint8 images [n, H, W, C]; without draws as in evaluation."""


def by_batched(recipe: Recipe, images: np.ndarray, draws: Draws | None) -> Tensor:
    batched, pixels = Batched(recipe, CPU), torch.from_numpy(images).permute(0, 3, 1, 2)
    return batched.evaluate(pixels) if draws is None else batched.train(pixels, draws.map(torch.from_numpy))


def by_fused(recipe: Recipe, images: np.ndarray, draws: Draws | None) -> Tensor:
    execution, store, rows = Fused(recipe), images.transpose(0, 3, 1, 2), np.arange(len(images))
    try:
        return execution.evaluate(store, rows) if draws is None else execution.train(store, rows, draws)
    finally:
        execution.close()


def by_dali(recipe: Recipe, images: np.ndarray, draws: Draws | None) -> Tensor:
    return in_graph(recipe, images, images.shape[1:], draws)


def in_graph(
    recipe: Recipe,
    fed: Any,
    shape: tuple[int, ...],
    draws: Draws | None,
    *,
    form: Form = "pixels",
    resized: bool = False,
) -> Tensor:
    dali: Any = pytest.importorskip("nvidia.dali")
    from harness.data.augment import graph

    height, width, channels = shape
    feeds = [fed, *graph.arguments(draws or Draws())]
    pipeline = dali.Pipeline(len(fed), 1, None, prefetch_queue_depth=1)
    with pipeline:
        images, *drawn = dali.fn.external_source(lambda: feeds, num_outputs=len(feeds), batch=True)
        if form == "pixels":
            images = dali.fn.reshape(images, layout="HWC")
        pictures = graph.Pictures((height, width, channels), form=form, resized=resized, on_gpu=False)
        pipeline.set_outputs(graph.build(pictures, recipe, images, drawn, train=draws is not None))
    pipeline.build()
    result = torch.from_numpy(pipeline.run()[0].as_array().copy())
    return result.permute(0, 3, 1, 2) if recipe.channels_last else result


EXECUTIONS: dict[str, Execute] = {"batched": by_batched, "fused": by_fused, "dali": by_dali}
every_execution = pytest.mark.parametrize("execute", EXECUTIONS.values(), ids=EXECUTIONS)
other_executions = pytest.mark.parametrize("execute", [by_fused, by_dali], ids=["fused", "dali"])


def recipe_of(augment: dict[str, Any], channels: int = 3, channels_last: bool = False) -> Recipe:
    mean, std = (0.5, 0.401, 0.3), (0.2, 0.25, 0.3)  # no pixel value is the mean
    return Recipe(Augment.model_validate(augment), mean[:channels], std[:channels], channels_last=channels_last)


def levels(batch: Tensor, recipe: Recipe) -> Tensor:
    """Returns pixel values from 0 to 255 again."""
    scale, shift = (torch.tensor(values).view(1, -1, 1, 1) for values in (recipe.scale, recipe.shift))
    return (batch - shift) / scale


def random_images(count: int = 12, height: int = 20, width: int = 28, channels: int = 3, least: int = 0) -> np.ndarray:
    return np.random.default_rng(1).integers(least, 256, (count, height, width, channels), np.uint8)


def drawn(recipe: Recipe, images: np.ndarray, epoch: int = 1) -> Draws:
    height, width, channels = images.shape[1:]
    return draw(recipe.augment, len(images), (height, width, channels), 3, epoch)


def planar(images: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float()


def trained(execute: Execute, augment: dict[str, Any], images: np.ndarray, draws: Draws) -> Tensor:
    """Returns pixel values from 0 to 255."""
    recipe = recipe_of(augment, images.shape[3])
    return levels(execute(recipe, images, draws), recipe)


def assert_levels(found: Tensor, expected: Tensor, *, within: float = 0.01, share: float = 0.0) -> None:
    assert found.shape == expected.shape
    other = ((found - expected).abs() > within).float().mean().item()
    assert other <= share, f"{other:.2%} of the pixels differ by more than {within}"


def rounding(recipe: Recipe, draws: Draws, decoded: float = 0.0) -> float:
    """Returns by how much DALI, which rounds what it resizes, may differ; jitter makes that larger.

    Args:
        recipe, draws: what is done to the images.
        decoded: by how much the images may differ.
    """
    resizes = (recipe.augment.resize is not None) + (recipe.augment.random_resized_crop is not None)
    gain = 1.0 if draws.color is None else float(abs(draws.color[:, :, :-1]).sum(2).max())
    return 0.02 + (decoded + 0.5 * resizes) * gain
