"""Published numbers beside ours, a row each, with a verdict."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.records.comparable import MARKED, is_of_time
from harness.records.result import SPLITS, RunResult, metric
from harness.report.numbers.rows import Row
from harness.report.texts import NOTHING, Beside, Written, column_texts, listed, one_line, span
from harness.results.columns import Column, kind_of
from harness.statistics.intervals import Summary, expected_mean, summarise

if TYPE_CHECKING:
    from harness.suite.file import Reference

REPRODUCED, DIFFERS, ONE_SEED = "reproduced", "differs", "one seed"
OTHER_SYSTEM, OTHER_IMAGES, NOT_RUN, NOT_MEASURED = "other system", "other images", "not run", "not measured"
AtEpoch = Callable[[RunResult, str, int], float | None]
"""Gives a metric of a run, by its dotted name, after an epoch, counted from 1; None where it was not evaluated then."""


@dataclass(frozen=True)
class Reproduction:
    """A published number and what we have beside it.

    Attributes:
        expected: where the mean of as many other runs of our recipe would lie, 95 %; None where there is no verdict.
    """

    config_id: str
    label: str
    reference: Reference
    ours: Summary | None
    expected: tuple[float, float] | None
    verdict: str

    @property
    def difference(self) -> float | None:
        """Ours minus the published number; None where the two do not compare."""
        if self.ours is None or self.verdict == OTHER_SYSTEM:
            return None
        return self.ours.mean - self.reference.value


def side_by_side(
    title: str,
    system_id: str,
    system: str,
    rows: Sequence[Row],
    references: Mapping[str, Sequence[Reference]],
    labels: Mapping[str, str],
    overrides: Mapping[str, Any],
    at_epoch: AtEpoch,
) -> Beside | None:
    """Returns the table of a system, or None for a suite without references.

    Args:
        rows: of this system.
        references: by config_id; every one gets a row, whether its config has a result or not.
        labels: of the configs, by config_id.
        overrides: what the runs were given that the suite does not say.
        at_epoch: for numbers of another epoch than the last.
    """
    by_config = {row.config_id: row for row in rows}
    comparisons = [
        _compared(config_id, labels, by_config.get(config_id), reference, at_epoch)
        for config_id, own in references.items()
        for reference in own
    ]
    if not comparisons:
        return None
    return Beside(
        title,
        tuple(_columns(comparisons)),
        tuple(one.ours is None for one in comparisons),
        tuple(_record(one, system_id, system) for one in comparisons),
        tuple(_notes(comparisons, overrides)),
    )


def _compared(
    config_id: str, labels: Mapping[str, str], row: Row | None, reference: Reference, at_epoch: AtEpoch
) -> Reproduction:
    """What a split's images say compares across systems; times, throughput, memory and energy never do."""
    name, epoch = reference.metric, reference.epoch
    runs = row.ok_for(name) if row else []
    ours = summarise([metric(run, name) if epoch is None else at_epoch(run, name, epoch) for run in runs])
    split, expected = name.partition(".")[0], None
    if ours is None:
        verdict = NOT_MEASURED if row and row.ok else NOT_RUN
    elif split not in SPLITS:
        verdict = OTHER_SYSTEM
    elif not reference.same_images and kind_of(name) != "percent":
        verdict = OTHER_IMAGES
    elif (expected := _expected(reference, ours, runs)) is None:
        verdict = ONE_SEED
    else:
        rounding = 1e-12 * max(1.0, abs(reference.value))  # equal seeds leave an interval as wide as floats err
        inside = expected[0] - rounding <= reference.value <= expected[1] + rounding
        verdict = REPRODUCED if inside else DIFFERS
    if expected and kind_of(name) == "percent":  # no accuracy lies beyond
        expected = max(0.0, expected[0]), min(1.0, expected[1])
    label = row.label if row else labels.get(config_id, config_id)
    return Reproduction(config_id, label, reference, ours, expected, verdict)


def _expected(reference: Reference, ours: Summary, runs: Sequence[RunResult]) -> tuple[float, float] | None:
    """Of other images, as many as ours, the variance is at most that of two shares of independent images."""
    if reference.same_images:
        return expected_mean(ours, reference.runs)
    images = min(_images(run, reference.metric.partition(".")[0]) for run in runs)
    return expected_mean(ours, reference.runs, 2 * ours.mean * (1 - ours.mean) / images, images)


def _images(run: RunResult, split: str) -> int:
    return max(1, getattr(run.data, f"{split}_samples"))


