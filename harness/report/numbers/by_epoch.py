"""What the events of a config's runs say by epoch: metrics, speed, waiting and power, as means over the seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.records.result import RunResult
from harness.report.numbers.rows import Row

EpochsOf = Callable[[RunResult], Mapping[int, Mapping[str, Any]]]
"""Gives the events of a run's epochs, by their number, counted from 0."""
SPLITS, METRICS = ("test", "train"), ("accuracy", "loss")
OVER_TIME = ("samples_per_second", "wait_share", "gpu_watts")


@dataclass(frozen=True)
class EpochMean:
    """One epoch of a config, over its runs.

    Attributes:
        number: counted from 1.
        seconds: train time until its end; None where an event before it was lost, or no run was timed.
        values: e.g. `test.accuracy`, and the names of `OVER_TIME`; only what every run has of this epoch.
    """

    number: int
    seconds: float | None
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ByEpoch:
    """The epochs of a config.

    Attributes:
        runs: how many the means are over.
        lost: epochs that are on record in some run, or were trained, and that not every run has an event of.
    """

    row: Row
    runs: int
    epochs: tuple[EpochMean, ...]
    lost: int


def by_epoch(row: Row, epochs_of: EpochsOf) -> ByEpoch | None:
    """Returns the epochs of a config's timed runs, or of all, without their times, where none is; None: no record."""
    timed = row.ok_for("clock.train_seconds")
    found = [(run, epochs_of(run)) for run in timed or row.ok]
    found = [(run, events) for run, events in found if events]
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
            epochs.append(EpochMean(number + 1, means.pop("seconds", None), means))
    return ByEpoch(row, len(runs), tuple(epochs), expected - len(epochs))


def thinned(epochs: Sequence[EpochMean], most: int) -> list[EpochMean]:
    """Leaves out epochs between others, where there are more than a line can show; never the last."""
    every = max(1, math.ceil(len(epochs) / most))
    return [*epochs[(len(epochs) - 1) % every :: every]]


def _by_number(
    run: RunResult, events: Mapping[int, Mapping[str, Any]], *, with_times: bool
) -> dict[int, dict[str, float]]:
    if not with_times:
        return {number: dict(_metrics(event)) for number, event in events.items()}
    numbers: dict[int, dict[str, float]] = {}
    elapsed: float | None = 0.0
    for number in range(max(events) + 1):
        event = events.get(number)
        seconds = event.get("train_seconds") if event else None
        elapsed = None if elapsed is None or seconds is None else elapsed + seconds
        if event:
            numbers[number] = dict([*_metrics(event), *_speeds(run, event)])
            if elapsed is not None:
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
