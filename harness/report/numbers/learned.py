"""What the networks learned: nothing, too little, or their training images alone; and what guessing would reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.counted import counted
from harness.errors import HarnessError
from harness.records.predictions import read_predictions
from harness.records.result import FINAL, RunResult, metric
from harness.report.numbers.rows import Row
from harness.spec.settings import value_at
from harness.statistics.intervals import Summary, share_at_most, summarise

OVERFITTING, UNDERFITTING, NEITHER = "overfitting", "underfitting", "no"
# Chosen so that the verdicts of report 1 come out of its accuracies; see docs/columns.md for what they mean.
GAP = 0.05
TRAIN_ERROR = 0.10
GAP_PER_TRAIN_ERROR = 0.10
BARELY = 0.05  # better than a guess by so little is no better
TELLING = 0.005  # half a point between accuracy and macro recall
COLLAPSED = (
    "Collapsed: runs that diverged, or whose mean recall over the classes is no better than guessing one class, "
    "of those that ended ok or diverged; up to: the upper 95 % limit of their share (Clopper-Pearson)."
)


def is_guessing(run: RunResult) -> bool:
    """Tells whether a network says one class of nearly every image, or does no better.

    The mean of the recalls over the classes is not fooled by a large class, as the accuracy is.
    """
    if not (run.status == "ok" and run.data and run.data.rankable and run.data.num_classes > 1):
        return False
    own = run.metrics.get("test")
    return own is not None and own.macro_recall <= (1 + BARELY) / run.data.num_classes


def guessing_shares(rows: Sequence[Row], predictions_of: Callable[[RunResult], Path]) -> dict[str, float]:
    """Returns what guessing the largest class would reach on the test images, by the fingerprint of the data.

    Args:
        predictions_of: gives the file of a run's predictions.
    """
    shares: dict[str, float] = {}
    for row in rows:
        tested, data = _tested(row)
        if tested and data not in shares and (share := largest_class(predictions_of(tested))) is not None:
            shares[data] = share
    return shares


def learned_values(row: Row, guessing: Mapping[str, float]) -> dict[str, Any]:
    """Returns the rate of a row's runs that collapsed, what guessing would reach, and whether they overfit.

    Args:
        guessing: see `guessing_shares`.
    """
    ended = [run for run in row.runs if run.status in FINAL] if row.values["rankable"] is not False else []
    count = sum(run.status == "diverged" or is_guessing(run) for run in ended)
    limit = share_at_most(count, len(ended)) if ended else None
    both = [(metric(run, "train.accuracy"), metric(run, "test.accuracy")) for run in row.ok]
    gap = summarise([train - test if train is not None and test is not None else None for train, test in both])
    return {
        "accuracy_gap": gap,
        "overfitting": fit_of(row.values["train_accuracy"], gap) if row.values["rankable"] else None,
        "collapsed": f"{count} of {len(ended)}: up to {100 * limit:.0f} %" if limit is not None else None,
        "collapsed_runs": count if ended else None,
        "collapsed_share_at_most": limit,
        "guessing_accuracy": guessing.get(_tested(row)[1]),
    }


def _tested(row: Row) -> tuple[RunResult | None, str]:
    """Returns a run whose predictions mean something, and the fingerprint of its data."""
    return next(((run, run.data.fingerprint) for run in row.ok if run.data and run.data.rankable), (None, ""))


def largest_class(predictions: Path) -> float | None:
    """Returns the share of the test images that are of the largest class; None where no labels were kept."""
    import numpy as np

    try:
        labels, _ = read_predictions(predictions)
    except HarnessError:
        return None
    return float(np.unique(labels, return_counts=True)[1].max() / labels.size) if labels.size else None


def is_unbalanced(rows: Sequence[Row]) -> bool:
    """Tells whether the test images' classes differ in size so much that macro recall is not about the accuracy."""
    tested = [own for row in rows for run in row.ok if (own := run.metrics.get("test"))]
    return any(abs(own.macro_recall - own.accuracy) > TELLING for own in tested)


def guessing_notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yields what guessing the largest class would reach, and what runs that did not collapse say of those to come."""
    limits = [one for row in rows if (one := row.values["collapsed_share_at_most"]) is not None]
    if limits and not any(row.values["collapsed_runs"] for row in rows):
        most = f"{100 * max(limits):.0f} %"
        yield f"No run collapsed. With so few runs, up to {most} of a config's runs could still do so."
    found = {
        (row.values["guessing_accuracy"], run.data.num_classes)
        for row in rows
        for run in row.ok[:1]
        if run.data and row.values["guessing_accuracy"] is not None
    }
    for share, classes in sorted(found):
        classes_text = counted(classes, "class", "classes")
        yield f"Guessing the largest of {classes_text} would recognise {100 * share:.2f} % of the test images."


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


def overfitting_notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """Returns what stands under a table that shows the column of this name."""
    definition = (
        f"Overfitting?: overfitting where train accuracy lies more than {100 * GAP:g} points above test accuracy, and "
        f"beyond the seeds' noise; underfitting where more than {100 * TRAIN_ERROR:g} % of the training images are "
        f"misclassified, and hardly more test images (by less than {100 * GAP_PER_TRAIN_ERROR:g} % of that share)."
    )
    if all(value_at(run.spec, "train.evaluate_train") for row in rows for run in row.ok):
        return (definition,)
    caution = (
        "Train accuracy is measured during the last epoch, with augmentation and dropout, while the weights change. "
        "It is usually too low, so overfitting is a more certain verdict than underfitting."
    )
    return definition, caution
