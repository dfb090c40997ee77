from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import nn

from harness.models.resnet import ResidualBlock, resnet
from harness.spec import ImageShape


# The counts of github.com/kuangliu/pytorch-cifar, whose ResNets have the 3x3 stem too.
@pytest.mark.parametrize(
    ("name", "expected"), [("resnet18", 11_173_962), ("resnet34", 21_282_122), ("resnet50", 23_520_842)]
)
def test_parameter_count_with_the_cifar_stem(name: str, expected: int) -> None:
    with torch.device("meta"):
        network = resnet(name, ImageShape(3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_with_the_imagenet_stem_it_computes_what_torchvision_computes(name: str) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=7).eval()
    ours = resnet(name, ImageShape(3, 64, 64), 7, stem="imagenet").eval()
    # Both name their layers differently but declare them in the same order.
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))


def test_convolutions_are_initialised_by_fan_out() -> None:
    torch.manual_seed(0)
    network = resnet("resnet18", ImageShape(3, 32, 32), 10)
    for convolution in (module for module in network.modules() if isinstance(module, nn.Conv2d)):
        fan_out = convolution.out_channels * math.prod(convolution.kernel_size)
        assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)


def test_without_its_residual_a_block_passes_its_input_on() -> None:
    block = ResidualBlock("basic", 4, 4, stride=1, activation="relu").eval()
    norm = block.residual[-1]
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight)
    images = torch.rand(2, 4, 8, 8)
    assert torch.equal(block(images), images)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_any_image_size_passes(stem: str) -> None:
    network = resnet("resnet18", ImageShape(1, 5, 9), 10, stem=stem, width=4).eval()  # type: ignore[arg-type]
    assert network(torch.zeros(2, 1, 5, 9)).shape == (2, 10)
