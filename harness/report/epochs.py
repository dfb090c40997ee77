"""What the events of a config's runs say by epoch: accuracy over train time, at a budget, and all else as means."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.durations import duration_text
from harness.errors import HarnessError
from harness.records.result import RunResult
from harness.report.rows import Row
from harness.results.columns import AT_BUDGET, Column
from harness.statistics.intervals import summarise


@dataclass(frozen=True)
class Curve:
    """The evaluations of a run, in their order.

    Attributes:
        seconds: train time until each.
        accuracies: on the test split, fractions.
        with_evaluation: seconds of training and evaluation until each; NaN where an evaluation was not timed.
    """

    seconds: tuple[float, ...]
    accuracies: tuple[float, ...]
    with_evaluation: tuple[float, ...] = field(default=(), compare=False)

    def at(self, seconds: float) -> float | None:
        """Returns the accuracy at the last evaluation within a train time; None before the first.

        It holds until the next evaluation, and after the last for ever.
        """
        index = bisect.bisect_right(self.seconds, seconds)
        return self.accuracies[index - 1] if index else None


T = TypeVar("T")
EpochsOf = Callable[[RunResult], Mapping[int, Mapping[str, Any]]]
"""Gives the events of a run's epochs, by their number, counted from 0."""
SPLITS, METRICS = ("test", "train"), ("accuracy", "loss")
MOST_COLOURED = 8  # configs with a colour of their own: lines are drawn of these alone
CurveOf = Callable[[RunResult], Curve | None]
"""Gives the curve of a run; None where its record has none."""


def curve_of(epochs: Mapping[int, Mapping[str, Any]]) -> Curve | None:
    """Returns the curve of a run from the events of its epochs, by their number.

    None where none was evaluated, or an event was lost: the train time of what follows is then not known.
    """
    own = [epochs[number] for number in range(len(epochs)) if number in epochs]
    trained: list[Any] = [one.get("train_seconds") for one in own]
    if len(own) < len(epochs) or None in trained:
        return None
    elapsed = itertools.accumulate(trained)
    evaluating = itertools.accumulate(math.nan if (t := one.get("eval_seconds")) is None else t for one in own)
    accuracies = [one.get("metrics", {}).get("test", {}).get("accuracy") for one in own]
    found = [(a, x, a + b) for a, b, x in zip(elapsed, evaluating, accuracies, strict=True) if x is not None]
    return Curve(*zip(*found, strict=True)) if found else None


def best_first(rows: Sequence[Row]) -> list[Row]:
    """Returns the ranked rows, those of the front first, then by accuracy."""
    ranked = [row for row in rows if row.ranked]
    return sorted(ranked, key=lambda row: (not row.values["on_front"], -row.values["test_accuracy"].mean))


def curves_of(rows: Sequence[Row], curve_of_run: CurveOf, most: int | None = None) -> dict[str, list[Curve]]:
    """Returns the curves of each config's timed runs, by config_id.

    Args:
        most: of so many configs, the best first; None for all.
    """
    curves: dict[str, list[Curve]] = {}
    for row in rows if most is None else best_first(rows):
        own = [curve for run in row.ok_for("clock.train_seconds") if (curve := curve_of_run(run))]
        if own or most is None:
            curves[row.config_id] = own
        if len(curves) == most:
            break
    return curves


def mean_curve(curves: Sequence[Curve]) -> list[tuple[float, float]]:
    """Returns the mean over seeds from each train time on at which one of them was evaluated.

    It begins where all seeds have been evaluated, so that it is always over the same seeds.
    """
    start = max(curve.seconds[0] for curve in curves)
    times = sorted({seconds for curve in curves for seconds in curve.seconds if seconds >= start})
    return [(seconds, math.fsum(curve.at(seconds) or 0.0 for curve in curves) / len(curves)) for seconds in times]


def budget_values(curves: Sequence[Curve], budget: float | None) -> dict[str, Any]:
    """Returns the accuracy of a config at a budget, over the seeds that were evaluated by then: values of columns."""
    values = [curve.at(budget) for curve in curves] if budget else []
    evaluated = sum(value is not None for value in values)
    return {
        "budget_seconds": budget if budget else None,
        AT_BUDGET: summarise(values),
        "evaluated_by_budget": f"{evaluated} of {len(values)}" if values else None,
    }


def with_budget_in_title(columns: Sequence[Column], budget: float | None) -> tuple[Column, ...]:
    """Returns the columns, the accuracy at the budget with the budget in its title."""
    said = f"test accuracy at {duration_text(budget)}" if budget else ""
    return tuple(dataclasses.replace(one, title=said) if budget and one.name == AT_BUDGET else one for one in columns)


