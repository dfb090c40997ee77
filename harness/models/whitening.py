"""A fixed first layer that whitens: over the patches of the training images its outputs are uncorrelated.

From hlb-CIFAR10 (tysam-code, 2023), as section 3.2 of arXiv 2404.00498 has it: the eigenvectors of the patches'
covariance, each divided by its deviation, and all of them once more with the opposite sign, as an activation follows.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.spec import ImageShape

EPSILON = 5e-4  # added to each variance: patches hardly vary in some directions, and noise would be blown up
IMAGES_AT_ONCE = 500


class Whitening(nn.Sequential):
    """Images [N, C, H, W] to [N, 2 C k k, H - k + 1, W - k + 1], for patches of side k; GELU is its activation.

    The filters are not trained, the biases are.

    Args:
        image: what it takes.
        side: of the patches.

    Raises:
        HarnessError: an image is smaller than a patch.
    """

    def __init__(self, image: ImageShape, side: int) -> None:
        if side > min(image.height, image.width):
            raise HarnessError(
                f"model.whiten is {side}, and images have {image.height}x{image.width} pixels", "2 is usual"
            )
        channels = 2 * image.channels * side**2
        super().__init__(nn.Conv2d(image.channels, channels, side), nn.GELU())
        self.output = ImageShape(channels, image.height - side + 1, image.width - side + 1)
        self._convolution.weight.requires_grad = False

    @property
    def _convolution(self) -> nn.Conv2d:
        return cast(nn.Conv2d, self[0])

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Takes the filters from the patches of training images [N, C, H, W], normalised as in training."""
        weight, side = self._convolution.weight, self._convolution.kernel_size
        size = len(weight) // 2
        second_moments, count = torch.zeros(size, size, dtype=torch.float64), 0
        for some in images.float().split(IMAGES_AT_ONCE):
            patches = F.unfold(some, side).transpose(0, 1).flatten(1)
            second_moments += (patches @ patches.T).cpu()
            count += patches.shape[1]
        variances, directions = torch.linalg.eigh(second_moments / count)
        filters = (directions / (variances + EPSILON).sqrt()).T.reshape(size, *weight.shape[1:])
        weight.copy_(torch.cat([filters, -filters]))
