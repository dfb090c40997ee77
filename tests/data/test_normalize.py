"""Which mean and deviation images are normalised with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import normalize, to_tensor

from harness.data import normalize as module
from harness.data.augment.batched import Batched, Recipe
from harness.data.normalize import PUBLISHED, normalization
from harness.data.source import Split
from harness.errors import HarnessError
from harness.spec import Augment, DataSection


def section(normalize: str) -> DataSection:
    return DataSection.model_validate_json(f'{{"name": "x", "normalize": {normalize}}}')


def split(images: np.ndarray, rows: np.ndarray | None = None) -> Split:
    return Split(images, np.zeros(len(images) if rows is None else len(rows), np.int64), rows)


def blank(channels: int) -> Split:
    return split(np.zeros((1, 2, 2, channels), np.uint8))


def random_images(count: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (count, 5, 7, channels), np.uint8)


def assert_statistics_of(found: tuple[tuple[float, ...], tuple[float, ...]], images: np.ndarray) -> None:
    mean, std = found
    assert all(isinstance(value, float) for value in (*mean, *std))
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-9)


class StoreOfFiles:
    """A store whose images are had only when they are asked for."""

    resized = False

    def __init__(self, images: np.ndarray | None, shape: tuple[int, ...]) -> None:
        self._images = images
        self.shape = shape

    def array(self) -> np.ndarray:
        assert self._images is not None, "images were read"
        return self._images

    def encoded(self) -> list[bytes]:
        raise AssertionError


@pytest.mark.parametrize("channels", [1, 3])
def test_by_default_it_is_that_of_the_training_images(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 4)
    images = random_images(10, channels)
    assert DataSection(name="x").normalize == "train"
    assert_statistics_of(normalization(DataSection(name="x"), split(images)), images)


@pytest.mark.parametrize("at_once", [1, 3, 512])
def test_only_the_split_counts_not_the_rest_of_the_store(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", at_once)
    images = random_images(10, 3)
    images[[0, 4, 8]] = 255  # held out
    rows = np.array([9, 1, 2, 3, 5, 7, 6])
    assert_statistics_of(normalization(section('"train"'), split(images, rows)), images[rows])
    part = split(images, rows).take(np.array([5, 0, 2]))
    assert_statistics_of(normalization(section('"train"'), part), images[[7, 9, 2]])


def test_images_in_files_count_alike() -> None:
    images, rows = random_images(10, 3), np.array([4, 0, 9])
    found = normalization(section('"train"'), Split(StoreOfFiles(images, images.shape), np.zeros(3, np.int64), rows))
    assert_statistics_of(found, images[rows])


def test_the_images_of_a_split_are_read_once_whichever_runs_ask() -> None:
    images = random_images(10, 3)
    store = StoreOfFiles(images, images.shape)
    whole = Split(store, np.zeros(10, np.int64))
    found = normalization(section('"train"'), whole)
    store._images = None
    assert normalization(section('"train"'), whole) == found
    with pytest.raises(AssertionError, match="images were read"):
        normalization(section('"train"'), whole.take(np.array([1, 2])))  # another split


@pytest.mark.parametrize("normalize", ['"imagenet"', '{"mean": [0.1], "std": [2.0]}'])
def test_images_in_files_are_not_read_for_values_that_are_given(normalize: str) -> None:
    unread = Split(StoreOfFiles(None, (4, 2, 2, 3)), np.zeros(4, np.int64))
    assert len(normalization(section(normalize), unread)[0]) == 3


def test_values_near_black_and_white_are_counted_exactly() -> None:
    images = np.array([0, 0, 255, 255], np.uint8).reshape(4, 1, 1, 1)
    assert normalization(section('"train"'), split(images)) == ((0.5,), (0.5,))


def test_images_of_one_colour_are_not_divided_by_zero() -> None:
    images = np.full((4, 3, 3, 1), 51, np.uint8)
    mean, std = normalization(section('"train"'), split(images))
    batched = Batched(Recipe(Augment(), mean, std), torch.device("cpu"))
    batch = batched.evaluate(torch.from_numpy(images).permute(0, 3, 1, 2))
    torch.testing.assert_close(batch, torch.zeros(4, 1, 3, 3), rtol=0, atol=1e-3)


def test_training_images_are_normalised_to_mean_zero_and_deviation_one() -> None:
    images = random_images(50, 3)
    recipe = Recipe(Augment(), *normalization(section('"train"'), split(images)))
    batch = Batched(recipe, torch.device("cpu")).evaluate(torch.from_numpy(images).permute(0, 3, 1, 2))
    torch.testing.assert_close(batch.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(batch.std((0, 2, 3), correction=0), torch.ones(3), rtol=1e-5, atol=0)


def test_mean_and_deviation_are_used_as_torchvision_uses_them() -> None:
    images = random_images(1, 3)
    mean, std = normalization(section('"imagenet"'), split(images))
    batch = Batched(Recipe(Augment(), mean, std), torch.device("cpu")).evaluate(
        torch.from_numpy(images).permute(0, 3, 1, 2)
    )
    expected = normalize(to_tensor(images[0]), list(mean), list(std))
    torch.testing.assert_close(batch[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("preset", sorted(PUBLISHED))
def test_published_values(preset: str) -> None:
    expected = {
        "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    }
    assert normalization(section(f'"{preset}"'), blank(3)) == expected[preset]


@pytest.mark.parametrize("preset", ["none", "half"])
def test_what_is_published_as_one_value_serves_gray_images_too(preset: str) -> None:
    mean, std = normalization(section(f'"{preset}"'), blank(1))
    assert len(mean) == len(std) == 1


def test_a_mean_and_deviation_of_ones_own() -> None:
    given = section('{"mean": [0.1, 0.2], "std": [1.0, 2.0]}')
    assert normalization(given, blank(2)) == ((0.1, 0.2), (1.0, 2.0))
    one = section('{"mean": [0.1], "std": [2.0]}')
    assert normalization(one, blank(3)) == ((0.1, 0.1, 0.1), (2.0, 2.0, 2.0))


@pytest.mark.parametrize(
    "normalize", ['"cifar10"', '{"mean": [0.1, 0.2], "std": [1.0, 1.0]}', '{"mean": [0.1], "std": [1.0, 1.0, 1.0]}']
)
def test_values_for_other_channels_are_an_error(normalize: str) -> None:
    with pytest.raises(HarnessError, match="the images have 1 channels") as raised:
        normalization(section(normalize), blank(1))
    assert "normalize: train" in raised.value.hint