def _columns(comparisons: Sequence[Reproduction]) -> Iterator[Written]:
    """A row's numbers share a precision; its kind is its metric's."""
    numbers = [_texts(one) for one in comparisons]
    yield Written("label", "config", [one_line(one.label) for one in comparisons])
    yield Written("metric", "metric", [_metric(one.reference) for one in comparisons], 2)
    yield Written("published", "published", [texts[0] for texts in numbers], 2, numeric=True)
    yield Written("ours", "ours (mean)", [texts[1] for texts in numbers], 2, numeric=True)
    yield Written("difference", "difference", [texts[2] for texts in numbers], 3, numeric=True)
    yield Written("interval", "expected by ours", [texts[3] for texts in numbers], 4, numeric=True)
    yield Written("seeds", "seeds", [str(one.ours.n) if one.ours else "0" for one in comparisons], 5, numeric=True)
    runs = [str(one.reference.runs) for one in comparisons]
    yield Written("published_runs", "published runs", runs, 7, numeric=True)
    yield Written("source", "source", [one_line(one.reference.source) for one in comparisons], 6)
    yield Written("verdict", "verdict", [one.verdict for one in comparisons], 1)


def _metric(reference: Reference) -> str:
    return reference.metric if reference.epoch is None else f"{reference.metric}, epoch {reference.epoch}"


def _texts(one: Reproduction) -> tuple[str, str, str, str]:
    column = Column("", "", kind_of(one.reference.metric))
    ours = one.ours
    ends = list(one.expected or ())
    own = [ours.mean if ours else None, *ends]
    texts = column_texts(column, [one.reference.value, *own])
    if one.difference is None:  # a time of another system may be of another size
        texts = [*column_texts(column, [one.reference.value]), *column_texts(column, own)]
    difference = column_texts(dataclasses.replace(column, signed=True), [one.difference])[0]
    return texts[0], texts[1], difference, span(texts[2], texts[3]) if ends else NOTHING


def _record(one: Reproduction, system_id: str | None, system: str | None) -> dict[str, Any]:
    return {
        "system_id": system_id,
        "system": system,
        "config_id": one.config_id,
        "label": one.label,
        "metric": one.reference.metric,
        "epoch": one.reference.epoch,
        "published": one.reference.value,
        "published_runs": one.reference.runs,
        "ours_mean": one.ours.mean if one.ours else None,
        "ours_ci95": one.ours.ci95 if one.ours else None,
        "ours_n": one.ours.n if one.ours else 0,
        "difference": one.difference,
        "expected_low": one.expected[0] if one.expected else None,
        "expected_high": one.expected[1] if one.expected else None,
        "verdict": one.verdict,
        "source": one.reference.source,
    }


def _notes(comparisons: Sequence[Reproduction], overrides: Mapping[str, Any]) -> Iterator[str]:
    verdicts = Counter(one.verdict for one in comparisons)
    yield f"Published numbers: {', '.join(f'{verdicts[name]} {name}' for name in sorted(verdicts))}."
    changed = {path: value for path, value in overrides.items() if path != "seeds"}
    if changed:
        yield (
            f"Overrides: {json.dumps(changed)}. The published runs had none: "
            "a verdict here says nothing of the set-up that was published."
        )
    if verdicts[REPRODUCED] or verdicts[DIFFERS]:
        yield (
            "reproduced: the published number lies in the 95 % prediction interval of our seeds for as many "
            "runs as were published; differs: outside, as one number of twenty does by chance. Few seeds make it wide, "
            "and then only large differences show."
        )
        other = any(one.expected and not one.reference.same_images for one in comparisons)
        yield (
            "It is taken for granted that both were measured on the same test images"
            f"{', but where the suite says `same_images: false`' if other else ''}."
        )
    if verdicts[ONE_SEED]:
        yield "one seed: how far seeds scatter is not known, so there is no verdict; a second seed gives one."
    if verdicts[OTHER_IMAGES]:
        yield "other images: how far such a number differs from one set of test images to another is not known."
    if verdicts[OTHER_SYSTEM]:
        metrics = dict.fromkeys(_metric(one.reference) for one in comparisons if one.verdict == OTHER_SYSTEM)
        yield f"other system: {listed(list(metrics))} was taken elsewhere; times of different systems do not compare."
    if verdicts[NOT_MEASURED]:
        metrics = dict.fromkeys(_metric(one.reference) for one in comparisons if one.verdict == NOT_MEASURED)
        times = f", or are {MARKED}" if any(map(is_of_time, metrics)) else ""
        yield f"not measured: the runs ended ok, but recorded no {listed(list(metrics))}{times}."
