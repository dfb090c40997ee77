"""What a run's epochs add up to: clocks, throughput, the target, and the epoch that a split selects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from harness.measure.clock import EpochTime
from harness.records.result import Metrics, Selected, TargetReached, Throughput
from harness.suite.file import Target


@dataclass(frozen=True)
class Epoch:
    """One epoch, over all ranks.

    Attributes:
        epoch: counted from 0.
        time: of the slowest rank; its wait is the mean over ranks.
        timed_samples: of all ranks, in the steps of `time.timed_seconds`.
        eval_seconds: for the counts and evaluations after it.
        learning_rate: at its last step.
        metrics: by split; only `train` where the epoch was not evaluated.
        joules: of the GPUs; None where it is not known.
    """

    epoch: int
    time: EpochTime
    timed_samples: int
    eval_seconds: float
    learning_rate: float
    metrics: dict[str, Metrics]
    joules: float | None = None


class History:
    """The epochs of one run.

    Args:
        sizes: samples of each global batch of an epoch.
        target: of the suite, if it has one.
    """

    def __init__(self, sizes: list[int], target: Target | None) -> None:
        self._sizes = sizes
        self._target = target
        self.epochs: list[Epoch] = []

    def add(self, epoch: Epoch) -> None:
        """Takes the next epoch, and averages over all so far what report 3 averages over epochs."""
        self.epochs.append(epoch)
        for split, metrics in epoch.metrics.items():
            if metrics.mean_batch_recall is not None:
                found = [past.metrics[split].mean_batch_recall or 0.0 for past in self.epochs if split in past.metrics]
                metrics.all_epochs_mean_batch_recall = sum(found) / len(found)

    @property
    def train_seconds(self) -> float:
        """Train time so far."""
        return sum(epoch.time.train_seconds for epoch in self.epochs)

    @property
    def train_joules(self) -> float | None:
        """Energy of the GPUs so far; None where that of an epoch is not known."""
        return total_joules(self.epochs)

    def last_metrics(self) -> dict[str, Metrics]:
        """Returns the metrics of the last epoch; it is always evaluated."""
        return self.epochs[-1].metrics

    def throughput(self, skipped_samples: int) -> tuple[Throughput, dict[str, str]]:
        """Returns rates over the steps after the untimed ones, and the reason where there are none."""
        steps = len(self.epochs) * len(self._sizes)
        timed_steps = sum(epoch.time.timed_steps for epoch in self.epochs)
        timed_seconds = sum(epoch.time.timed_seconds for epoch in self.epochs)
        untimed = steps - timed_steps
        rate = sum(epoch.timed_samples for epoch in self.epochs) / timed_seconds if timed_steps else None
        reason = {} if rate else {"throughput.samples_per_second": f"the run has no more than {untimed} untimed steps"}
        waited = sum(epoch.time.wait_seconds for epoch in self.epochs)
        return Throughput(
            samples_per_second=rate,
            data_wait_share=waited / self.train_seconds,
            steps=steps,
            samples=len(self.epochs) * sum(self._sizes),
            untimed_steps=untimed,
            skipped_samples=skipped_samples * len(self.epochs),
        ), reason

    def target(self) -> TargetReached | None:
        """Returns when the target was first met at an evaluation; None where the suite has none."""
        if self._target is None:
            return None
        split, _, name = self._target.metric.partition(".")
        seconds = 0.0
        reached = TargetReached(metric=self._target.metric, at_least=self._target.at_least)
        for number, epoch in enumerate(self.epochs, 1):
            seconds += epoch.time.train_seconds
            value = getattr(epoch.metrics.get(split), name, None)
            if value is not None and value >= self._target.at_least:
                joules = total_joules(self.epochs[:number])
                return reached.model_copy(
                    update={"epoch": epoch.epoch, "train_seconds": seconds, "train_joules": joules}
                )
        return reached

    def selected(self) -> list[Selected]:
        """Returns the test metrics at the best epoch on the validation split, where there is one, and on the test."""
        return [chosen for split in ("validation", "test") for chosen in self._best(split)]

    def _best(self, split: Literal["validation", "test"]) -> list[Selected]:
        evaluated = [epoch for epoch in self.epochs if split in epoch.metrics]
        if not evaluated:
            return []
        best = max(evaluated, key=lambda epoch: epoch.metrics[split].accuracy)
        return [Selected(selected_on=split, epoch=best.epoch, test=best.metrics["test"])]


def total_joules(parts: Iterable[Epoch]) -> float | None:
    """Returns the energy of parts together; None where that of one is not known."""
    total = 0.0
    for part in parts:
        if part.joules is None:
            return None
        total += part.joules
    return total
