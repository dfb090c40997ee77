"""What each execution of augmentation makes of given draws: by independent references, and by statistics."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode, resized_crop, rotate

from harness.data.augment.draws import Draws
from harness.errors import HarnessError
from tests.data.augment.executing import (
    JITTER,
    Execute,
    assert_levels,
    drawn,
    every_execution,
    levels,
    planar,
    random_images,
    recipe_of,
    trained,
)

BOUND = 1e-3


def inner(batch: Tensor) -> Tensor:
    return batch[:, :, 1:-1, 1:-1]


# References


def cropped_and_mirrored(
    images: np.ndarray, offset: np.ndarray, flip: np.ndarray, border: Literal["constant", "reflect"] = "constant"
) -> np.ndarray:
    height, width = images.shape[1:3]
    padding = int(abs(offset).max())
    result = []
    for image, (down, right), mirrored in zip(images, offset, flip, strict=True):
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), border)
        part = padded[padding + down :, padding + right :][:height, :width]
        result.append(part[:, ::-1] if mirrored else part)
    return np.stack(result)


def rotated(images: Tensor, turn: np.ndarray) -> Tensor:
    """Rotates [n, C, H, W] counter-clockwise."""
    angles = np.rad2deg(np.arctan2(turn[:, 1], turn[:, 0]))
    return torch.stack([rotate(image, float(angle)) for image, angle in zip(images, angles, strict=True)])


def boxed(images: Tensor, boxes: np.ndarray, size: int) -> Tensor:
    parts = zip(images, boxes.tolist(), strict=True)
    bilinear = InterpolationMode.BILINEAR
    return torch.stack(
        [
            resized_crop(image, top, left, tall, wide, [size, size], bilinear, antialias=True)
            for image, (top, left, tall, wide) in parts
        ]
    )


def recolored(images: Tensor, color: np.ndarray) -> Tensor:
    linear, shift = torch.from_numpy(color).split([color.shape[1], 1], 2)
    return (torch.einsum("nij,njyx->niyx", linear, images) + shift[..., None]).clamp(0, 255)


def without_boxes(batch: Tensor, *all_boxes: np.ndarray) -> Tensor:
    result = batch.clone()
    for boxes in all_boxes:
        for image, (top, left, tall, wide) in zip(result, boxes, strict=True):
            image[:, top : top + tall, left : left + wide] = 0
    return result


def resized(images: np.ndarray, size: int) -> Tensor:
    def one(image: np.ndarray) -> np.ndarray:
        pillow = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
        return np.asarray(pillow.resize((size, size), Image.Resampling.BILINEAR)).reshape(size, size, -1)

    return planar(np.stack([one(image) for image in images]))


# Against the references


@every_execution
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("channels_last", [False, True])
def test_without_randomness_images_are_only_normalised(execute: Execute, channels: int, channels_last: bool) -> None:
    images = random_images(channels=channels)
    recipe = recipe_of({}, channels, channels_last)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (recipe.mean, recipe.std))
    expected = (planar(images) / 255 - mean) / std
    # Nothing that is random is done to images that are evaluated.
    random = recipe_of({"crop": 3, "flip": True, "rotate": 9.0, "cutout": 3, "erase": {}}, channels, channels_last)
    colored = recipe_of({"color_jitter": JITTER}, channels, channels_last)
    for batch in (
        execute(recipe, images, Draws()),
        execute(recipe, images, None),
        execute(random, images, None),
        execute(colored, images, None),
    ):
        assert batch.dtype == torch.float32
        assert batch.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        torch.testing.assert_close(batch, expected, rtol=1e-5, atol=1e-5)


@every_execution
@pytest.mark.parametrize("channels", [1, 3])
def test_a_crop_is_a_slice_of_the_padded_image_mirrored_then(execute: Execute, channels: int) -> None:
    corners = [(down, right) for down in (-3, 0, 3) for right in (-3, 0, 3)] + [(0, 1), (2, 0)]
    images = random_images(2 * len(corners), 7, 10, channels, least=1)
    draws = Draws(offset=np.array(corners * 2, np.int32), flip=np.arange(len(images)) < len(corners))
    expected = planar(cropped_and_mirrored(images, draws.offset, draws.flip))
    assert_levels(trained(execute, {"crop": 3, "flip": True}, images, draws), expected)
    unmirrored = planar(cropped_and_mirrored(images, draws.offset, np.zeros(len(images), bool)))
    assert_levels(trained(execute, {"crop": 3}, images, Draws(offset=draws.offset)), unmirrored)
    mirrored = torch.where(torch.from_numpy(draws.flip)[:, None, None, None], planar(images).flip(3), planar(images))
    assert_levels(trained(execute, {"flip": True}, images, Draws(flip=draws.flip)), mirrored)


@every_execution
@pytest.mark.parametrize("padding", [1, 3, 6])
def test_a_crop_may_see_the_image_mirrored_about_its_border(execute: Execute, padding: int) -> None:
    steps = (-padding, 0, 1, padding)
    corners = [(down, right) for down in steps for right in steps]
    images = random_images(2 * len(corners), 7, 10)
    draws = Draws(offset=np.array(corners * 2, np.int32), flip=np.arange(len(images)) < len(corners))
    expected = planar(cropped_and_mirrored(images, draws.offset, draws.flip, "reflect"))
    augment = {"crop": padding, "crop_border": "reflect", "flip": True}
    assert_levels(trained(execute, augment, images, draws), expected)


def test_no_image_is_mirrored_beyond_its_own_width() -> None:
    images = random_images(2, 7, 10)
    with pytest.raises(HarnessError, match="crop 7 is too wide to reflect images of 7x10"):
        drawn(recipe_of({"crop": 7, "crop_border": "reflect"}), images)
    assert len(drawn(recipe_of({"crop": 7}), images).offset) == 2


@every_execution
def test_a_crop_may_miss_the_image(execute: Execute) -> None:
    places = [(0, 9), (0, 10), (0, 11), (0, -10), (6, 0), (7, 0), (-7, 0), (40, -40), (0, 0), (0, 40), (0, -40), (0, 0)]
    images = random_images(len(places), 7, 10, least=1)
    for flip in (np.zeros(len(places), bool), np.ones(len(places), bool)):
        draws = Draws(offset=np.array(places, np.int32), flip=flip)
        expected = planar(cropped_and_mirrored(images, draws.offset, flip))
        assert_levels(trained(execute, {"crop": 40, "flip": True}, images, draws), expected)
        assert (expected.amax((1, 2, 3)) == 0).tolist() == [place not in ((0, 9), (6, 0), (0, 0)) for place in places]


@every_execution
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 17), (12, 20)])
def test_a_rotation_is_torchvisions_and_counter_clockwise(execute: Execute, height: int, width: int) -> None:
    degrees = np.array([-180.0, -90.0, -71.3, -20.0, -3.3, 0.0, 13.0, 44.4, 90.0, 151.7])
    images = random_images(len(degrees), height, width, least=1)
    angles = np.deg2rad(degrees)
    turn = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    found = trained(execute, {"rotate": 180.0}, images, Draws(turn=turn))
    for image, angle, result in zip(planar(images), degrees, found, strict=True):
        # A pixel that comes from half-way between two may take either.
        assert_levels(result[None], rotate(image, float(angle))[None], share=0.01)
        if abs(angle) % 180 > 5:
            other_way = ((rotate(image, -float(angle)) - result).abs() > 1).float().mean()
            assert other_way > 0.1
    quarter = torch.rot90(planar(images)[8], 1, (1, 2))  # to the left
    if height == width:
        assert_levels(found[8:9], quarter[None])
    assert_levels(found[5:6], planar(images)[5:6])


@every_execution
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [5, 13, 20, 28, 50])
def test_a_resize_is_pillows_away_from_the_border(execute: Execute, channels: int, size: int) -> None:
    images = random_images(4, channels=channels)
    recipe = recipe_of({"resize": size}, channels)
    expected = resized(images, size)
    for draws in (Draws(), None):
        found = levels(execute(recipe, images, draws), recipe)
        assert found.shape == (4, channels, size, size)
        assert_levels(inner(found), inner(expected), within=1.01)


@every_execution
@pytest.mark.parametrize("size", [7, 40])
def test_a_random_resized_crop_is_torchvisions_away_from_the_border(execute: Execute, size: int) -> None:
    images = random_images(40)
    recipe = recipe_of({"random_resized_crop": {"size": size}})
    draws = drawn(recipe, images)
    draws.box[0] = [0, 0, 20, 28]
    draws.box[1] = [19, 27, 1, 1]
    found = levels(execute(recipe, images, draws), recipe)
    assert_levels(inner(found), inner(boxed(planar(images), draws.box, size)), within=0.51)
    # The border is that of the box: what lies beyond it is not seen.
    for image, result, (top, left, tall, wide) in zip(images, found, draws.box, strict=True):
        part = image[top : top + tall, left : left + wide].reshape(-1, 3)
        assert (result.amax((1, 2)) <= torch.from_numpy(part.max(0)) + 0.51).all()
        assert (result.amin((1, 2)) >= torch.from_numpy(part.min(0)) - 0.51).all()


@every_execution
def test_evaluation_sees_the_whole_image_in_the_size_of_the_random_resized_crop(execute: Execute) -> None:
    images = random_images(4)
    for augment in ({"random_resized_crop": {"size": 11}}, {"resize": 25, "random_resized_crop": {"size": 11}}):
        recipe = recipe_of(augment)
        found = levels(execute(recipe, images, None), recipe)
        assert_levels(inner(found), inner(resized(images, 11)), within=1.01)


@every_execution
@pytest.mark.parametrize("channels", [1, 3])
def test_colors_are_mapped_by_the_matrix_and_stay_in_range(execute: Execute, channels: int) -> None:
    images = random_images(20, channels=channels)
    augment = {"color_jitter": {"brightness": 0.9, "contrast": 0.5, "saturation": 0.9, "hue": 180.0}}
    draws = drawn(recipe_of(augment, channels), images)
    expected = recolored(planar(images), draws.color)
    assert (expected == 0).any() and (expected == 255).any()
    assert_levels(trained(execute, augment, images, draws), expected, within=0.02)


@every_execution
def test_what_is_erased_or_cut_out_is_exactly_zero_and_the_rest_stays(execute: Execute) -> None:
    images = random_images(6)
    normalised = execute(recipe_of({}), images, Draws())
    assert (normalised != 0).all()
    boxes = [(0, 0, 20, 28), (0, 0, 1, 1), (19, 27, 1, 1), (5, 0, 0, 0), (3, 4, 5, 6), (0, 10, 20, 1)]
    some, others = np.array(boxes, np.int32), np.array(boxes[::-1], np.int32)
    for augment, draws in [
        ({"cutout": 4}, Draws(cutout=some)),
        ({"erase": {}}, Draws(erase=some)),
        ({"cutout": 4, "erase": {}}, Draws(cutout=some, erase=others)),
    ]:
        found = execute(recipe_of(augment), images, draws)
        expected = without_boxes(normalised, *draws.arrays())
        assert torch.equal(found == 0, expected == 0)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@every_execution
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("colored", [False, True])
def test_images_are_cropped_mirrored_rotated_colored_and_erased_in_that_order(
    execute: Execute, channels: int, colored: bool
) -> None:
    images = random_images(24, channels=channels, least=1)
    augment = {"crop": 4, "flip": True, "rotate": 40.0, "cutout": 7, "erase": {}}
    recipe = recipe_of(augment | {"color_jitter": JITTER} if colored else augment, channels)
    draws = drawn(recipe, images)
    assert 6 < draws.flip.sum() < 18
    expected = rotated(planar(cropped_and_mirrored(images, draws.offset, draws.flip)), draws.turn)
    expected = recolored(expected, draws.color) if colored else expected
    scale, shift = (torch.tensor(values).view(1, -1, 1, 1) for values in (recipe.scale, recipe.shift))
    expected = without_boxes(expected * scale + shift, draws.cutout, draws.erase)
    found = execute(recipe, images, draws)
    # A pixel that comes from half-way between two may take either.
    assert_levels(levels(found, recipe), levels(expected, recipe), within=0.05, share=0.002)
    assert (found[expected == 0] == 0).all()


@every_execution
def test_images_are_resized_before_a_box_is_taken_and_moved_after_it(execute: Execute) -> None:
    images = random_images(24)
    augment = {"resize": 40, "random_resized_crop": {"size": 16}, "crop": 3, "flip": True}
    draws = drawn(recipe_of(augment), images)
    taken = boxed(resized(images, 40), draws.box, 16)
    # Only the box's border is not torchvision's.
    taken[:, :, [0, -1]] = taken[:, :, :, [0, -1]] = torch.nan
    expected = planar(cropped_and_mirrored(taken.permute(0, 2, 3, 1).numpy(), draws.offset, draws.flip))
    found = trained(execute, augment, images, draws)
    known = ~expected.isnan()
    assert known.float().mean() > 0.7
    assert_levels(found[known], expected[known], within=1.51, share=0.01)  # some boxes are at the image's border


# By statistics, from the results alone


def coordinates(count: int, side: int) -> np.ndarray:
    """Returns images whose pixels tell where they came from: row and column, both counted from 1."""
    places = np.arange(1, side + 1, dtype=np.uint8)
    image = np.stack([*np.meshgrid(places, places, indexing="ij"), np.full((side, side), 255, np.uint8)], 2)
    return np.broadcast_to(image, (count, side, side, 3)).copy()


def chi_square(outcomes: np.ndarray, kinds: int) -> float:
    test: Any = scipy.stats.chisquare(np.bincount(outcomes, minlength=kinds))
    return float(test.pvalue)


@every_execution
def test_in_the_results_offsets_are_uniform_and_half_of_the_images_are_mirrored(execute: Execute) -> None:
    count, side, padding = 10_000, 9, 3
    augment = {"crop": padding, "flip": True}
    images = coordinates(count, side)
    found = trained(execute, augment, images, drawn(recipe_of(augment), images)).round().int()
    centre = side // 2  # a flip leaves it where it is, and no padding reaches it
    down, right = (found[:, channel, centre, centre] - 1 - centre + padding for channel in (0, 1))
    mirrored = found[:, 1, centre, centre] > found[:, 1, centre, centre + 1]
    places = 2 * padding + 1
    outcomes = ((down * places + right) * 2 + mirrored).numpy()
    assert outcomes.min() >= 0 and outcomes.max() < 2 * places**2
    assert chi_square(outcomes, 2 * places**2) > BOUND


@every_execution
def test_in_the_results_angles_are_uniform_both_ways(execute: Execute) -> None:
    side, count, limit = 65, 1500, 60.0
    images = np.zeros((count, side, side, 1), np.uint8)
    images[:, side // 2 - 1 : side // 2 + 2, -4:] = 255  # a mark at three o'clock
    draws = drawn(recipe_of({"rotate": limit}, 1), images)
    found = trained(execute, {"rotate": limit}, images, draws)[:, 0].clamp(min=0)
    axis = torch.arange(side) - side // 2
    y, x = ((found * axis.view(shape)).sum((1, 2)) / found.sum((1, 2)) for shape in ((1, -1, 1), (1, 1, -1)))
    angles = torch.rad2deg(torch.atan2(-y, x)).numpy()  # counter-clockwise as seen
    assert abs(angles - np.rad2deg(np.arctan2(draws.turn[:, 1], draws.turn[:, 0]))).max() < 1.5
    uniform: Any = scipy.stats.kstest(angles, "uniform", args=(-limit, 2 * limit))
    assert uniform.pvalue > BOUND


@every_execution
def test_in_the_results_cutout_is_a_square_around_a_uniform_centre(execute: Execute) -> None:
    count, side, size = 10_000, 7, 4
    images = np.full((count, side, side, 1), 255, np.uint8)
    recipe = recipe_of({"cutout": size}, 1)
    erased = execute(recipe, images, drawn(recipe, images))[:, 0] == 0
    rows, columns = erased.any(2), erased.any(1)
    assert torch.equal(erased, rows[:, :, None] & columns[:, None, :])
    # Rows that a centre erases: two before it, itself and one after it, clipped at the border.
    kinds = [tuple(-2 <= place - centre < 2 for place in range(side)) for centre in range(side)]
    assert len(set(kinds)) == side
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    centres = [kinds.index(tuple(row)) * side + kinds.index(tuple(column)) for row, column in pairs]
    assert chi_square(np.array(centres), side * side) > BOUND


@every_execution
def test_in_the_results_as_many_are_erased_as_the_probability_says(execute: Execute) -> None:
    images = np.full((3000, 12, 12, 1), 255, np.uint8)
    recipe = recipe_of({"erase": {"probability": 0.25}}, 1)
    erased = (execute(recipe, images, drawn(recipe, images)) == 0).flatten(1).any(1).sum().item()
    assert scipy.stats.binomtest(int(erased), len(images), 0.25).pvalue > BOUND


@every_execution
def test_in_the_results_boxes_are_at_every_place_alike(execute: Execute) -> None:
    images = coordinates(5000, 9)
    augment = {"random_resized_crop": {"size": 4, "scale": [16 / 81, 16 / 81], "ratio": [1.0, 1.0]}}
    found = trained(execute, augment, images, drawn(recipe_of(augment), images)).round().int().numpy()
    top, left = found[:, 0, 0, 0] - 1, found[:, 1, 0, 0] - 1
    assert (found[:, 0] == found[:, 0, :1, :1] + np.arange(4)[:, None]).all()
    assert chi_square(top * 6 + left, 36) > BOUND
