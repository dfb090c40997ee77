"""That the three executions of augmentation agree, and what each of them keeps."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.augment import fused
from harness.data.augment.batched import Recipe
from harness.data.augment.draws import Draws
from harness.data.augment.fused import Fused
from tests.data.augment.executing import (
    STEPS,
    Execute,
    assert_levels,
    by_batched,
    by_fused,
    drawn,
    every_execution,
    every_step,
    levels,
    other_executions,
    random_images,
    recipe_of,
    rounding,
)


@other_executions
@every_step
@pytest.mark.parametrize("channels", [1, 3])
def test_with_the_same_draws_all_executions_agree(execute: Execute, augment: dict[str, Any], channels: int) -> None:
    images = random_images(48, channels=channels)
    for channels_last in (False, True):
        recipe = recipe_of(augment, channels, channels_last)
        draws = drawn(recipe, images)
        expected, found = (levels(run(recipe, images, draws), recipe) for run in (by_batched, execute))
        # A pixel that comes from half-way between two may take either.
        assert_levels(found, expected, within=rounding(recipe, draws), share=1e-3 if recipe.augment.rotate else 0)
        expected, found = (levels(run(recipe, images, None), recipe) for run in (by_batched, execute))
        assert_levels(found, expected, within=0.51)


@every_execution
@every_step
def test_channels_last_changes_the_layout_and_nothing_else(execute: Execute, augment: dict[str, Any]) -> None:
    images = random_images()
    plain, last = recipe_of(augment), recipe_of(augment, channels_last=True)
    for draws in (drawn(plain, images), None):
        expected, found = execute(plain, images, draws), execute(last, images, draws)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert expected.is_contiguous()
        assert found.is_contiguous(memory_format=torch.channels_last)


@every_execution
@every_step
def test_an_image_is_augmented_alike_in_any_batch(execute: Execute, augment: dict[str, Any]) -> None:
    images = random_images(5)
    recipe = recipe_of(augment)
    draws = drawn(recipe, images)
    whole, evaluated = execute(recipe, images, draws), execute(recipe, images, None)
    for part in (slice(3, 4), slice(1, 4)):
        torch.testing.assert_close(execute(recipe, images[part], draws[part]), whole[part], rtol=0, atol=1e-5)
    torch.testing.assert_close(execute(recipe, images[3:4], None), evaluated[3:4], rtol=0, atol=1e-5)


@pytest.mark.parametrize("execute", [by_batched, by_fused], ids=["batched", "fused"])
@every_step
def test_a_batch_may_be_empty(execute: Execute, augment: dict[str, Any]) -> None:
    images = random_images(5)
    recipe = recipe_of(augment)
    whole = execute(recipe, images, drawn(recipe, images))
    assert execute(recipe, images[:0], drawn(recipe, images)[:0]).shape == (0, *whole.shape[1:])
    assert execute(recipe, images[:0], None).shape == (0, *whole.shape[1:])


@every_execution
@every_step
def test_stored_images_and_draws_are_left_alone(execute: Execute, augment: dict[str, Any]) -> None:
    images = random_images()
    recipe = recipe_of(augment)
    draws = drawn(recipe, images)
    before, drawn_before = images.copy(), draws.map(np.copy)
    result = execute(recipe, images, draws)
    result.zero_()
    execute(recipe, images, None).zero_()
    assert np.array_equal(images, before)
    for found, expected in zip(draws.arrays(), drawn_before.arrays(), strict=True):
        assert np.array_equal(found, expected)


@every_step
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_batch_on_a_device_may_have_half_precision(augment: dict[str, Any], dtype: torch.dtype) -> None:
    images, full = random_images(), recipe_of(augment)
    half = Recipe(full.augment, full.mean, full.std, dtype)
    for draws in (drawn(full, images), None):
        expected, found = by_batched(full, images, draws), by_batched(half, images, draws)
        assert found.dtype == dtype
        assert torch.equal(found, expected.to(dtype))


@every_step
def test_images_may_have_any_strides(augment: dict[str, Any]) -> None:
    images = random_images()
    recipe = recipe_of(augment)
    draws = drawn(recipe, images)
    expected = by_batched(recipe, images, draws)
    store = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    torch.testing.assert_close(by_batched(recipe, store, draws), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(by_fused(recipe, store, draws), by_fused(recipe, images, draws), rtol=0, atol=1e-5)


@every_step
def test_fused_picks_its_images_from_the_store(augment: dict[str, Any]) -> None:
    images = random_images()
    recipe, rows = recipe_of(augment), np.array([11, 0, 3, 3, 7])
    draws = drawn(recipe, images)[rows]
    execution = Fused(recipe)
    store = images.transpose(0, 3, 1, 2)
    assert torch.equal(execution.train(store, rows, draws), by_fused(recipe, images[rows], draws))
    assert torch.equal(execution.evaluate(store, rows), by_fused(recipe, images[rows], None))
    execution.close()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 37])
def test_threads_of_fused_share_a_batch(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(count)
    recipe = recipe_of(STEPS["crop, flip, rotate, cutout, erase"])
    draws = drawn(recipe, images)
    alone = by_fused(recipe, images, draws)
    # What no thread has filled would be seen.
    empty = torch.empty
    monkeypatch.setattr(fused.torch, "empty", lambda *shape, **options: empty(*shape, **options).fill_(torch.nan))
    monkeypatch.setattr(fused.torch, "get_num_threads", lambda: 4)
    assert torch.equal(by_fused(recipe, images, draws), alone)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_fused_writes_into_its_batch_alone_however_far_a_crop_is(
    turned: bool, flip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_images(1, 4, 5)
    recipe = recipe_of({"crop": 60, "flip": True, "rotate": 10.0} if turned else {"crop": 60, "flip": True})
    guarded = torch.empty(0)

    def between_guards(shape: tuple[int, ...], **_: Any) -> torch.Tensor:
        nonlocal guarded
        guarded = torch.full((5, *shape[1:]), torch.nan)  # Numba checks no bounds: what is written beyond would be seen
        return guarded[2:3]

    monkeypatch.setattr(fused.torch, "empty", between_guards)
    steps = (-60, -6, -5, -4, -3, 0, 3, 4, 5, 6, 60)
    for down, right in itertools.product(steps, steps):
        turn = np.array([[0.6, 0.8]], np.float32) if turned else None
        draws = Draws(offset=np.array([[down, right]], np.int32), flip=np.array([flip]), turn=turn)
        found = by_fused(recipe, images, draws)
        assert not found.isnan().any()
        assert guarded[[0, 1, 3, 4]].isnan().all(), (down, right)
        assert torch.allclose(found, by_batched(recipe, images, draws), atol=1e-5), (down, right)
