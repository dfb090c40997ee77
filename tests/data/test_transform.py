"""Augmentation and normalisation: every random change against its definition, by planted draws or by statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
import torchvision.transforms.functional
from torch import Tensor

from harness.data import transform
from harness.data.transform import PUBLISHED, Transform, crop_and_flip, cutout_mask, normalization, rotate
from harness.errors import HarnessError
from harness.spec import Augment, DataSection

CPU = torch.device("cpu")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(count: int = 6, height: int = 9, width: int = 11, channels: int = 3, least: int = 0) -> Tensor:
    return torch.randint(least, 256, (count, height, width, channels), dtype=torch.uint8, generator=generator(1))


def by_definition(images: Tensor) -> Tensor:
    pixels = images.permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(values).double().view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


def make(channels_last: bool = False, **augment: Any) -> Transform:
    return Transform(Augment(**augment), MEAN, STD, CPU, channels_last)


def section(normalize: str) -> DataSection:
    return DataSection.model_validate_json(f'{{"name": "x", "normalize": {normalize}}}')


# Each image's pixels tell where they came from: channel 0 is the row, channel 1 the column, both counted from 1.
def coordinates(count: int, side: int) -> Tensor:
    rows = torch.arange(1, side + 1, dtype=torch.uint8)
    image = torch.stack([rows[:, None].expand(side, side), rows.expand(side, side)], 2)
    return image.expand(count, side, side, 2).contiguous()


def offsets_and_flips(cropped: Tensor, padding: int) -> tuple[Tensor, Tensor, Tensor]:
    centre = cropped.shape[1] // 2  # of an odd side: a flip leaves it where it is, and no padding reaches it
    rows, columns = (cropped[:, centre, centre, channel].long() - 1 - centre + padding for channel in (0, 1))
    return rows, columns, cropped[:, centre, centre, 1] > cropped[:, centre, centre + 1, 1]


def test_without_randomness_images_are_only_normalised() -> None:
    images = random_images()
    for batch in (make().train(images, generator()), make().evaluate(images), make(flip=True).evaluate(images)):
        assert batch.dtype == torch.float32 and batch.is_contiguous()
        torch.testing.assert_close(batch.double(), by_definition(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("augment", [{}, {"crop": 1}, {"rotate": 5.0}, {"crop": 1, "flip": True, "cutout": 3}])
def test_channels_last_changes_the_layout_and_nothing_else(augment: dict[str, Any]) -> None:
    images = random_images()
    plain, last = make(**augment), make(channels_last=True, **augment)
    for expected, found in [
        (plain.train(images, generator()), last.train(images, generator())),
        (plain.evaluate(images), last.evaluate(images)),
    ]:
        assert torch.equal(expected, found)
        assert expected.is_contiguous()
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_crop_is_a_slice_of_the_padded_image() -> None:
    images = random_images(count=40, least=1)
    cropped = crop_and_flip(images, 2, False, generator())
    padded = F.pad(images.permute(0, 3, 1, 2), (2, 2, 2, 2)).permute(0, 2, 3, 1)
    seen = set()
    for image, whole in zip(cropped, padded, strict=True):
        fits = [(y, x) for y in range(5) for x in range(5) if torch.equal(image, whole[y : y + 9, x : x + 11])]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 10


def test_a_flip_mirrors_left_and_right() -> None:
    images = random_images(count=40)
    flipped = crop_and_flip(images, 0, True, generator())
    kinds = [
        (torch.equal(found, image), torch.equal(found, image.flip(1)))
        for found, image in zip(flipped, images, strict=True)
    ]
    assert set(kinds) == {(True, False), (False, True)}


def test_offsets_are_uniform_and_independent_and_half_of_the_images_are_flipped() -> None:
    count, padding = 20_000, 2
    rows, columns, flipped = offsets_and_flips(
        crop_and_flip(coordinates(count, 9), padding, True, generator()), padding
    )
    assert rows.min() >= 0 and rows.max() <= 2 * padding and columns.min() >= 0 and columns.max() <= 2 * padding
    outcomes = torch.bincount((rows * 5 + columns) * 2 + flipped, minlength=50)
    assert scipy.stats.chisquare(outcomes.numpy()).pvalue > 0.01


def planted_rotation(monkeypatch: pytest.MonkeyPatch, planes: Tensor, share: float) -> Tensor:
    """Rotates by `share` of 90 degrees, -1 to 1."""
    monkeypatch.setattr(transform.torch, "rand", lambda count, **_: torch.full((count,), (share + 1) / 2))
    return rotate(planes, 90.0, generator())


@pytest.mark.parametrize("degrees", [-90.0, -20.0, 13.0, 45.0, 90.0])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 17), (12, 20)])
def test_a_rotation_is_torchvisions(monkeypatch: pytest.MonkeyPatch, degrees: float, height: int, width: int) -> None:
    planes = random_images(2, height, width, least=1).permute(0, 3, 1, 2).float()
    expected = torchvision.transforms.functional.rotate(planes, degrees)
    other_way = torchvision.transforms.functional.rotate(planes, -degrees)
    found = planted_rotation(monkeypatch, planes, degrees / 90)
    agreement = max((found == candidate).float().mean().item() for candidate in (expected, other_way))
    assert agreement > 0.98  # a pixel half-way between two may go to either


def test_angles_are_uniform_both_ways() -> None:
    side, count = 101, 3000
    planes = torch.zeros(1, 1, side, side)
    planes[0, 0, side // 2 - 1 : side // 2 + 2, -4:] = 1.0  # a mark at three o'clock
    rotated = rotate(planes.expand(count, -1, -1, -1), 60.0, generator())[:, 0]
    weight = rotated.sum((1, 2))
    axis = torch.arange(side) - side // 2
    y, x = ((rotated * axis.view(shape)).sum((1, 2)) / weight for shape in ((1, -1, 1), (1, 1, -1)))
    angles = torch.rad2deg(torch.atan2(y, x)).numpy()
    assert scipy.stats.kstest(angles, "uniform", args=(-60, 120)).pvalue > 0.01


def test_cutout_erases_a_square_around_a_uniform_centre() -> None:
    count, side, size = 20_000, 7, 4
    mask = cutout_mask(torch.empty(count, 3, side, side), 4, generator())
    assert mask.shape == (count, 1, side, side) and mask.dtype == torch.bool
    expected = {
        tuple((abs(torch.arange(side) - centre + 0.5) < size / 2).tolist()): centre for centre in range(side)
    }  # rows that a centre erases: two before it, itself and one after it, clipped at the border
    assert len(expected) == side
    centres = torch.tensor(
        [
            expected[tuple(rows)] * side + expected[tuple(columns)]
            for rows, columns in zip(mask[:, 0].any(2).tolist(), mask[:, 0].any(1).tolist(), strict=True)
        ]
    )
    assert torch.equal(mask[:, 0], mask[:, 0].any(2)[:, :, None] & mask[:, 0].any(1)[:, None, :])
    assert scipy.stats.chisquare(torch.bincount(centres, minlength=side * side).numpy()).pvalue > 0.01


def test_what_cutout_erases_is_the_mean_colour_and_the_rest_stays() -> None:
    images = random_images(count=20)
    batch = make(cutout=3).train(images, generator())
    mask = cutout_mask(batch, 3, generator()).expand_as(batch)
    assert (batch[mask] == 0).all()
    torch.testing.assert_close(batch[~mask].double(), by_definition(images)[~mask], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("augment", [{"crop": 3}, {"rotate": 40.0}, {"cutout": 4}, {"crop": 3, "flip": True}])
def test_each_image_of_a_batch_changes_on_its_own(augment: dict[str, Any]) -> None:
    images = random_images(count=1, height=16, width=16).expand(32, -1, -1, -1)
    batch = make(**augment).train(images, generator())
    assert len({image.numpy().tobytes() for image in batch}) > 16


EVERYTHING: dict[str, Any] = {"crop": 3, "flip": True, "rotate": 15.0, "cutout": 4}


def test_the_generator_alone_decides() -> None:
    images, augmented = random_images(16), make(**EVERYTHING)
    first = augmented.train(images, generator(5))
    torch.manual_seed(123)
    state = torch.get_rng_state()
    assert torch.equal(first, augmented.train(images, generator(5)))
    assert not torch.equal(first, augmented.train(images, generator(6)))
    assert torch.equal(state, torch.get_rng_state())


def test_the_images_that_were_given_are_left_alone() -> None:
    images = random_images(16)
    before = images.clone()
    make(**EVERYTHING).train(images, generator())
    make().evaluate(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalisation_by_the_training_images(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform, "IMAGES_AT_ONCE", 4)
    images = np.random.default_rng(0).integers(0, 200, (10, 5, 7, channels), np.uint8)
    mean, std = normalization(DataSection(name="x"), images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-9)


def test_images_of_one_colour_are_not_divided_by_zero() -> None:
    images = np.full((4, 3, 3, 1), 51, np.uint8)
    mean, std = normalization(DataSection(name="x"), images)
    batch = Transform(Augment(), mean, std, CPU).evaluate(torch.from_numpy(images))
    torch.testing.assert_close(batch, torch.zeros(4, 1, 3, 3), rtol=0, atol=1e-3)


@pytest.mark.parametrize("preset", sorted(PUBLISHED))
def test_published_normalisations(preset: str) -> None:
    mean, std = normalization(section(f'"{preset}"'), np.zeros((1, 2, 2, 3), np.uint8))
    assert len(mean) == len(std) == 3
    expected = {"none": (0.0, 1.0), "half": (0.5, 0.5), "cifar10": (0.4914, 0.2470), "cifar100": (0.5071, 0.2673)}
    assert (mean[0], std[0]) == expected.get(preset, (0.485, 0.229))


def test_a_mean_and_deviation_of_ones_own() -> None:
    given = section('{"mean": [0.1, 0.2], "std": [1.0, 2.0]}')
    assert normalization(given, np.zeros((1, 2, 2, 2), np.uint8)) == ((0.1, 0.2), (1.0, 2.0))
    one = section('{"mean": [0.1], "std": [2.0]}')
    assert normalization(one, np.zeros((1, 2, 2, 2), np.uint8)) == ((0.1, 0.1), (2.0, 2.0))


@pytest.mark.parametrize(
    "normalize", ['"cifar10"', '{"mean": [0.1, 0.2], "std": [1.0, 1.0]}', '{"mean": [0.1], "std": [1.0, 1.0, 1.0]}']
)
def test_a_normalisation_for_other_channels_is_an_error(normalize: str) -> None:
    with pytest.raises(HarnessError, match="channels"):
        normalization(section(normalize), np.zeros((1, 2, 2, 1), np.uint8))


def test_the_order_is_crop_rotate_normalise_cutout() -> None:
    images = random_images(8, 12, 12)
    random = generator(3)
    cropped = crop_and_flip(images, 3, True, random)
    rotated = rotate(cropped.permute(0, 3, 1, 2).float(), 15.0, random)
    expected = by_definition(rotated.permute(0, 2, 3, 1)).float()
    expected = expected.masked_fill(cutout_mask(expected, 4, random), 0.0)
    torch.testing.assert_close(make(**EVERYTHING).train(images, generator(3)), expected, rtol=1e-5, atol=1e-5)
