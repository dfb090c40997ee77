from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.models.cnn3 import cnn3
from harness.spec import ImageShape


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_of_report_3() -> None:
    image = ImageShape(3, 32, 32)
    convolutions = (3 * 25 + 1) * 24 + (24 * 9 + 1) * 48 + (48 * 9 + 1) * 96
    # 32 -> 28 -> 14 -> 12 -> 6 -> 4 -> 2: the first linear layer sees 96 x 2 x 2.
    assert count_parameters(cnn3(image, 10)) == convolutions + (384 + 1) * 512 + (512 + 1) * 10
    with_one_more = convolutions + (384 + 1) * 512 + (512 + 1) * 128 + (128 + 1) * 10
    assert count_parameters(cnn3(image, 10, extra_linear=128)) == with_one_more


def test_the_layers_stand_in_the_order_of_report_3() -> None:
    usual = [type(layer).__name__ for layer in cnn3(ImageShape(3, 32, 32), 10)]
    assert usual == [
        *("Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "MaxPool2d"),
        *("Flatten", "Linear", "ReLU", "Linear"),
    ]
    everything = cnn3(ImageShape(3, 32, 32), 10, batch_norm=True, last_activation=True, dropout=0.3, extra_linear=128)
    assert [type(layer).__name__ for layer in everything] == [
        *("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d") * 3,
        *("Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"),
    ]


@pytest.mark.parametrize(
    ("kernel_sizes", "padding", "smallest"),
    [((5, 3, 3), "valid", 24), ((7, 5, 3), "valid", 30), ((1, 1, 1), "valid", 8), ((5, 3, 3), "same", 8)],
)
def test_the_smallest_image_passes_and_a_smaller_one_is_refused(
    kernel_sizes: tuple[int, int, int], padding: Literal["valid", "same"], smallest: int
) -> None:
    network = cnn3(ImageShape(1, smallest, smallest + 3), 10, kernel_sizes=kernel_sizes, padding=padding)
    assert network(torch.zeros(2, 1, smallest, smallest + 3)).shape == (2, 10)
    for image in (ImageShape(1, smallest - 1, 64), ImageShape(1, 64, smallest - 1)):
        with pytest.raises(HarnessError, match=f"images of {smallest}x{smallest} or more"):
            cnn3(image, 10, kernel_sizes=kernel_sizes, padding=padding)
