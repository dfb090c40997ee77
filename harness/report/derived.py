"""What is derived from the runs of a row: what they learned, their times to the target, and the share of the peak."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.counted import counted
from harness.errors import HarnessError
from harness.records.calibration import Calibration, Rate
from harness.records.predictions import read_predictions
from harness.records.result import FINAL, RunResult, metric
from harness.report.epochs import CurveOf
from harness.report.rows import Row
from harness.report.texts import listed
from harness.spec.settings import value_at
from harness.statistics.intervals import CensoredMedian, Summary, censored_median, share_at_most, summarise

# A multiply-accumulate is two operations. The backward pass makes two products for each one of the forward pass, for
# the gradients of weights and of inputs: training is three forward passes (Kaplan et al., arXiv 2001.08361, 2.1).
OPERATIONS_PER_MULTIPLY_ACCUMULATE = 2 * 3
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
    during = not all(value_at(run.spec, "train.evaluate_train") for row in rows for run in row.ok)
    return (
        f"Overfitting?: overfitting where train accuracy lies more than {100 * GAP:g} points above test accuracy, and "
        f"beyond the seeds' noise; underfitting where more than {100 * TRAIN_ERROR:g} % of the training images are "
        f"misclassified, and hardly more test images (by less than {100 * GAP_PER_TRAIN_ERROR:g} % of that share).",
        *[
            "Train accuracy is measured during the last epoch, with augmentation and dropout, while the weights "
            "change. It is usually too low, so overfitting is a more certain verdict than underfitting."
        ]
        * during,
    )


def target_values(row: Row, curve_of_run: CurveOf) -> dict[str, Any]:
    """Returns the values of a row that are about the target; no means where a run missed it."""
    diverged = [run for run in row.runs if run.status == "diverged"]
    aimed = [run for run in row.ok if _was_measured(run)]
    aimed += diverged if aimed else []  # they never arrive
    reached = sum(map(_has_reached, aimed))
    timed = [run for run in row.ok_for("target.train_seconds") if _was_measured(run)]
    timed += diverged if timed else []
    values: dict[str, Any] = {
        "target_median_seconds": _median(timed, _train_seconds),
        "target_with_evaluation_seconds": _median(timed, lambda run: _with_evaluation(run, curve_of_run)),
        "target_reached": f"{reached} of {len(aimed)}" if aimed else None,
        "target_reached_runs": reached if aimed else None,
        "target_reached_share": reached / len(aimed) if aimed else None,
    }
    if reached < len(aimed):  # the mean of those that arrived leaves out the slow
        values |= {"target_seconds": None, "joules_to_target": None}
    return values


def target_notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yields what a reader of the times to the target must know."""
    runs = [(run, run.target) for row in rows for run in row.ok if run.target]
    measured = {target.metric for run, target in runs if _was_measured(run)}
    unknown = sorted({target.metric for _, target in runs} - measured)
    if unknown:
        yield f"No time to target: no run here measured {listed(unknown)}."
    targets = sorted({f"{target.metric} >= {target.at_least:g}" for _, target in runs if target.metric in measured})
    if targets:
        yield (
            f"Time to target: train time until an evaluation first gave {' or '.join(targets)}; evaluations are not "
            "counted, unless the column says so. The median is over all runs that ended ok or diverged."
        )
    if any(row.values["target_reached_share"] not in (None, 1.0) for row in rows):
        yield (
            "In the median, runs that did not reach the target count as later than all others; > marks a lower bound. "
            "There is no mean where a run missed the target, because it would leave out the slow runs."
        )


def _median(runs: Sequence[RunResult], seconds_of: Callable[[RunResult], float | None]) -> CensoredMedian | None:
    """Returns the median over runs that were timed alike; None where the time of one is not known."""
    timed = [(_has_reached(run), seconds_of(run)) for run in runs if _has_reached(run) or run.status == "ok"]
    known = [(has_reached, seconds) for has_reached, seconds in timed if seconds is not None]
    if len(known) < len(timed) or not known:
        return None
    latest = max(seconds for _, seconds in known)
    ends = [latest] * sum(run.status == "diverged" for run in runs)  # they are later than any
    ends += [seconds for has_reached, seconds in known if not has_reached]
    return censored_median([seconds for has_reached, seconds in known if has_reached], ends)


def _train_seconds(run: RunResult) -> float | None:
    """Until the target, or the end."""
    return run.target.train_seconds if run.target and _has_reached(run) else run.clock.train_seconds


