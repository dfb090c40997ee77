"""What is random in augmentation: each distribution by a statistical test on a fixed seed, and what it depends on."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torchvision.transforms import RandomErasing
from torchvision.transforms import RandomResizedCrop as TorchvisionCrop

from harness.data.augment.draws import RGB_TO_YIQ, Draws, draw
from harness.spec import Augment

BOUND = 1e-3  # seeds are fixed: what passes once passes always, and a wrong distribution ends far below
EVERYTHING: dict[str, dict[str, Any]] = {
    "box": {"random_resized_crop": {"size": 32}},
    "offset": {"crop": 4},
    "flip": {"flip": True},
    "turn": {"rotate": 30.0},
    "color": {"color_jitter": {"brightness": 0.4, "contrast": 0.3, "saturation": 0.5, "hue": 20.0}},
    "operation": {"trivial_augment": True},
    "cutout": {"cutout": 8},
    "erase": {"erase": {"probability": 0.5}},
}
ALL_AT_ONCE: dict[str, Any] = {key: value for step in EVERYTHING.values() for key, value in step.items()}


def drawn(
    count: int = 4000, shape: tuple[int, int, int] = (32, 32, 3), seed: int = 0, epoch: int = 0, **augment: Any
) -> Draws:
    return draw(Augment.model_validate(augment), count, shape, seed, epoch)


def p_value(test: Any) -> float:
    return float(test.pvalue)


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
    assert values.min() >= low and values.max() <= high
    assert p_value(scipy.stats.kstest(values, "uniform", args=(low, high - low))) > BOUND


def assert_equally_frequent(outcomes: np.ndarray, kinds: int) -> None:
    assert outcomes.min() >= 0 and outcomes.max() < kinds
    assert p_value(scipy.stats.chisquare(np.bincount(outcomes, minlength=kinds))) > BOUND


def assert_boxes_alike(one: np.ndarray, other: np.ndarray, height: int, width: int) -> None:
    """Compares area, shape and place of boxes [n, 4] and [m, 4] in images of one size."""

    def numbers(top: np.ndarray, left: np.ndarray, tall: np.ndarray, wide: np.ndarray) -> list[np.ndarray]:
        share_above, share_beside = top / np.maximum(height - tall, 1), left / np.maximum(width - wide, 1)
        return [tall * wide, wide / tall, tall, top, left, share_above, share_beside]

    for values, others in zip(numbers(*one.T), numbers(*other.T), strict=True):
        assert p_value(scipy.stats.ks_2samp(values, others)) > BOUND


def assert_equal(one: Draws, other: Draws) -> None:
    for field in dataclasses.fields(Draws):
        found, expected = getattr(one, field.name), getattr(other, field.name)
        assert (found is None) == (expected is None), field.name
        assert found is None or np.array_equal(found, expected), field.name


# Crop and flip


@pytest.mark.parametrize("padding", [1, 4])
def test_offsets_are_uniform_down_and_right_and_independent_of_the_flip(padding: int) -> None:
    found = drawn(20_000, crop=padding, flip=True)
    places = 2 * padding + 1
    assert found.offset.dtype == np.int32 and found.offset.shape == (20_000, 2)
    down, right = (found.offset + padding).T
    assert min(down.min(), right.min()) == 0 and max(down.max(), right.max()) == 2 * padding
    assert_equally_frequent((down * places + right) * 2 + found.flip, places * places * 2)


def test_half_of_the_images_are_mirrored_and_others_in_each_epoch() -> None:
    epochs = np.stack([drawn(10_000, epoch=epoch, flip=True).flip for epoch in range(3)])
    assert epochs.dtype == bool
    assert_equally_frequent(epochs[0] * 4 + epochs[1] * 2 + epochs[2], 8)


@pytest.mark.parametrize("seed", [0, 1])
def test_alternating_mirrors_each_image_every_other_epoch_and_half_of_them_at_first(seed: int) -> None:
    epochs = [drawn(10_000, seed=seed, epoch=epoch, flip="alternating").flip for epoch in range(5)]
    for before, after in itertools.pairwise(epochs):
        assert np.array_equal(after, ~before)
    assert_equally_frequent(epochs[0].astype(int), 2)


def test_which_images_alternating_mirrors_at_first_depends_on_the_seed() -> None:
    one, other = (drawn(10_000, seed=seed, flip="alternating").flip for seed in (0, 1))
    assert_equally_frequent(one * 2 + other, 4)


# Rotation


@pytest.mark.parametrize("degrees", [7.5, 180.0])
def test_angles_are_uniform_both_ways(degrees: float) -> None:
    turn = drawn(20_000, rotate=degrees).turn
    assert turn.dtype == np.float32 and turn.shape == (20_000, 2)
    np.testing.assert_allclose(np.hypot(*turn.T), 1, atol=1e-6)
    assert_uniform(np.rad2deg(np.arctan2(turn[:, 1], turn[:, 0])), -degrees - 1e-4, degrees + 1e-4)


# Random resized crop


def test_area_and_ratio_of_boxes_that_the_border_does_not_cut_off_are_uniform() -> None:
    box = drawn(
        10_000,
        (2000, 2000, 3),
        random_resized_crop={"size": 8, "scale": [0.1, 0.4], "ratio": [0.5, 1.5]},
    ).box
    tall, wide = box[:, 2].astype(float), box[:, 3].astype(float)
    assert box.dtype == np.int32
    assert_uniform(tall * wide / 2000**2, 0.1 - 1e-3, 0.4 + 1e-3)
    assert_uniform(np.log(wide / tall), math.log(0.5) - 1e-2, math.log(1.5) + 1e-2)


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (224, 224, (0.08, 1.0), (3 / 4, 4 / 3)),
        (160, 300, (0.08, 1.0), (3 / 4, 4 / 3)),
        (300, 160, (0.5, 1.0), (0.3, 2.0)),  # most attempts fail, some images all ten
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
    ],
)
def test_boxes_are_distributed_as_torchvisions(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    count = 4000
    box = drawn(count, (height, width, 3), random_resized_crop={"size": 8, "scale": scale, "ratio": ratio}).box
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    expected = np.array([TorchvisionCrop.get_params(image, list(scale), list(ratio)) for _ in range(count)])
    assert_boxes_alike(box, expected, height, width)


def test_a_box_is_at_every_place_where_it_fits_with_the_same_probability() -> None:
    box = drawn(20_000, (8, 10, 3), random_resized_crop={"size": 8, "scale": [0.2, 0.2], "ratio": [1, 1]}).box
    assert (box[:, 2:] == 4).all()
    assert_equally_frequent(box[:, 0] * 7 + box[:, 1], 5 * 7)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (7, 4), (32, 32), (5, 90)])
def test_boxes_lie_within_the_image(height: int, width: int) -> None:
    steps: list[dict[str, Any]] = [
        {"random_resized_crop": {"size": 8}},
        {"cutout": 6},
        {"erase": {"scale": [0.02, 1.0]}},
    ]
    for augment in steps:
        found = drawn(3000, (height, width, 3), **augment)
        (box,) = found.arrays()
        assert (box >= 0).all()
        assert (box[:, 0] + box[:, 2] <= height).all() and (box[:, 1] + box[:, 3] <= width).all()
        if found.erase is None:
            assert (box[:, 2:] >= 1).all()


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (20, 101, (1.0, 1.0), (0.75, 4 / 3)),
        (101, 20, (1.0, 1.0), (0.75, 4 / 3)),
        (60, 80, (2.0, 2.0), (0.5, 2.0)),  # an area that no box has: the whole image
    ],
)
def test_where_no_attempt_fits_the_box_is_torchvisions(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    box = drawn(50, (height, width, 3), random_resized_crop={"size": 8, "scale": scale, "ratio": ratio}).box
    expected = TorchvisionCrop.get_params(torch.empty(3, height, width), list(scale), list(ratio))
    assert (box == np.array(expected)).all()


# Erase and cutout


@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
def test_as_many_images_are_erased_as_the_probability_says(probability: float) -> None:
    erase = drawn(20_000, erase={"probability": probability}).erase
    erased = int((erase[:, 2] > 0).sum())
    assert erase.dtype == np.int32
    assert p_value(scipy.stats.binomtest(erased, 20_000, probability)) > BOUND
    assert (erase[:, 3][erase[:, 2] == 0] == 0).all()


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [(224, 224, (0.02, 0.33), (0.3, 3.3)), (32, 60, (0.02, 0.33), (0.3, 1.0)), (60, 32, (0.3, 0.9), (0.5, 4.0))],
)
def test_erased_boxes_are_distributed_as_torchvisions(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    erase = drawn(4000, (height, width, 3), erase={"probability": 1.0, "scale": scale, "ratio": ratio}).erase
    torch.manual_seed(0)
    image = torch.zeros(3, height, width)
    all_of_them = [RandomErasing.get_params(image, scale, ratio, [0.0])[:4] for _ in range(4000)]
    # Where no attempt fits, torchvision returns the whole image instead of a box and so erases nothing.
    expected = np.array([box if box != (0, 0, height, width) else (0, 0, 0, 0) for box in all_of_them])
    nothing = [int((boxes[:, 2] == 0).sum()) for boxes in (erase, expected)]
    assert p_value(scipy.stats.fisher_exact([nothing, [4000 - n for n in nothing]])) > BOUND
    assert_boxes_alike(erase[erase[:, 2] > 0], expected[expected[:, 2] > 0], height, width)


@pytest.mark.parametrize("side", [1, 4, 5, 9, 30])
def test_cutout_is_a_square_around_a_uniform_centre_clipped_at_the_border(side: int) -> None:
    height, width = 7, 9
    box = drawn(20_000, (height, width, 3), cutout=side).cutout
    assert box.dtype == np.int32

    def interval(centre: int, extent: int) -> tuple[int, int]:
        covered = [place for place in range(extent) if -(side // 2) <= place - centre < side - side // 2]
        return covered[0], len(covered)

    places = itertools.product(range(height), range(width))
    expected = [
        (top, left, tall, wide)
        for (top, tall), (left, wide) in ((interval(y, height), interval(x, width)) for y, x in places)
    ]
    kinds = sorted(set(expected))  # large squares look alike from several centres
    if side == 4:
        assert len(kinds) == height * width
    found = [tuple(row) for row in box.tolist()]
    assert set(found) == set(kinds)
    if len(kinds) > 1:
        shares = [20_000 * expected.count(kind) / len(expected) for kind in kinds]
        assert p_value(scipy.stats.chisquare([found.count(kind) for kind in kinds], shares)) > BOUND


def test_what_is_resized_first_is_boxed_in_its_new_size() -> None:
    whole = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
    found = drawn(2000, (8, 12, 3), resize=64, random_resized_crop={"size": 20, **whole}, cutout=1)
    assert (found.box == [0, 0, 64, 64]).all()
    assert found.cutout[:, :2].max() == 19
    assert drawn(2000, (8, 12, 3), resize=64, cutout=1).cutout[:, :2].max() == 63
    assert drawn(2000, (8, 12, 3), resize=64, erase={}).erase[:, 2:].max() > 30


# Colour jitter


def color_factors(color: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns brightness, contrast, saturation and hue (degrees) that a matrix [n, 3, 4] is made of."""
    linear, shift = color[:, :, :3].astype(np.float64), color[:, 0, 3].astype(np.float64)
    both = linear[:, 0].sum(1)  # gray stays gray: brightness times contrast
    brightness = both + shift / 128
    turned = RGB_TO_YIQ @ linear @ np.linalg.inv(RGB_TO_YIQ) / both[:, None, None]
    angle = np.rad2deg(np.arctan2(turned[:, 1, 2], turned[:, 1, 1]))
    return brightness, both / brightness, np.hypot(turned[:, 1, 2], turned[:, 1, 1]), angle


