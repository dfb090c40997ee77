"""DALI's graph where images lie in files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from harness.data.augment.batched import Recipe
from harness.data.augment.draws import Draws
from harness.data.files import ImageFiles
from tests.data.augment.executing import (
    Form,
    assert_levels,
    by_batched,
    by_dali,
    drawn,
    every_step,
    in_graph,
    levels,
    random_images,
    recipe_of,
    rounding,
)

every_form = pytest.mark.parametrize("form", ["files", "paths"])


def write(folder: Path, images: np.ndarray, suffix: str, **options: Any) -> list[str]:
    paths = [folder / f"{row}{suffix}" for row in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).save(path, **options)
    return [str(path) for path in paths]


def from_files(recipe: Recipe, files: ImageFiles, draws: Draws | None, form: Form) -> Tensor:
    fed = files.encoded() if form == "paths" else [Path(os.fsdecode(path)).read_bytes() for path in files.encoded()]
    arrays = [np.frombuffer(content, np.uint8) for content in fed]
    return in_graph(recipe, arrays, files.shape[1:], draws, form=form, resized=files.resized)


@every_form
@every_step
@pytest.mark.parametrize("channels", [1, 3])
def test_dali_makes_the_same_of_files(
    augment: dict[str, Any], channels: int, form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    images = random_images(channels=channels)
    files = ImageFiles(write(tmp_path, images, ".png"), channels=channels)
    recipe = recipe_of(augment, channels)
    for draws in (drawn(recipe, images), None):
        assert_levels(
            levels(from_files(recipe, files, draws, form), recipe),
            levels(by_dali(recipe, images, draws), recipe),
            within=0.01,
        )


@every_form
@pytest.mark.parametrize("augment", [{}, {"random_resized_crop": {"size": 12}}], ids=["plain", "random_resized_crop"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_dali_lays_files_upright_as_their_tag_says(
    augment: dict[str, Any], orientation: int, form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    coarse = np.random.default_rng(0).integers(60, 200, (6, 2, 3, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    files = ImageFiles(write(tmp_path, coarse, ".jpg", exif=exif, quality=95), channels=3)
    images = np.asarray(files.array())
    assert images.shape[1:] == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    recipe = recipe_of(augment)
    for draws in (drawn(recipe, images), None):
        found, expected = from_files(recipe, files, draws, form), by_batched(recipe, images, draws)
        assert_levels(levels(found, recipe), levels(expected, recipe), within=4)


@every_form
@every_step
def test_dali_crops_and_resizes_files_of_any_size(
    augment: dict[str, Any], form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    sizes = [(20, 28), (40, 31), (50, 50), (13, 90), (24, 24)]
    paths = []
    for number, (height, width) in enumerate(sizes):
        (tmp_path / str(number)).mkdir()
        paths += write(tmp_path / str(number), random_images(1, height, width), ".png")
    files = ImageFiles(paths, channels=3, size=24)
    images = np.asarray(files.array())
    recipe = recipe_of(augment)
    draws = drawn(recipe, images)
    share = 2e-3 if recipe.augment.rotate else 0
    for kept in (draws, None):
        found, expected = from_files(recipe, files, kept, form), by_batched(recipe, images, kept)
        assert_levels(
            levels(found, recipe), levels(expected, recipe), within=rounding(recipe, draws, decoded=1.0), share=share
        )
