"""Classification metrics, counted on the device and read once an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.records.result import Metrics

# Logits are kept and counted many steps at once: a count a step would cost a small network more than its own kernels.
# Many more would be a good part of what a small network needs itself (benchmarks/performance/memory.py). They are
# copied to one place: on a CPU, small tensors that outlive their step can lie where the next step's large ones would,
# and the heap grows.
PENDING_BYTES = 256 * 2**10


class Tally:
    """Counts over batches of logits.

    Args:
        num_classes: C.
        device: where the counts live.
        label_smoothing: of the loss, as in the objective.
    """

    def __init__(self, num_classes: int, device: torch.device, label_smoothing: float = 0.0) -> None:
        self.num_classes = num_classes
        self._label_smoothing = label_smoothing
        self._kept: tuple[Tensor, Tensor] | None = None
        self._rows = 0  # of what is kept that are pending
        self.confusion = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=device)
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)  # loss, top-5 hits, recalls, batches

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Takes one batch, and keeps no part of it: logits [N, C], labels int64 [N], or soft ones float [N, C].

        Of a soft label the class with the largest share counts as the right one, as in torchvision's references.
        """
        end = self._rows + len(labels)
        most = PENDING_BYTES // (logits.shape[1] * logits.element_size())
        if end > most:
            self._count([*self._pending(), (logits, labels)])
            return
        if self._kept is None:
            self._kept = logits.new_empty((most, logits.shape[1])), labels.new_empty((most, *labels.shape[1:]))
        for kept, new in zip(self._kept, (logits, labels), strict=True):
            kept[self._rows : end] = new
        self._rows = end

    def count(self) -> None:
        """Counts what is pending."""
        if self._rows:
            self._count(self._pending())

    def _pending(self) -> list[tuple[Tensor, Tensor]]:
        return [(self._kept[0][: self._rows], self._kept[1][: self._rows])] if self._kept and self._rows else []

    def _count(self, parts: list[tuple[Tensor, Tensor]]) -> None:
        logits = torch.cat([logits for logits, _ in parts]).float()
        targets = torch.cat([labels for _, labels in parts])
        labels = targets if targets.dim() == 1 else targets.argmax(1)
        self._rows = 0
        pairs = labels * self.num_classes + logits.argmax(1)
        self.confusion.index_add_(0, pairs, torch.ones_like(pairs))  # bincount waits for a GPU
        self.sums[0] += F.cross_entropy(logits, targets, reduction="sum", label_smoothing=self._label_smoothing)
        if self.num_classes > 5:
            self.sums[1] += (logits.topk(5).indices == labels[:, None]).sum()

    def add_batch_recalls(self, predictions: Tensor, labels: Tensor, batch_size: int) -> None:
        """Counts the macro recall of batches drawn from a split in one fixed random order.

        The stored order will not do: an image folder's batches are of one class each, where those of CIFAR-10, which
        report 3 evaluated in its stored order, are mixed.

        Args:
            predictions: int64 [N].
            labels: int64 [N].
            batch_size: samples a batch.
        """
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).to(labels.device)
        for some in order.split(batch_size):
            self.sums[2] += batch_recall(predictions[some], labels[some], self.num_classes)
            self.sums[3] += 1

    def state(self) -> dict[str, Tensor]:
        """Returns what a checkpoint keeps; what is pending stays so, because a sum's bits depend on its parts."""
        pending = {}
        for logits, labels in self._pending():
            pending = {"logits": logits.clone(), "labels": labels.clone()}
        return {"confusion": self.confusion, "sums": self.sums, **pending}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes what `state` returned."""
        self.confusion.copy_(state["confusion"])
        self.sums.copy_(state["sums"])
        if "logits" in state:
            device = self.confusion.device
            self.add(state["logits"].to(device), state["labels"].to(device))

    def metrics(self) -> tuple[Metrics, Tensor]:
        """Returns the metrics and the confusion matrix int64 [C, C] (rows: labels, columns: predictions)."""
        confusion = self.confusion.view(self.num_classes, self.num_classes).cpu()
        loss_sum, top5_hits, recalls, batches = self.sums.tolist()
        total = int(confusion.sum())
        by_class = confusion.sum(1)
        recall = [
            hits / count if count else None
            for hits, count in zip(confusion.diagonal().tolist(), by_class.tolist(), strict=True)
        ]
        present = [value for value in recall if value is not None]
        metrics = Metrics(
            accuracy=int(confusion.diagonal().sum()) / max(total, 1),
            top5_accuracy=top5_hits / max(total, 1) if self.num_classes > 5 else None,
            loss=loss_sum / max(total, 1),
            macro_recall=sum(present) / max(len(present), 1),
            recall_by_class=recall,
            mean_batch_recall=recalls / batches if batches else None,
        )
        return metrics, confusion


def batch_recall(predictions: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Returns the macro recall of one batch, as scikit-learn's `recall_score(average="macro")` takes it.

    The mean is over the classes that occur as a label or as a prediction; one that was only predicted counts as 0.

    Args:
        predictions: int64 [N].
        labels: int64 [N].
        num_classes: C.
    """
    hits = torch.bincount(labels[predictions == labels], minlength=num_classes)
    labelled = torch.bincount(labels, minlength=num_classes)
    occurring = labelled + torch.bincount(predictions, minlength=num_classes) > 0
    return (hits / labelled.clamp(min=1)).sum() / occurring.sum()