def test_color_factors_are_uniform_and_independent() -> None:
    color = drawn(10_000, **EVERYTHING["color"]).color
    assert color.dtype == np.float32 and color.shape == (10_000, 3, 4)
    assert np.array_equal(color[:, 0, 3], color[:, 1, 3]) and np.array_equal(color[:, 0, 3], color[:, 2, 3])
    factors = color_factors(color)
    for values, low, high in zip(factors, (0.6, 0.7, 0.5, -20), (1.4, 1.3, 1.5, 20), strict=True):
        assert_uniform(values, low - 1e-4, high + 1e-4)
    for one, other in itertools.combinations(factors, 2):
        assert p_value(scipy.stats.spearmanr(one, other)) > BOUND


@pytest.mark.parametrize("varied", ["brightness", "contrast", "saturation", "hue"])
def test_a_color_factor_of_zero_strength_changes_nothing(varied: str) -> None:
    names = ["brightness", "contrast", "saturation", "hue"]
    factors = color_factors(drawn(500, color_jitter={varied: 0.5}).color)
    for name, values, neutral in zip(names, factors, (1, 1, 1, 0), strict=True):
        assert (abs(values - neutral).max() < 1e-4) == (name != varied)


def test_of_gray_there_is_brightness_and_contrast() -> None:
    color = drawn(10_000, (8, 8, 1), **EVERYTHING["color"]).color.astype(np.float64)
    assert color.shape == (10_000, 1, 2)
    brightness = color[:, 0, 0] + color[:, 0, 1] / 128
    assert_uniform(brightness, 0.6 - 1e-4, 1.4 + 1e-4)
    assert_uniform(color[:, 0, 0] / brightness, 0.7 - 1e-4, 1.3 + 1e-4)


