"""Evaluation of several views of each image, whose logits are averaged (test-time augmentation)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHIFT = 1


def logits_of_views(network: nn.Module, images: Tensor, views: str, share: float = 1.0) -> Tensor:
    """Returns logits [N, classes] of images [N, C, H, W].

    Args:
        network: in evaluation mode.
        images: normalised.
        views: `one` takes them as they are; `flips` the mean with the mirrored ones; `flips_and_shifts` the mean of
            that and of both shifted by a pixel, up and left or down and right, the border reflected
            (section 3.5 of arXiv 2404.00498).
        share: of the images; views are taken of so many, the least certain ones, as they change the answer for few
            others (hiverge/cifar10-speedrun, 2025).
    """
    if views == "one":
        return network(images)
    if share < 1.0:
        logits = network(images)
        certainty = logits.float().softmax(1).amax(1)
        doubtful = certainty.topk(math.ceil(share * len(images)), largest=False, sorted=False).indices
        return logits.index_copy(0, doubtful, logits_of_views(network, images[doubtful], views))
    if views == "flips":
        return _of_flips(network, images)
    height, width = images.shape[2:]
    padded = F.pad(images, (SHIFT,) * 4, "reflect")
    corners = (0, 2 * SHIFT)
    shifted = [_of_flips(network, padded[:, :, at : at + height, at : at + width]) for at in corners]
    return 0.5 * _of_flips(network, images) + 0.5 * torch.stack(shifted).mean(0)


def _of_flips(network: nn.Module, images: Tensor) -> Tensor:
    return 0.5 * (network(images) + network(images.flip(3)))
