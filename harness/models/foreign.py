"""What architectures of other packages share: what they take is unknown until tried."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from harness.errors import HarnessError
from harness.spec import ImageShape


def build_and_try(name: str, image: ImageShape, num_classes: int, build: Callable[[], nn.Module]) -> nn.Module:
    """Builds a network and passes one blank image through it, so that what does not fit shows now.

    Args:
        name: the architecture, as the suite names it.
        image: the shape of the images that the network must take.
        num_classes: the number of logits it must return.
        build: builds the network; what it raises is put down to the suite's kwargs and the image.

    Raises:
        HarnessError: the network cannot be built so, does not take such images, or does not return logits.
    """
    # Nothing is known of what another package raises, so here, and only here, every exception counts.
    try:
        network = build()
    except Exception as error:
        shape = f"{image.channels}x{image.height}x{image.width}"
        raise HarnessError(
            f"{name} cannot be built for {shape} images: {_one_line(error)}",
            "check kwargs against the package's documentation of this model, and the image's size",
        ) from error

    network.eval()  # in training, batch normalisation would take the blank image into its statistics
    try:
        with torch.no_grad():
            logits = network(torch.zeros(1, *image))
    except Exception as error:
        raise HarnessError(
            f"{name} does not take images of {image.height}x{image.width}: {_one_line(error)}",
            "use larger images (most such models are made for 224x224), or resnet18, which takes any size",
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, num_classes):
        raise HarnessError(f"{name} does not return one logit for each class", "check kwargs")
    return network.train()


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}..."
