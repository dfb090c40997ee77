"""The classification models of torchvision, with new weights or pretrained ones."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any, Literal

import torch
import torchvision
from torch import nn

from harness.errors import HarnessError
from harness.models.foreign import build_and_try
from harness.models.pretrained import hand_on, load_weights, loaded_weights, read_weights, require_numbers
from harness.models.transfer import add_head, cut_after, freeze_part, last_layer
from harness.parameters import PositiveInt
from harness.registry import architecture
from harness.spec import ImageShape

INCEPTIONS = ("googlenet", "inception_v3")


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
    pretrained: bool | str = False,
    freeze: Literal["none", "features", "all_but_last"] = "none",
    features_after: str | None = None,
    hidden_sizes: tuple[PositiveInt, ...] = (),
) -> nn.Module:
    """A classification model of torchvision (https://pytorch.org/vision/stable/models), new or pretrained.

    Takes images [N, channels, height, width], returns logits [N, num_classes]. Most are made for 224x224; of
    small images their first strides leave little. For other than 3 channels the first convolution is adapted.

    Pretrained weights are loaded into all layers, but into the last one only where the file has as many classes;
    else that is new, drawn as torchvision draws it, and the record says so. They expect images normalised as in their
    training, for ImageNet's weights by `data.normalize: imagenet`. On grey images (1 channel) the first convolution's
    kernels are summed over colours.

    `features_after` drops all behind a part of the network and puts a new classifier on its flattened output, drawn
    as torch draws linear layers: [linear, ReLU] for each of `hidden_sizes`, then linear. The part is `block3`, which
    ends with the third max pool, of a VGG or an AlexNet, or any module by its name in the network, such as `layer3`
    of a ResNet or `features.16`.

    Args:
        kwargs: handed to torchvision's constructor
        pretrained: true for torchvision's default weights, a name (IMAGENET1K_V1), or a path (.pth, .safetensors)
        freeze: what does not train: 'features' is all before the classifier, 'all_but_last' all but the last layer
        features_after: the part after which the network is cut, e.g. block3 of vgg16; unset, it is kept whole
        hidden_sizes: features of the new hidden layers behind features_after, as many layers as numbers

    Raises:
        HarnessError: the model does not take these kwargs, weights, or images of this size; or has no such part; or
            the weights are not here.
    """
    if hidden_sizes and features_after is None:
        raise HarnessError("model.hidden_sizes needs model.features_after", "set both, or neither")
    if hidden_sizes and freeze == "all_but_last":
        raise HarnessError("freeze: all_but_last would freeze the new hidden layers too", "set freeze: features")
    if pretrained:
        _require_colour(name, image)
    read = read_weights(f"torchvision/{name}", pretrained)

    def build() -> nn.Module:
        network = torchvision.models.get_model(
            name,
            weights=None,
            num_classes=num_classes,
            **_options(name, image),
            **_inputs(name, pretrained, kwargs),
            **kwargs,
        )
        _refuse_ignored(kwargs, network)
        if image.channels != 3:
            _adapt_first_convolution(network, image.channels)
        return network

    network = build_and_try(f"torchvision/{name}", image, num_classes, build)
    if read:
        load_weights(name, network, read, last_layer(network))
    if features_after is not None:
        loaded = loaded_weights(network)
        network = add_head(name, cut_after(name, network, features_after), image, hidden_sizes, num_classes)
        hand_on(loaded, network)
    if read:
        require_numbers(f"torchvision/{name}", network)
    if freeze != "none":
        freeze_part(network, freeze)
    return network


def _options(name: str, image: ImageShape) -> dict[str, Any]:
    if name in INCEPTIONS:
        # In training they would return auxiliary outputs besides the logits; without init_weights they warn.
        return {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        return {"image_size": image.height}
    if name.startswith("maxvit_"):
        return {"input_size": (image.height, image.width)}
    return {}


def _inputs(name: str, pretrained: bool | str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """These two were trained on images normalised by .5, and make them so of ImageNet's normalisation themselves."""
    convert = pretrained is not False and name in INCEPTIONS and "transform_input" not in kwargs
    return {"transform_input": True} if convert else {}


def _require_colour(name: str, image: ImageShape) -> None:
    if name in INCEPTIONS and image.channels != 3:
        raise HarnessError(
            f"the weights of torchvision/{name} take images of 3 channels, not {image.channels}",
            "use colour images, or another architecture: others adapt their weights to grey",
        )


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
