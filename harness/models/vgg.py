"""VGG networks for small images (Simonyan & Zisserman, arXiv 1409.1556)."""

from __future__ import annotations

from torch import nn

from harness.models.layers import activation as activation_module
from harness.models.layers import classifier, initialise
from harness.parameters import Activation, Fraction, Init, NonNegativeInt, PositiveInt
from harness.registry import architecture
from harness.spec import ImageShape

# Table 1 of the paper, columns A, B, D, E: how many 3x3 convolutions each of the five blocks has.
CONFIGURATIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
# Channels of the blocks, as multiples of the first one's.
MULTIPLES = (1, 2, 4, 8, 8)


@architecture("vgg11", "vgg13", "vgg16", "vgg19")
def vgg(
    name: str,
    image: ImageShape,
    num_classes: int,
    *,
    width: PositiveInt = 64,
    batch_norm: bool = True,
    activation: Activation = "relu",
    hidden_size: NonNegativeInt = 0,
    dropout: Fraction = 0.0,
    init: Init = "kaiming",
) -> nn.Sequential:
    """VGG of Simonyan & Zisserman (arXiv 1409.1556) with a classifier for small images.

    Takes images [N, channels, height, width] of any size, returns logits [N, num_classes].

    Args:
        width: channels of the first block; the others have 2, 4, 8 and 8 times as many
        batch_norm: batch normalisation after each convolution (arXiv 1502.03167)
        activation: after each convolution and hidden linear layer
        hidden_size: features of two hidden linear layers (4096 in the paper); 0 for none
        dropout: probability of dropping a feature, before each linear layer
        init: how the weights are drawn; torch's own ('default') hardly trains vgg16 without batch_norm
    """
    network = nn.Sequential()
    channels = image.channels
    for number, (depth, multiple) in enumerate(zip(CONFIGURATIONS[name], MULTIPLES, strict=True), start=1):
        block = nn.Sequential()
        for _ in range(depth):
            # Before batch normalisation a bias has no effect; it is kept so that counts are the usual ones.
            block.append(nn.Conv2d(channels, width * multiple, 3, padding=1))
            if batch_norm:
                block.append(nn.BatchNorm2d(width * multiple))
            block.append(activation_module(activation))
            channels = width * multiple
        # Five pools halve the side five times. Rounding up never rounds to nothing, so that images of fewer
        # than 32 pixels a side (MNIST's 28, or 8) pass too; sides divisible by 32 give the same either way.
        block.append(nn.MaxPool2d(2, ceil_mode=True))
        network.add_module(f"block{number}", block)

    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    hidden_sizes = (hidden_size, hidden_size) if hidden_size else ()
    network.add_module("classifier", classifier(channels, hidden_sizes, num_classes, activation, dropout))
    initialise(network, init)
    return network
