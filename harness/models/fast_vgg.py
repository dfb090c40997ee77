"""A small VGG for fast training on small images, after arXiv 2404.00498 and hlb-CIFAR10 (tysam-code, 2023)."""

from __future__ import annotations

from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.layers import activation as activation_module
from harness.parameters import Activation, Fraction, PositiveInt
from harness.registry import architecture
from harness.spec import ImageShape


@architecture("fast_vgg")
def fast_vgg(
    image: ImageShape,
    num_classes: int,
    *,
    widths: tuple[PositiveInt, ...] = (64, 256, 256),
    activation: Activation = "gelu",
    dirac: bool = True,
    norm_scales: bool = False,
    norm_momentum: Fraction = 0.6,
) -> nn.Sequential:
    """Blocks of two 3x3 convolutions with a pool between them, then the largest value of each channel and one layer.

    Made for `model.whiten`, whose output it takes as well as an image's. Takes images [N, channels, height, width],
    returns logits [N, num_classes].

    Args:
        widths: channels of each block, as many blocks as numbers
        activation: after each convolution and its norm
        dirac: a convolution's first filters hand its input on at first (section 3.3 of the paper)
        norm_scales: batch norm learns scales, not biases alone
        norm_momentum: share of the running statistics that a step keeps; few steps need less than torch's 0.9

    Raises:
        HarnessError: the image is too small for so many pools.
    """
    if min(image.height, image.width) < 2 ** len(widths):
        raise HarnessError(
            f"fast_vgg with {len(widths)} blocks does not take images of {image.height}x{image.width}",
            f"use larger images, or fewer widths than {len(widths)}",
        )

    def norm(channels: int) -> nn.BatchNorm2d:
        layer = nn.BatchNorm2d(channels, momentum=1 - norm_momentum)
        layer.weight.requires_grad = norm_scales
        return layer

    network = nn.Sequential()
    channels = image.channels
    for number, width in enumerate(widths, start=1):
        block = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            norm(width),
            activation_module(activation),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            norm(width),
            activation_module(activation),
        )
        network.add_module(f"block{number}", block)
        channels = width
    if dirac:
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.dirac_(layer.weight.data[: layer.in_channels])
    network.add_module("pool", LargestOfEachChannel())
    # Small logits at first: all classes are alike until the features say something.
    classifier = nn.Linear(channels, num_classes, bias=False)
    nn.init.normal_(classifier.weight, std=1 / channels)
    network.add_module("classifier", classifier)
    return network


class LargestOfEachChannel(nn.Module):
    """[N, C, H, W] -> [N, C]. As AdaptiveMaxPool2d(1), whose backward pass on CUDA `deterministic: true` refuses.

    Not by `amax`: its gradient goes where a feature equals the largest one. A compiled backward pass computes features
    anew, in float32, where the largest one was rounded to bfloat16: none is equal, and the gradient is 0 / 0.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Returns the largest value of each channel."""
        return features.flatten(2).max(dim=2).values
