"""Views of an image whose logits are averaged."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from harness.training.test_time_augmentation import logits_of_views

IMAGES = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0))


class Corner(nn.Module):
    """Its logits are the pixels of the corner."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, 0, 0]


def test_one_view_is_the_image() -> None:
    assert torch.equal(logits_of_views(Corner(), IMAGES, "one"), IMAGES[:, :, 0, 0])


def test_flips_are_averaged() -> None:
    found = logits_of_views(Corner(), IMAGES, "flips")
    torch.testing.assert_close(found, (IMAGES[:, :, 0, 0] + IMAGES[:, :, 0, -1]) / 2)


def test_shifts_weigh_as_much_as_the_image_in_place() -> None:
    """Down and right brings pixel (1, 1) to the corner by reflection; up and left the one that stands there."""
    found = logits_of_views(Corner(), IMAGES, "flips_and_shifts")
    still = (IMAGES[:, :, 0, 0] + IMAGES[:, :, 0, -1]) / 2
    inner = (IMAGES[:, :, 1, 1] + IMAGES[:, :, 1, -2]) / 2  # both shifts, as (1, 1) mirrors about (0, 0)
    torch.testing.assert_close(found, (still + inner) / 2)


def test_one_shift_goes_up_and_left_and_the_other_down_and_right() -> None:
    class Inside(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :, 2, 1]

    found = logits_of_views(Inside(), IMAGES, "flips_and_shifts")
    still, before, after = (IMAGES[:, :, row, [column, column + 1]].mean(2) for row, column in ((2, 1), (1, 0), (3, 2)))
    torch.testing.assert_close(found, still / 2 + (before + after) / 4)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6])
def test_views_are_taken_of_the_least_certain_alone(share: float) -> None:
    sizes = []

    class Counting(Corner):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return super().forward(images)

    certainty = torch.tensor([0.5, 3.0, 0.1, 0.0, 2.0])
    images = torch.randn(5, 2, 5, 4, generator=torch.Generator().manual_seed(1))
    images[:, :, 0, 0] = torch.stack([certainty, -certainty], 1)
    before = images.clone()
    found = logits_of_views(Counting(), images, "flips", share)
    count = math.ceil(share * 5)
    chosen = [3, 2, 0, 4, 1][:count]
    expected = images[:, :, 0, 0].clone()
    expected[chosen] = logits_of_views(Corner(), images[chosen], "flips")
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found, images[:, :, 0, 0]) and torch.equal(images, before)
    assert sizes == [5, count, count]


def test_all_views_of_all_images_need_no_answer_first() -> None:
    assert torch.equal(logits_of_views(Corner(), IMAGES, "flips", 1.0), logits_of_views(Corner(), IMAGES, "flips"))
    assert torch.equal(logits_of_views(Corner(), IMAGES, "one", 0.2), IMAGES[:, :, 0, 0])


@pytest.mark.parametrize("views", ["one", "flips", "flips_and_shifts"])
def test_views_of_a_network_that_is_blind_to_them_change_nothing(views: str) -> None:
    class Mean(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3))

    constant = torch.ones(2, 3, 6, 6) * torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(logits_of_views(Mean(), constant, views), constant[:, :, 0, 0])
