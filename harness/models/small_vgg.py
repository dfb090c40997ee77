"""Plain convolutional networks for small images: PyTorch's tutorial net and small VGGs (report 5)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from harness.errors import HarnessError
from harness.models.layers import activation as activation_module
from harness.models.layers import classifier, initialise
from harness.parameters import Activation, Fraction, Init, PositiveInt
from harness.registry import architecture
from harness.spec import ImageShape


@architecture("tutorial_cnn")
def tutorial_cnn(
    image: ImageShape,
    num_classes: int,
    *,
    filters: tuple[PositiveInt, ...] = (6, 16),
    kernel_size: PositiveInt = 5,
    padding: Literal["valid", "same"] = "valid",
    activation: Activation = "relu",
    batch_norm: bool = False,
    hidden_sizes: tuple[PositiveInt, ...] = (120, 84),
    dropout: Fraction = 0.0,
) -> nn.Sequential:
    """The network of PyTorch's tutorial "Training a Classifier": convolutions, each with a 2x2 max pool, then linear.

    Takes images [N, channels, height, width], returns logits [N, num_classes].

    Args:
        filters: output channels of each convolution, as many convolutions as numbers
        kernel_size: side of the square kernels
        padding: 'valid' shrinks the image by each kernel, 'same' pads with zeros
        activation: after each convolution and hidden linear layer
        batch_norm: batch normalisation after each convolution (arXiv 1502.03167)
        hidden_sizes: features of each hidden linear layer, as many layers as numbers
        dropout: probability of dropping a feature, before each linear layer

    Raises:
        HarnessError: the image is too small to pass the convolutions and pools.
    """
    height, width = image.height, image.width
    for _ in filters:
        lost = kernel_size - 1 if padding == "valid" else 0
        height, width = (height - lost) // 2, (width - lost) // 2
    if min(height, width) < 1:
        raise HarnessError(
            f"tutorial_cnn with {padding} padding and {len(filters)} convolutions of {kernel_size}x{kernel_size} does "
            f"not take images of {image.height}x{image.width}",
            "use larger images" + (", or padding: same" if padding == "valid" else ", or fewer filters"),
        )
    network = nn.Sequential()
    channels = image.channels
    for number, count in enumerate(filters, start=1):
        block = nn.Sequential(nn.Conv2d(channels, count, kernel_size, padding=padding))
        if batch_norm:
            block.append(nn.BatchNorm2d(count))
        block.append(activation_module(activation))
        block.append(nn.MaxPool2d(2))
        network.add_module(f"block{number}", block)
        channels = count
    network.add_module("flatten", nn.Flatten())
    features = channels * height * width
    network.add_module("classifier", classifier(features, hidden_sizes, num_classes, activation, dropout))
    return network


@architecture("small_vgg")
def small_vgg(
    image: ImageShape,
    num_classes: int,
    *,
    blocks: tuple[tuple[PositiveInt, ...], ...] = ((64, 64), (128, 128)),
    batch_norm: Literal["none", "between", "each"] = "between",
    activation: Activation = "relu",
    hidden_sizes: tuple[PositiveInt, ...] = (),
    dropout: Fraction = 0.0,
    init: Init = "default",
) -> nn.Sequential:
    """Blocks of 3x3 convolutions, each ending with a 2x2 max pool, then linear layers; by default report 5's model A.

    The convolutions have stride 1 and padding 1; their output is flattened, not averaged, before the linear layers.
    Takes images [N, channels, height, width] of any size, returns logits [N, num_classes].

    Args:
        blocks: output channels of the convolutions of each block, as many convolutions as numbers
        batch_norm: batch normalisation after 'each' convolution, or only 'between' those of a block (model A)
        activation: after each convolution and hidden linear layer
        hidden_sizes: features of each hidden linear layer, as many layers as numbers
        dropout: probability of dropping a feature, before each linear layer
        init: how the weights are drawn
    """
    network = nn.Sequential()
    channels, height, width = image
    for number, counts in enumerate(blocks, start=1):
        block = nn.Sequential()
        for place, count in enumerate(counts, start=1):
            block.append(nn.Conv2d(channels, count, 3, padding=1))
            if batch_norm == "each" or (batch_norm == "between" and place < len(counts)):
                block.append(nn.BatchNorm2d(count))
            block.append(activation_module(activation))
            channels = count
        block.append(nn.MaxPool2d(2, ceil_mode=True))  # rounding up never rounds to nothing
        network.add_module(f"block{number}", block)
        height, width = -(-height // 2), -(-width // 2)
    network.add_module("flatten", nn.Flatten())
    features = channels * height * width
    network.add_module("classifier", classifier(features, hidden_sizes, num_classes, activation, dropout))
    initialise(network, init)
    return network
