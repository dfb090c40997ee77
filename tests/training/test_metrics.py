"""Metrics against sklearn.metrics."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.training import metrics
from harness.training.metrics import Tally

CPU = torch.device("cpu")


def batches(num_classes: int = 8, absent: tuple[int, ...] = (), count: int = 9) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(num_classes)
    present = torch.tensor([label for label in range(num_classes) if label not in absent])
    found = []
    for size in [40] * (count - 1) + [7]:
        labels = present[torch.randint(0, len(present), (size,), generator=random)]
        logits = torch.randn(size, num_classes, generator=random) + 1.5 * F.one_hot(labels, num_classes)
        found.append((logits, labels))
    return found


def tally(given: list[tuple[Tensor, Tensor]], num_classes: int = 8, label_smoothing: float = 0.0) -> Tally:
    counts = Tally(num_classes, CPU, label_smoothing)
    for logits, labels in given:
        counts.add(logits, labels)
    counts.count()
    return counts


def together(given: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    logits, labels = (torch.cat(list(parts)) for parts in zip(*given, strict=True))
    return logits, labels, logits.argmax(1)


def test_every_metric_is_sklearns() -> None:
    given = batches()
    logits, labels, predictions = together(given)
    found, confusion = tally(given).metrics()
    assert found.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions), rel=1e-12)
    top5 = sklearn.metrics.top_k_accuracy_score(labels, logits, k=5, labels=range(8))
    assert found.top5_accuracy == pytest.approx(top5, rel=1e-12)
    assert found.loss == pytest.approx(sklearn.metrics.log_loss(labels, logits.double().softmax(1)), rel=1e-5)
    recall = sklearn.metrics.recall_score(labels, predictions, average=None)  # type: ignore[arg-type]
    assert found.recall_by_class == pytest.approx(list(np.asarray(recall)))
    assert found.macro_recall == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, predictions))
    assert confusion.tolist() == sklearn.metrics.confusion_matrix(labels, predictions).tolist()


def test_of_a_mixed_label_the_larger_share_is_the_right_class_and_the_loss_is_of_both() -> None:
    given = batches()
    soft = [(logits, 0.7 * (hard := F.one_hot(labels, 8).float()) + 0.3 * hard.roll(1, 0)) for logits, labels in given]
    found, plain = tally(soft, label_smoothing=0.1).metrics(), tally(given).metrics()
    assert found[1].tolist() == plain[1].tolist() and found[0].top5_accuracy == plain[0].top5_accuracy
    logits, labels = (torch.cat(list(parts)) for parts in zip(*soft, strict=True))
    assert found[0].loss == pytest.approx(F.cross_entropy(logits, labels, label_smoothing=0.1).item(), rel=1e-5)
    partners = [
        (logits, 0.3 * (hard := F.one_hot(labels, 8).float()) + 0.7 * hard.roll(1, 0)) for logits, labels in given
    ]
    rolled = [(logits, labels.roll(1)) for logits, labels in given]
    assert tally(partners).metrics()[1].tolist() == tally(rolled).metrics()[1].tolist()
    whole, part, again = (Tally(8, CPU) for _ in range(3))
    for counts, some in ((whole, soft), (part, soft[:4])):
        for one in some:
            counts.add(*one)
    again.load_state(part.state())
    for one in soft[4:]:
        again.add(*one)
    for counts in (whole, again):
        counts.count()
    assert again.metrics()[0] == whole.metrics()[0], "pending labels are in a checkpoint"


def test_a_class_without_samples_has_no_recall_and_is_left_out_of_the_mean() -> None:
    given = batches(absent=(2, 7))
    _, labels, predictions = together(given)
    found, confusion = tally(given).metrics()
    assert [label for label, recall in enumerate(found.recall_by_class) if recall is None] == [2, 7]
    present = sorted(set(labels.tolist()))
    each: Any = None  # what sklearn calls the recall of each class, and its types do not know
    recall = np.asarray(sklearn.metrics.recall_score(labels.numpy(), predictions.numpy(), labels=present, average=each))
    assert found.macro_recall == pytest.approx(recall.mean())
    assert confusion.shape == (8, 8) and confusion[2].sum() == confusion[7].sum() == 0


@pytest.mark.parametrize("num_classes", [2, 5])
def test_with_five_classes_or_fewer_there_is_no_top_five(num_classes: int) -> None:
    assert tally(batches(num_classes), num_classes).metrics()[0].top5_accuracy is None


def test_with_six_classes_there_is() -> None:
    given = batches(6)
    logits, labels, _ = together(given)
    expected = sklearn.metrics.top_k_accuracy_score(labels, logits, k=5, labels=range(6))
    assert tally(given, 6).metrics()[0].top5_accuracy == pytest.approx(expected)


def test_label_smoothing_is_in_the_loss_as_in_the_objective() -> None:
    given = batches()
    logits, labels, _ = together(given)
    found = tally(given, label_smoothing=0.2).metrics()[0]
    assert found.loss == pytest.approx(F.cross_entropy(logits, labels, label_smoothing=0.2).item(), rel=1e-5)
    assert found.loss > tally(given).metrics()[0].loss


@pytest.mark.parametrize("pending_bytes", [0, 40 * 8 * 4, 3000])
def test_counting_in_between_changes_nothing(pending_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = batches()
    expected, expected_confusion = tally(given).metrics()
    monkeypatch.setattr(metrics, "PENDING_BYTES", pending_bytes)
    counted: list[int] = []
    count = Tally._count

    def spied(self: Tally, parts: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        counted.append(sum(len(labels) for _, labels in parts))
        count(self, parts)

    monkeypatch.setattr(Tally, "_count", spied)
    found, confusion = tally(given).metrics()
    assert sum(counted) == sum(len(labels) for _, labels in given) and len(counted) > 2
    assert torch.equal(confusion, expected_confusion)
    assert found.model_copy(update={"loss": 0}) == expected.model_copy(update={"loss": 0})
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)


def test_logits_of_half_precision_are_counted_in_single() -> None:
    given = [(logits.bfloat16(), labels) for logits, labels in batches()]
    single = [(logits.float(), labels) for logits, labels in given]
    assert tally(given).metrics()[0] == tally(single).metrics()[0]


def test_logits_that_are_not_finite_do_not_crash_the_count() -> None:
    labels = torch.tensor([0, 1, 2])
    found, confusion = tally([(torch.full((3, 8), math.nan), labels)]).metrics()
    assert math.isnan(found.loss) and confusion.sum() == 3


def test_nothing_was_counted() -> None:
    found, confusion = tally([]).metrics()
    assert found.accuracy == 0 and confusion.sum() == 0


def test_the_recall_of_each_batch_is_sklearns_and_their_mean_is_not_that_of_all() -> None:
    given = batches(num_classes=8)
    labels = torch.cat([labels for _, labels in given])
    predictions = torch.cat([logits.argmax(1) for logits, _ in given])
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes of a small batch that were predicted and did not occur
        of_batches = [
            sklearn.metrics.recall_score(labels[some], predictions[some], average="macro") for some in order.split(9)
        ]
    counts = tally(given)
    assert counts.metrics()[0].mean_batch_recall is None
    counts.add_batch_recalls(predictions, labels, batch_size=9)
    found = counts.metrics()[0]
    assert found.mean_batch_recall == pytest.approx(np.mean(of_batches))
    assert found.mean_batch_recall != pytest.approx(found.macro_recall, abs=1e-3)


@pytest.mark.parametrize("pending_bytes", [0, 2**20])
def test_no_part_of_a_batch_is_kept(pending_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a CUDA graph's next replay overwrites, or what would lie in the way of the next step's tensors."""
    monkeypatch.setattr(metrics, "PENDING_BYTES", pending_bytes)
    expected = tally(batches()).metrics()
    found = Tally(8, torch.device("cpu"))
    for logits, labels in batches():
        found.add(logits, labels)
        for each in (logits, labels):
            each.zero_()
    found.count()
    assert found.metrics()[0] == expected[0] and torch.equal(found.metrics()[1], expected[1])
