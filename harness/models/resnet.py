"""Residual networks (He et al., arXiv 1512.03385)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from harness.models.layers import activation as activation_module
from harness.models.layers import initialise
from harness.parameters import Activation, PositiveInt
from harness.registry import architecture
from harness.spec import ImageShape

# Table 1 of the paper: the kind of block, and how many of them each of the four stages has.
CONFIGURATIONS: dict[str, tuple[Literal["basic", "bottleneck"], tuple[int, int, int, int]]] = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
}


@architecture("resnet18", "resnet34", "resnet50")
def resnet(
    name: str,
    image: ImageShape,
    num_classes: int,
    *,
    stem: Literal["cifar", "imagenet"] = "cifar",
    width: PositiveInt = 64,
    activation: Activation = "relu",
) -> nn.Sequential:
    """Residual network of He et al. (arXiv 1512.03385), for small images or large ones.

    Takes images [N, channels, height, width] of any size, returns logits [N, num_classes].

    Args:
        stem: 'cifar' is a 3x3 convolution of stride 1, 'imagenet' a 7x7 of stride 2 and a max pool
        width: channels of the stem and the first stage; each stage after it has twice as many
        activation: between the convolutions, and after each sum of a residual and its shortcut
    """
    kind, depths = CONFIGURATIONS[name]
    network = nn.Sequential()
    network.add_module("stem", _stem(stem, image.channels, width, activation))
    channels = width
    for number, depth in enumerate(depths):
        stage = nn.Sequential()
        for index in range(depth):
            stride = 2 if number > 0 and index == 0 else 1
            block = ResidualBlock(kind, channels, width * 2**number, stride, activation)
            stage.append(block)
            channels = block.out_channels
        network.add_module(f"stage{number + 1}", stage)
    initialise(network, "kaiming")

    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", nn.Linear(channels, num_classes))
    return network


class ResidualBlock(nn.Module):
    """`activation(residual(x) + shortcut(x))`: [N, in_channels, H, W] to [N, out_channels, H', W'].

    Args:
        kind: two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1 with four times `channels` at its end.
        in_channels: channels of the input.
        channels: channels of the convolutions inside the block.
        stride: stride of its first 3x3 convolution; H' = H / stride, rounded up.
        activation: name of the activation.
    """

    def __init__(
        self,
        kind: Literal["basic", "bottleneck"],
        in_channels: int,
        channels: int,
        stride: int,
        activation: Activation,
    ) -> None:
        super().__init__()
        if kind == "basic":
            self.out_channels = channels
            self.residual = nn.Sequential(
                *_conv_norm(in_channels, channels, 3, stride),
                activation_module(activation),
                *_conv_norm(channels, channels, 3),
            )
        else:
            # The stride is in the 3x3 convolution, not in the first 1x1 as in the paper: it is more accurate,
            # and what torchvision and most others call ResNet-50 ("v1.5").
            self.out_channels = 4 * channels
            self.residual = nn.Sequential(
                *_conv_norm(in_channels, channels, 1),
                activation_module(activation),
                *_conv_norm(channels, channels, 3, stride),
                activation_module(activation),
                *_conv_norm(channels, self.out_channels, 1),
            )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != self.out_channels:
            self.shortcut = nn.Sequential(*_conv_norm(in_channels, self.out_channels, 1, stride))
        self.activation = activation_module(activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.residual(x) + self.shortcut(x))


def _stem(kind: Literal["cifar", "imagenet"], in_channels: int, width: int, activation: Activation) -> nn.Sequential:
    if kind == "cifar":
        return nn.Sequential(*_conv_norm(in_channels, width, 3), activation_module(activation))
    convolution = _conv_norm(in_channels, width, 7, stride=2)
    return nn.Sequential(*convolution, activation_module(activation), nn.MaxPool2d(3, stride=2, padding=1))


def _conv_norm(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
    return convolution, nn.BatchNorm2d(out_channels)
