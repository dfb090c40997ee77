"""Mixup and CutMix: each image of a batch mixed with the one before it, and their labels with it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.augment.draws import AUGMENTATION, MIX
from harness.data.loading import Batch, Loader
from harness.data.order import hash_seed
from harness.data.source import Split
from harness.errors import HarnessError
from harness.spec import Augment


class Mix(NamedTuple):
    """What is done to a batch.

    Attributes:
        share: of each image's own label; the rest is its partner's.
        box: what CutMix takes from the partner (top, left, bottom, right); None for mixup.
    """

    share: float
    box: tuple[int, int, int, int] | None = None


def draw_mix(augment: Augment, seed: int, epoch: int, batch: int, height: int, width: int) -> Mix:
    """Draws for one global batch, from seed, epoch and batch alone: every rank mixes by the same share.

    Where both are on, each batch has one of them, with the same probability: as timm and torchvision's references.
    """
    random = np.random.Generator(np.random.PCG64(hash_seed(hash_seed(seed, epoch, AUGMENTATION + MIX), batch, 0)))
    cut = bool(augment.cutmix) and (not augment.mixup or random.random() < 0.5)
    alpha = augment.cutmix if cut else augment.mixup
    share = float(random.beta(alpha, alpha))
    if not cut:
        return Mix(share)
    middle_y, middle_x = (int(random.integers(extent)) for extent in (height, width))
    half_y, half_x = (int(0.5 * math.sqrt(1 - share) * extent) for extent in (height, width))
    top, bottom = max(middle_y - half_y, 0), min(middle_y + half_y, height)
    left, right = max(middle_x - half_x, 0), min(middle_x + half_x, width)
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, left, bottom, right))


def mix(images: Tensor, labels: Tensor, how: Mix, num_classes: int) -> Batch:
    """Mixes a batch, in place, as `MixUp` and `CutMix` of torchvision.transforms.v2 do.

    Args:
        images: [n, C, H, W]; the partner of the first is the last.
        labels: int64 [n].

    Returns:
        The images, and soft labels float32 [n, num_classes].
    """
    if how.box is None:
        partners = torch.cat([images[-1:], images[:-1]])
        images.mul_(how.share).add_(partners, alpha=1 - how.share)
    else:
        top, left, bottom, right = how.box
        images[:, :, top:bottom, left:right] = images[:, :, top:bottom, left:right].roll(1, 0)
    soft = F.one_hot(labels, num_classes).float()
    return images, soft.mul(how.share).add_(soft.roll(1, 0), alpha=1 - how.share)


class MixingLoader:
    """A loader whose training batches are mixed on the device; see `harness.data.loading.Loader`.

    The partners are of the same rank's share of a batch: at another world size they are others.

    Args:
        loader: yields the batches.
        augment: with `mixup`, `cutmix` or both.
        seed: of the run.
        num_classes: of the data.

    Raises:
        HarnessError: there is one class: labels cannot be mixed.
    """

    def __init__(self, loader: Loader, augment: Augment, seed: int, num_classes: int) -> None:
        if num_classes < 2:
            name = "mixup" if augment.mixup else "cutmix"
            raise HarnessError(f"data.augment.{name} mixes labels, and the data have one class", "leave it out")
        self.name, self.measured = loader.name, loader.measured
        self._loader, self._augment, self._seed, self._num_classes = loader, augment, seed, num_classes

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yields this process's share of each global batch, mixed; the labels are soft, float32 [n, num_classes]."""
        for batch, (images, labels) in enumerate(self._loader.epoch(epoch, first_batch), first_batch):
            how = draw_mix(self._augment, self._seed, epoch, batch, *images.shape[2:])
            yield mix(images, labels, how, self._num_classes)

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, unmixed."""
        return self._loader.evaluation(split, batch_size)

    def close(self) -> None:
        """Closes the loader."""
        self._loader.close()
