"""Mixup and CutMix beside those of torchvision.transforms.v2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms import v2

from harness.data.augment.mixing import Mix, MixingLoader, draw_mix, mix
from harness.errors import HarnessError
from harness.spec import Augment

CLASSES, HEIGHT, WIDTH = 4, 9, 14


def batch(count: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, HEIGHT, WIDTH, generator=random)
    return images, torch.randint(0, CLASSES, (count,), generator=random)


def draws(count: int = 4000, **augment: float) -> list[Mix]:
    return [draw_mix(Augment.model_validate(augment), 1, 2, number, HEIGHT, WIDTH) for number in range(count)]


@pytest.mark.parametrize("how", [Mix(0.3), Mix(1.0), Mix(1 - 20 / 126, (2, 3, 6, 8)), Mix(1.0, (4, 4, 4, 9))])
def test_a_batch_is_mixed_as_torchvision_mixes_it_with_the_same_draws(how: Mix) -> None:
    images, labels = batch()
    if how.box is None:
        reference, given = v2.MixUp(num_classes=CLASSES), {"lam": how.share}
    else:
        top, left, bottom, right = how.box
        reference = v2.CutMix(num_classes=CLASSES)
        given = {"box": (left, top, right, bottom), "lam_adjusted": how.share}
    params = {"labels": labels, "batch_size": len(labels), **given}
    expected = reference.transform(images, params), reference.transform(labels, params)
    mixed = mix(images.clone().to(memory_format=torch.channels_last), labels, how, CLASSES)
    assert mixed[0].is_contiguous(memory_format=torch.channels_last)
    for own, other in zip(mixed, expected, strict=True):
        torch.testing.assert_close(own, other)
    assert mixed[1].sum(1).tolist() == pytest.approx([1.0] * 6)


def test_shares_and_boxes_have_the_distribution_of_torchvisions() -> None:
    alpha = 0.4
    agreement: Any = stats  # whose types say less than they return
    assert agreement.kstest([one.share for one in draws(mixup=alpha)], stats.beta(alpha, alpha).cdf).pvalue > 0.001
    torch.manual_seed(0)
    own, reference = draws(cutmix=alpha), v2.CutMix(alpha=alpha, num_classes=CLASSES)
    others = [reference.make_params([torch.empty(1, 3, HEIGHT, WIDTH)]) for _ in own]
    boxes = np.array([one.box for one in own])
    expected = np.array([one["box"] for one in others])[:, [1, 0, 3, 2]]
    for ours, theirs in zip(boxes.T, expected.T, strict=True):
        assert agreement.ks_2samp(ours, theirs).pvalue > 0.001
    assert agreement.ks_2samp([one.share for one in own], [one["lam_adjusted"] for one in others]).pvalue > 0.001
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (HEIGHT * WIDTH)
    assert [one.share for one in own] == pytest.approx(list(1 - areas)), "the label has what is left of the image"


def test_of_both_each_batch_has_one_and_a_draw_depends_on_seed_epoch_and_batch_alone() -> None:
    both = draws(mixup=0.2, cutmix=1.0)
    assert sum(one.box is not None for one in both) == pytest.approx(2000, abs=130)
    known = Augment(mixup=1.0)
    shares = {
        (seed, epoch, number): draw_mix(known, seed, epoch, number, HEIGHT, WIDTH).share
        for seed in (0, 1)
        for epoch in (0, 1)
        for number in (0, 1)
    }
    assert len(set(shares.values())) == 8
    assert draw_mix(known, 1, 0, 1, HEIGHT, WIDTH).share == shares[1, 0, 1]


class Fixed:
    """A loader of four batches."""

    def __init__(self) -> None:
        self.name = "fixed"
        self.measured: dict[str, float | str] = {"fixed": 3.0}

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        return (batch(seed=10 * epoch + number) for number in range(first_batch, 4))

    def evaluation(self, split: Any, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return iter([batch()])

    def close(self) -> None:
        self.name = "closed"


def test_an_epoch_that_is_taken_up_again_is_mixed_as_before_and_evaluation_is_not_mixed() -> None:
    inner = Fixed()
    loader = MixingLoader(inner, Augment(mixup=0.5, cutmix=0.5), 3, CLASSES)
    assert (loader.name, loader.measured) == ("fixed", {"fixed": 3.0})
    whole, rest = list(loader.epoch(1)), list(loader.epoch(1, 2))
    assert len(whole) == 4 and len(rest) == 2
    for one, again in zip(whole[2:], rest, strict=True):
        assert torch.equal(one[0], again[0]) and torch.equal(one[1], again[1])
    assert not all(torch.equal(images, plain) for (images, _), (plain, _) in zip(whole, inner.epoch(1), strict=True))
    [(images, labels)] = loader.evaluation(None, 6)  # type: ignore[arg-type]
    assert torch.equal(images, batch()[0]) and labels.dtype == torch.int64
    loader.close()
    assert inner.name == "closed"


@pytest.mark.parametrize("augment", [{"mixup": 0.2}, {"cutmix": 1.0}])
def test_labels_of_one_class_cannot_be_mixed(augment: dict[str, float]) -> None:
    with pytest.raises(HarnessError, match=f"data.augment.{next(iter(augment))} mixes labels, and the data have one"):
        MixingLoader(Fixed(), Augment.model_validate(augment), 0, 1)