def test_the_color_matrix_is_color_twist_of_dali() -> None:
    dali: Any = pytest.importorskip("nvidia.dali")
    count = 64
    color = drawn(count, **EVERYTHING["color"]).color
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    images[:, 0, 0] = 0
    pipeline = dali.Pipeline(count, 1, None)
    with pipeline:
        feeds = [images, *(values.astype(np.float32) for values in color_factors(color))]
        picture, brightness, contrast, saturation, hue = dali.fn.external_source(
            lambda: feeds, num_outputs=5, batch=True, layout=["HWC", "", "", "", ""]
        )
        pipeline.set_outputs(
            dali.fn.color_twist(
                picture,
                brightness=brightness,
                contrast=contrast,
                saturation=saturation,
                hue=hue,
                dtype=dali.types.FLOAT,
            )
        )
    pipeline.build()
    expected = pipeline.run()[0].as_array()
    found = np.einsum("nij,nyxj->nyxi", color[:, :, :3], images.astype(np.float32)) + color[:, None, None, :, 3]
    np.testing.assert_allclose(found[:, 0, 0], expected[:, 0, 0], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1)  # its YIQ is rounded


# What draws depend on


def test_a_step_that_is_off_draws_nothing() -> None:
    assert drawn(5).arrays() == []
    for name, augment in EVERYTHING.items():
        found = drawn(5, **augment)
        assert [field.name for field in dataclasses.fields(Draws) if getattr(found, field.name) is not None] == [name]
    assert len(drawn(5, **ALL_AT_ONCE).arrays()) == len(EVERYTHING)


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_step_draws_alike_whatever_else_is_on(name: str) -> None:
    alone, together = drawn(500, **EVERYTHING[name]), drawn(500, **ALL_AT_ONCE)
    assert np.array_equal(getattr(alone, name), getattr(together, name))


