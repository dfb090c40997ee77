from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.models.small_vgg import small_vgg, tutorial_cnn
from harness.spec import ImageShape

CIFAR = ImageShape(3, 32, 32)


def layers(network: nn.Sequential) -> list[str]:
    return [type(module).__name__ for module in network.modules() if not isinstance(module, nn.Sequential)]


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_tutorials_network() -> None:
    network = tutorial_cnn(CIFAR, 10)
    assert layers(network) == ["Conv2d", "ReLU", "MaxPool2d"] * 2 + ["Flatten", *["Linear", "ReLU"] * 2, "Linear"]
    # 32 -> 28 -> 14 -> 10 -> 5: the first linear layer sees 16 x 5 x 5.
    convolutions = (3 * 25 + 1) * 6 + (6 * 25 + 1) * 16
    assert count_parameters(network) == convolutions + (400 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 10
    with_all = tutorial_cnn(CIFAR, 10, filters=(4,), batch_norm=True, hidden_sizes=(8,), dropout=0.4)
    assert layers(with_all) == [
        *("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Flatten"),
        *("Dropout", "Linear", "ReLU", "Dropout", "Linear"),
    ]


@pytest.mark.parametrize(
    ("padding", "filters", "smallest"), [("valid", (6, 16), 16), ("same", (6, 16), 4), ("valid", (6, 16, 32), 36)]
)
def test_the_smallest_image_passes_the_tutorials_network_and_a_smaller_one_is_refused(
    padding: Literal["valid", "same"], filters: tuple[int, ...], smallest: int
) -> None:
    network = tutorial_cnn(ImageShape(1, smallest, smallest + 3), 10, padding=padding, filters=filters)
    assert network(torch.zeros(2, 1, smallest, smallest + 3)).shape == (2, 10)
    for image in (ImageShape(1, smallest - 1, 64), ImageShape(1, 64, smallest - 1)):
        with pytest.raises(HarnessError, match=f"does not take images of {image.height}x{image.width}"):
            tutorial_cnn(image, 10, padding=padding, filters=filters)


def test_model_a_of_report_5_is_the_default() -> None:
    network = small_vgg(CIFAR, 10)
    block = ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d"]
    assert layers(network) == [*block, *block, "Flatten", "Linear"]
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 64, 128, 128]
    assert all((layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1)) for layer in convolutions)
    assert isinstance(last := list(network.modules())[-1], nn.Linear) and last.in_features == 128 * 8 * 8


def test_blocks_norms_and_hidden_layers_are_as_many_as_asked_for() -> None:
    network = small_vgg(CIFAR, 10, blocks=((8,), (8, 16, 16)), batch_norm="each", hidden_sizes=(32, 16), dropout=0.5)
    convolution = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert layers(network) == [
        *(*convolution, "MaxPool2d", *convolution * 3, "MaxPool2d", "Flatten"),
        *(*["Dropout", "Linear", "ReLU"] * 2, "Dropout", "Linear"),
    ]
    between = small_vgg(CIFAR, 10, blocks=((8,), (8, 16, 16)))
    assert layers(between).count("BatchNorm2d") == 2
    assert "BatchNorm2d" not in layers(small_vgg(CIFAR, 10, batch_norm="none"))


@pytest.mark.parametrize("side", [1, 3, 33])
def test_any_image_size_passes_a_small_vgg(side: int) -> None:
    network = small_vgg(ImageShape(1, side, 9), 10, blocks=((4,), (4,))).eval()
    assert network(torch.zeros(2, 1, side, 9)).shape == (2, 10)
