"""The network of a run: its architecture, and what the suite puts before it."""

from __future__ import annotations

from torch import Tensor, nn

from harness import registry
from harness.models.whitening import Whitening
from harness.spec import ImageShape, ModelSection, parameters


def build_network(section: ModelSection, image: ImageShape, num_classes: int) -> nn.Module:
    """Returns the network that a section asks for, with weights drawn anew or pretrained, on the CPU.

    Args:
        section: the architecture and its parameters.
        image: what the network takes.
        num_classes: logits.
    """
    first = Whitening(image, section.whiten) if section.whiten else None
    takes = first.output if first else image
    network = registry.build("architecture", section.name, takes, num_classes, **parameters(section))
    if first is None:
        return network
    whole = nn.Sequential()
    whole.add_module("whitening", first)
    whole.add_module("network", network)
    return whole


def fit_to_data(network: nn.Module, images: Tensor) -> None:
    """Gives the layers that are made from data, if there are any, training images [N, C, H, W], normalised."""
    for layer in network.modules():
        if isinstance(layer, Whitening):
            layer.fit(images)