def _with_evaluation(run: RunResult, curve_of_run: CurveOf) -> float | None:
    """Training and evaluation until the target, or the end; None where it is not known."""
    if run.target is None or run.target.train_seconds is None:
        parts = run.clock.train_seconds, run.clock.eval_seconds
        return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]
    curve = curve_of_run(run)
    whole = curve.with_evaluation if curve else ()
    at = bisect.bisect_left(curve.seconds, run.target.train_seconds * (1 - 1e-9)) if curve else 0
    return whole[at] if at < len(whole) and math.isfinite(whole[at]) else None


def _has_reached(run: RunResult) -> bool:
    return run.target is not None and run.target.train_seconds is not None


def _was_measured(run: RunResult) -> bool:
    """Tells whether a run has the metric of its target: it may be one that only other settings measure."""
    return run.target is not None and (_has_reached(run) or metric(run, run.target.metric) is not None)


def precision_of(run: RunResult) -> str | None:
    """Returns the precision of a run's products, as calibrations name it."""
    if run.resolved is None:
        return None
    if run.resolved.mixed_precision != "no":
        return run.resolved.mixed_precision.removesuffix("-true")  # the products are the same
    return "tf32" if run.resolved.device == "cuda" and value_at(run.spec, "train.tf32") else "fp32"


def peak_of(run: RunResult, calibration: Calibration | None) -> Rate | None:
    """Returns the calibrated rate of matrix products in the precision that ran, of one GPU or of all CPUs."""
    precision = precision_of(run)
    same = bool(calibration and run.resolved and calibration.device == run.resolved.device)
    return calibration.rate(f"matmul.{precision}") if calibration and same and precision else None


def fraction_of_peak(runs: Sequence[RunResult], calibration: Calibration | None) -> Summary | None:
    """Returns the model FLOPs a second of a config's runs over the calibrated rate of their devices.

    A run has none where a number is missing, and where a part of the network is frozen: how much of the backward pass
    is then left out is not recorded. None where any run has more than 1: then the calibration is wrong for all of them.
    """
    found = [_fraction(run, calibration) for run in runs] if calibration else []
    return None if any(one is not None and one > 1 for one in found) else summarise(found)


def _fraction(run: RunResult, calibration: Calibration | None) -> float | None:
    peak, model, rate = peak_of(run, calibration), run.model, run.throughput.samples_per_second
    if peak is None or rate is None or model is None or model.multiply_accumulates is None:
        return None
    if model.trainable_parameters is not None and model.trainable_parameters < model.parameters:
        return None
    # A process has a GPU of its own; on CPUs the processes of a machine share what was calibrated as one.
    devices = run.num_processes if run.resolved and run.resolved.device == "cuda" else 1
    return OPERATIONS_PER_MULTIPLY_ACCUMULATE * model.multiply_accumulates * rate / peak.median / devices


def peak_notes(runs: Sequence[RunResult], calibration: Calibration | None) -> Iterator[str]:
    """Yields the calibrated rates that the column is over, and why runs have none to be compared with."""
    if calibration is None:
        return
    peaks = _peaks(runs, calibration)
    told = [f"{name} {_gigaflops(peak)} GFLOP/s ± {peak.relative_error:.1%}" for name, peak in peaks if peak]
    if told:
        operations = f"{OPERATIONS_PER_MULTIPLY_ACCUMULATE} x multiply-accumulates x samples/s"
        measured = f"calibrated here on {calibration.measured_at[:10]}"
        yield f"Of peak: {operations} over the rate of matrix products {measured}: {', '.join(told)}."
        if disturbed := calibration.disturbed():
            yield f"Of peak: {disturbed}: too high."
    for name in (name for name, peak in peaks if peak is None):
        yield f"Of peak: no rate to compare with in {name} ({calibration.unavailable.get(name, 'not measured')})."
    if beyond := sum((_fraction(run, calibration) or 0) > 1 for run in runs):
        yield (
            f"Of peak: {counted(beyond, 'run')} {'was' if beyond == 1 else 'were'} faster than the calibrated rate of "
            "matrix products, so the calibration ran on a busy or throttled machine: run `harness calibrate` again."
        )


def _gigaflops(peak: Rate) -> str:
    rate = peak.median / 1e9
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _peaks(runs: Sequence[RunResult], calibration: Calibration | None) -> list[tuple[str, Rate | None]]:
    by_precision = {precision_of(run): peak_of(run, calibration) for run in runs}
    return sorted((name, peak) for name, peak in by_precision.items() if name)
