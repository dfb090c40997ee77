"""Whether a config over- or underfits, judged by its accuracy on the training and the test images."""

from __future__ import annotations

from collections.abc import Sequence

from harness.records.result import RunResult, metric
from harness.statistics.intervals import Summary, summarise

OVERFITTING, UNDERFITTING, NEITHER = "overfitting", "underfitting", "no"
# Chosen so that the verdicts of report 1 come out of its accuracies; see docs/columns.md for what they mean.
GAP = 0.05
TRAIN_ERROR = 0.10
GAP_PER_TRAIN_ERROR = 0.10


def accuracy_gap(ok: Sequence[RunResult]) -> Summary | None:
    """Returns train minus test accuracy after the last epoch, of the runs that have both."""
    pairs = [(metric(run, "train.accuracy"), metric(run, "test.accuracy")) for run in ok]
    return summarise([train - test if train is not None and test is not None else None for train, test in pairs])


def fit_of(train_accuracy: Summary | None, gap: Summary | None) -> str | None:
    """Returns the verdict; None where train or test accuracy is unknown.

    Underfitting is asked first: where a network misreads most of its training images, a gap of five points is small.
    """
    if train_accuracy is None or gap is None:
        return None
    train_error = 1 - train_accuracy.mean
    if train_error > TRAIN_ERROR and gap.mean < GAP_PER_TRAIN_ERROR * train_error:
        return UNDERFITTING
    beyond_noise = gap.ci95 is None or gap.low > 0
    return OVERFITTING if gap.mean > GAP and beyond_noise else NEITHER