@pytest.mark.parametrize("name", EVERYTHING)
def test_seed_and_epoch_decide_and_nothing_else(name: str) -> None:
    keys = [(0, 0), (0, 1), (1, 0), (1, 1), (7, 3)]
    found = [drawn(500, seed=seed, epoch=epoch, **EVERYTHING[name]) for seed, epoch in keys]
    assert len({getattr(once, name).tobytes() for once in found}) == len(keys)
    np.random.seed(1)
    torch.manual_seed(1)
    states = np.random.get_state(legacy=False), torch.get_rng_state()
    for (seed, epoch), once in zip(keys, found, strict=True):
        assert_equal(drawn(500, seed=seed, epoch=epoch, **EVERYTHING[name]), once)
    np.testing.assert_equal(np.random.get_state(legacy=False), states[0])
    assert torch.equal(torch.get_rng_state(), states[1])


def numbers(found: Draws) -> dict[str, np.ndarray]:
    """Returns one or two numbers a sample for each step."""
    return {
        "box": found.box[:, 2] * found.box[:, 3],
        "down": found.offset[:, 0],
        "right": found.offset[:, 1],
        "flip": found.flip,
        "turn": found.turn[:, 1],
        "color": found.color[:, 0, 3],
        "operation": found.operation[:, 0],
        "cutout's row": found.cutout[:, 0] + found.cutout[:, 2],
        "cutout's column": found.cutout[:, 1] + found.cutout[:, 3],
        "erased": found.erase[:, 2] > 0,
    }


def test_steps_and_samples_and_epochs_and_seeds_are_independent() -> None:
    first = numbers(drawn(5000, **ALL_AT_ONCE))
    next_epoch, next_seed = numbers(drawn(5000, epoch=1, **ALL_AT_ONCE)), numbers(drawn(5000, seed=1, **ALL_AT_ONCE))
    pairs = [(first[one], first[other]) for one, other in itertools.combinations(first, 2)]
    for name, values in first.items():
        pairs += [(values, next_epoch[name]), (values, next_seed[name]), (values[1:], values[:-1])]
    # Epochs and seeds are hashed, not added up: the next seed's epoch is not this one's next epoch.
    pairs += [(next_epoch[name], next_seed[name]) for name in first]
    values = [p_value(scipy.stats.spearmanr(one, other)) for one, other in pairs]
    assert min(values) > BOUND / 10


def test_picking_samples_picks_their_draws() -> None:
    whole, samples = drawn(50, **ALL_AT_ONCE), np.array([49, 3, 3, 17])
    some = whole[samples]
    for field in dataclasses.fields(Draws):
        found, expected = getattr(some, field.name), getattr(whole, field.name)
        assert len(found) == 4 and found.dtype == expected.dtype
        for row, sample in enumerate(samples):
            assert np.array_equal(found[row], expected[sample])
    assert_equal(whole[:7], whole[np.arange(7)])
    assert drawn(50, crop=2)[:3].arrays()[0].shape == (3, 2)


def test_mapping_applies_to_what_is_on() -> None:
    found = drawn(50, crop=2, flip=True)
    mapped = found.map(torch.from_numpy)
    assert mapped.turn is None and mapped.box is None
    assert torch.equal(mapped.offset, torch.from_numpy(found.offset)) and mapped.flip.dtype == torch.bool
    assert [id(array) for array in found.arrays()] == [id(found.offset), id(found.flip)]