def budget_notes(rows: Sequence[Row], curves: Mapping[str, Sequence[Curve]], budget: float | None) -> Iterator[str]:
    """Yields what a reader of the accuracy at a budget must know."""
    if budget is None:
        return
    said = duration_text(budget)
    if not any(row.values[AT_BUDGET] for row in rows):
        yield _none_by(said, _first(curves))
        return
    yield f"Test accuracy at {said}: at each run's last evaluation within {said} of train time."


def some_late(rows: Sequence[Row]) -> bool:
    """Tells whether a mean at the budget is not over all runs."""
    counts = [row.values["evaluated_by_budget"].split(" of ") for row in rows if row.values["evaluated_by_budget"]]
    return any(evaluated != every for evaluated, every in counts)


def require_evaluation_by(budget: float, systems: Sequence[Mapping[str, Sequence[Curve]]]) -> None:
    """Refuses a budget that ends before the first evaluation of every run.

    Raises:
        HarnessError: with the time of the first evaluation.
    """
    firsts = [first for curves in systems if (first := _first(curves)) is not None]
    if not firsts or min(firsts) > budget:
        message = _none_by(duration_text(budget), min(firsts, default=None)).rstrip(".")
        raise HarnessError(
            message,
            "give --at a longer time, or evaluate more often: train.evaluate_every_epochs; `harness report` says which "
            "times do not count",
        )


def _first(curves: Mapping[str, Sequence[Curve]]) -> float | None:
    return min((curve.seconds[0] for own in curves.values() for curve in own), default=None)


def _none_by(said: str, first: float | None) -> str:
    why = "no run has an evaluation whose time counts" if first is None else f"the first was at {duration_text(first)}"
    return f"No run was evaluated within {said} of train time: {why}."


@dataclass(frozen=True)
class ByEpoch:
    """The epochs of a config, means over its runs.

    Attributes:
        runs: how many the means are over.
        epochs: each with its `epoch`, counted from 1, and what every run has of it: `seconds`, the train time until its
            end, where no event before it was lost; e.g. `test.accuracy` and `wait_share`.
        lost: epochs that are on record in some run, or were trained, and that not every run has an event of.
    """

    row: Row
    runs: int
    epochs: tuple[dict[str, float], ...]
    lost: int


def by_epoch(row: Row, epochs_of: EpochsOf) -> ByEpoch | None:
    """Returns the epochs of a config's timed runs, or of all, without their times, where none is; None: no record."""
    timed = row.ok_for("clock.train_seconds")
    found = [(run, events) for run in timed or row.ok if (events := epochs_of(run))]
    if not found:
        return None
    expected = max(max(run.epochs, max(events) + 1) for run, events in found)
    runs = [_by_number(run, events, with_times=bool(timed)) for run, events in found]
    epochs = []
    for number in range(expected):
        own = [run[number] for run in runs if number in run]
        if len(own) == len(runs):
            names = [name for name in own[0] if all(name in one for one in own)]
            means = {name: math.fsum(one[name] for one in own) / len(own) for name in names}
            epochs.append({"epoch": number + 1, **means})
    return ByEpoch(row, len(runs), tuple(epochs), expected - len(epochs))


def thinned(values: Sequence[T], most: int) -> tuple[T, ...]:
    """Leaves out values between others, where there are more than a line can show; never the last."""
    every = max(1, math.ceil(len(values) / most))
    return tuple(values[(len(values) - 1) % every :: every])


def _by_number(
    run: RunResult, events: Mapping[int, Mapping[str, Any]], *, with_times: bool
) -> dict[int, dict[str, float]]:
    """Returns the numbers of each epoch that has an event; its train time only where none before it was lost."""
    numbers: dict[int, dict[str, float]] = {}
    elapsed = 0.0 if with_times else math.nan
    for number in range(max(events) + 1):
        event = events.get(number, {})
        seconds = event.get("train_seconds")
        elapsed += math.nan if seconds is None else seconds
        if event:
            numbers[number] = dict([*_metrics(event), *(_speeds(run, event) if with_times else ())])
            if math.isfinite(elapsed):
                numbers[number]["seconds"] = elapsed
    return numbers


def _metrics(event: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for split in SPLITS:
        for metric in METRICS:
            value = (event.get("metrics", {}).get(split) or {}).get(metric)
            if isinstance(value, int | float) and math.isfinite(value):
                yield f"{split}.{metric}", value


def _speeds(run: RunResult, event: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    seconds = event.get("train_seconds")
    if not seconds:
        return
    if run.epochs and run.throughput.samples:
        yield "samples_per_second", run.throughput.samples / run.epochs / seconds
    if event.get("wait_seconds") is not None:
        yield "wait_share", event["wait_seconds"] / seconds
    if event.get("train_joules") is not None:
        yield "gpu_watts", event["train_joules"] / seconds
