"""The three-layer CNN of report 3."""

from __future__ import annotations

from typing import Literal

from torch import nn

from harness.errors import HarnessError
from harness.models.layers import activation as activation_module
from harness.parameters import Activation, Fraction, PositiveInt
from harness.registry import architecture
from harness.spec import ImageShape


@architecture("cnn3")
def cnn3(
    image: ImageShape,
    num_classes: int,
    *,
    filters: tuple[PositiveInt, PositiveInt, PositiveInt] = (24, 48, 96),
    kernel_sizes: tuple[PositiveInt, PositiveInt, PositiveInt] = (5, 3, 3),
    padding: Literal["valid", "same"] = "valid",
    activation: Activation = "relu",
    last_activation: bool = False,
    batch_norm: bool = False,
    hidden_size: PositiveInt = 512,
    extra_linear: PositiveInt | None = None,
    dropout: Fraction = 0.0,
) -> nn.Sequential:
    """Three convolutions, each followed by a 2x2 max pool, then fully connected layers (report 3, figure 2).

    Takes images [N, channels, height, width], returns logits [N, num_classes].

    Args:
        filters: output channels of the three convolutions
        kernel_sizes: sides of the three square kernels
        padding: 'valid' shrinks the image by each kernel, 'same' pads with zeros
        activation: after the first two convolutions and the hidden linear layers
        last_activation: whether the third convolution has an activation too (the report's code has none)
        batch_norm: batch normalisation after each convolution (arXiv 1502.03167)
        hidden_size: features of the first linear layer
        extra_linear: features of one more linear layer after the first; none by default
        dropout: probability of dropping a feature of the first linear layer

    Raises:
        HarnessError: the image is too small to pass three convolutions and pools.
    """
    height, width = (_side_at_the_end(side, kernel_sizes, padding) for side in (image.height, image.width))
    if min(height, width) < 1:
        needed = _smallest_side(kernel_sizes, padding)
        otherwise = "padding: same" if padding == "valid" else "vgg11"
        raise HarnessError(
            f"cnn3 with {padding} padding and kernel_sizes {list(kernel_sizes)} does not take images of "
            f"{image.height}x{image.width}",
            f"use images of {needed}x{needed} or more, or {otherwise}",
        )

    network = nn.Sequential()
    channels = image.channels
    for number, (filter_count, kernel_size) in enumerate(zip(filters, kernel_sizes, strict=True), start=1):
        network.add_module(f"conv{number}", nn.Conv2d(channels, filter_count, kernel_size, padding=padding))
        if batch_norm:
            network.add_module(f"norm{number}", nn.BatchNorm2d(filter_count))
        if number < 3 or last_activation:
            network.add_module(f"activation{number}", activation_module(activation))
        network.add_module(f"pool{number}", nn.MaxPool2d(2))
        channels = filter_count

    network.add_module("flatten", nn.Flatten())
    network.add_module("linear1", nn.Linear(channels * height * width, hidden_size))
    network.add_module("linear1_activation", activation_module(activation))
    if dropout:
        network.add_module("dropout", nn.Dropout(dropout))
    if extra_linear:
        network.add_module("linear2", nn.Linear(hidden_size, extra_linear))
        network.add_module("linear2_activation", activation_module(activation))
    network.add_module("classifier", nn.Linear(extra_linear or hidden_size, num_classes))
    return network


def _side_at_the_end(side: int, kernel_sizes: tuple[int, ...], padding: str) -> int:
    for kernel_size in kernel_sizes:
        side = (side - (kernel_size - 1 if padding == "valid" else 0)) // 2
    return side


def _smallest_side(kernel_sizes: tuple[int, ...], padding: str) -> int:
    side = 1
    for kernel_size in reversed(kernel_sizes):
        side = 2 * side + (kernel_size - 1 if padding == "valid" else 0)
    return side
