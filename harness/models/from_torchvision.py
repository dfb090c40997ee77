"""The classification models of torchvision, with new weights."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

import torch
import torchvision
from torch import nn

from harness.models.foreign import build_and_try
from harness.registry import architecture
from harness.spec import ImageShape


@architecture(
    "torchvision/*",
    # `@register_model()`, perhaps more decorators over several lines, then `def NAME(`.
    names_in=("models/*.py", r"^@register_model\(\)\n(?:(?!def ).*\n)*def (\w+)\("),
)
def torchvision_model(
    name: str,
    image: ImageShape,
    num_classes: int,
    *,
    kwargs: dict[str, Any] = {},  # noqa: B006 - never changed, and read as a literal
) -> nn.Module:
    """A classification model of torchvision (https://pytorch.org/vision/stable/models), with new weights.

    Takes images [N, channels, height, width], returns logits [N, num_classes]. Most are made for 224x224; of
    small images their first strides leave little. For other than 3 channels the first convolution is adapted.

    Args:
        kwargs: handed to torchvision's constructor

    Raises:
        HarnessError: the model does not take these kwargs, or images of this size.
    """

    def build() -> nn.Module:
        network = torchvision.models.get_model(
            name, weights=None, num_classes=num_classes, **_options(name, image), **kwargs
        )
        _refuse_ignored(kwargs, network)
        if image.channels != 3:
            _adapt_first_convolution(network, image.channels)
        return network

    return build_and_try(f"torchvision/{name}", image, num_classes, build)


def _options(name: str, image: ImageShape) -> dict[str, Any]:
    if name in {"googlenet", "inception_v3"}:
        # In training they would return auxiliary outputs besides the logits; without init_weights they warn.
        return {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        return {"image_size": image.height}
    if name.startswith("maxvit_"):
        return {"input_size": (image.height, image.width)}
    return {}


def _refuse_ignored(kwargs: dict[str, Any], network: nn.Module) -> None:
    """ConvNeXt and MobileNetV3 drop a misspelt argument in silence; their source at least must name it."""
    source = inspect.getsource(sys.modules[type(network).__module__])
    for key in kwargs:
        if not re.search(rf"\b{re.escape(key)}\b", source):
            raise TypeError(f"unexpected keyword argument '{key}'")


def _adapt_first_convolution(network: nn.Module, channels: int) -> None:
    """Gives the stem `channels` instead of 3; of the weights that torchvision drew, some go or repeat."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.in_channels = channels
    first.weight = nn.Parameter(first.weight.detach()[:, torch.arange(channels) % 3].clone())
