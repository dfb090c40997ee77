"""Transfer learning: cutting a network after a block, giving it a new head, freezing a part of it."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, fx, nn
from torchvision.models import VGG, AlexNet
from torchvision.models.feature_extraction import create_feature_extractor

from harness.errors import HarnessError
from harness.models.layers import classifier
from harness.spec import ImageShape


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that keeps its running statistics, and normalises by them in training too."""

    def train(self, mode: bool = True) -> FrozenBatchNorm2d:
        """Stays in evaluation mode, whatever `mode` is."""
        return super().train(False)


def last_layer(network: nn.Module) -> str:
    """Returns the name of the layer that gives the logits: the last linear or (in SqueezeNet) convolutional one."""
    return [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]


def freeze_part(network: nn.Module, what: Literal["features", "all_but_last"]) -> None:
    """Freezes parameters, and the statistics of batch normalisation among them, in place. Dropout stays as it is.

    Args:
        network: its last layer stands in its last part.
        what: 'features' leaves the classifier free, the top-level part that holds the last layer; 'all_but_last'
            leaves only the last layer free.
    """
    last = last_layer(network)
    free = last if what == "all_but_last" else last.partition(".")[0]
    for name, module in network.named_modules():
        if name == free or name.startswith(f"{free}."):
            continue
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = FrozenBatchNorm2d
            module.eval()


def cut_after(name: str, network: nn.Module, after: str) -> nn.Module:
    """Returns the network up to and including a part of it, which shares its layers and holds none behind the cut.

    A child of a network's `features` is the end of a plain sequence; any other part is cut out of the traced network
    (`torchvision.models.feature_extraction`).

    Args:
        name: the architecture, for messages.
        network: one of torchvision's.
        after: `block3`, which ends with the third max pool, where the network is a VGG or an AlexNet; or the dotted
            name of a module.

    Raises:
        HarnessError: there is no such part, the last layer is in it, or the network cannot be cut there.
    """
    blocks = _blocks(network)
    target = blocks.get(after, after)
    last = last_layer(network)
    if target not in dict(network.named_modules()) or not target:
        parts = list(blocks) or [part for part, _ in network.named_children() if part != last.partition(".")[0]]
        example = next(inner for inner, _ in network.named_modules() if inner.count(".") == 1)
        raise HarnessError(
            f"torchvision/{name} has no part '{after}'",
            f"valid: {', '.join(parts)}, or the name of a module in the network, such as {example}",
        )
    if last == target or last.startswith(f"{target}."):
        raise HarnessError(
            f"features_after: {after} of torchvision/{name} holds the last layer",
            "name a part before it, or leave features_after out",
        )
    parent, _, child = target.partition(".")
    features = network.get_submodule(parent)
    if parent == "features" and isinstance(features, nn.Sequential) and "." not in child:
        # Every network of torchvision that has `features` passes the image through it first.
        return features[: list(dict(features.named_children())).index(child) + 1] if child else features
    return _cut_traced(name, network, target)


def add_head(
    name: str, trunk: nn.Module, image: ImageShape, hidden_sizes: tuple[int, ...], num_classes: int
) -> nn.Module:
    """Returns the trunk with a classifier on its flattened features: [Linear, ReLU] * n, Linear.

    Args:
        name: the architecture, for messages.
        trunk: takes images [N, channels, height, width].
        image: their shape.
        hidden_sizes: features of each hidden layer.
        num_classes: the number of logits.

    Raises:
        HarnessError: the trunk does not return a tensor.
    """
    trunk.eval()  # in training, batch normalisation would take the blank image into its statistics
    with torch.no_grad():
        features = trunk(torch.zeros(1, *image))
    if not isinstance(features, Tensor):
        raise HarnessError(
            f"torchvision/{name} returns no tensor where features_after cuts it", "name the part around it"
        )
    trunk.train()
    network = nn.Sequential()
    network.add_module("features", trunk)
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", classifier(features.numel(), hidden_sizes, num_classes, "relu", dropout=0.0))
    return network


def _blocks(network: nn.Module) -> dict[str, str]:
    """Returns where the blocks of a VGG or an AlexNet end, each with a max pool: {"block1": "features.4", ...}."""
    if not isinstance(network, VGG | AlexNet):
        return {}
    pools = [name for name, layer in network.features.named_children() if isinstance(layer, nn.MaxPool2d)]
    return {f"block{number}": f"features.{pool}" for number, pool in enumerate(pools, start=1)}


def _cut_traced(name: str, network: nn.Module, target: str) -> nn.Module:
    # What cannot be traced shows in many kinds of exceptions, so every one counts.
    try:
        extractor = create_feature_extractor(network, {target: "features"}, suppress_diff_warning=True)
    except Exception as error:
        raise HarnessError(
            f"torchvision/{name} cannot be cut after {target}: {' '.join(str(error).split())[:200]}",
            "name a larger part, such as " + ", ".join(part for part, _ in network.named_children()),
        ) from None
    graph, in_training = cast(fx.Graph, extractor.eval_graph), cast(fx.Graph, extractor.train_graph)
    if str(graph) != str(in_training):
        # torchvision keeps a graph for each mode, but loses one of them in a copy, as averaged weights need one.
        raise HarnessError(
            f"torchvision/{name} cannot be cut after {target}: it computes otherwise in training",
            "cut it after a child of `features`, where it has that, or use another architecture",
        )
    (output,) = graph.find_nodes(op="output")
    output.args = (cast(dict[str, fx.Node], output.args[0])["features"],)
    return fx.GraphModule(extractor, graph)
