"""Published numbers beside ours, a row each, with a verdict."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.records.comparable import MARKED, is_of_time
from harness.records.planned import folder_of
from harness.records.result import SPLITS, RunResult, metric
from harness.report.rows import Row
from harness.report.texts import NOTHING, TextColumn, TextTable, column_texts, listed, one_line, span
from harness.results.columns import Column, measure_of
from harness.results.study import Study
from harness.statistics.intervals import Summary, expected_mean, summarise

if TYPE_CHECKING:
    from harness.suite.file import Reference

REPRODUCED, DIFFERS, ONE_SEED = "reproduced", "differs", "one seed"
OTHER_SYSTEM, OTHER_IMAGES, NOT_RUN, NOT_MEASURED = "other system", "other images", "not run", "not measured"


def side_by_side(title: str, rows: Sequence[Row], study: Study) -> TextTable | None:
    """Returns the table of a system, or None for a suite without references.

    Args:
        rows: of this system.
        study: every published number of it gets a row, whether its config has a result or not.
    """
    by_config = {row.config_id: row for row in rows}
    references = [(config_id, one) for config_id, own in study.references().items() for one in own]
    if not references:
        return None
    records = [_compared(config_id, by_config.get(config_id), one, study) for config_id, one in references]
    other_images = any(
        record["expected_low"] is not None and not one.same_images
        for record, (_, one) in zip(records, references, strict=True)
    )
    return TextTable(
        title,
        tuple(_columns(records)),
        tuple(record["ours_mean"] is None for record in records),
        tuple(records),
        tuple(_notes(records, study.question.overrides, other_images=other_images)),
    )


def _compared(config_id: str, row: Row | None, reference: Reference, study: Study) -> dict[str, Any]:
    """Returns a published number and what we have beside it, as `references.csv` has it.

    What a split's images say compares across systems; times, throughput, memory and energy never do. What is expected
    is where the mean of as many other runs of our recipe would lie, 95 %.
    """
    name, epoch = reference.metric, reference.epoch
    runs = row.ok_for(name) if row else []
    ours = summarise(
        [
            metric(run, name) if epoch is None else folder_of(study.root, study.name, run).metric_at(name, epoch)
            for run in runs
        ]
    )
    split, kind, expected = name.partition(".")[0], measure_of(name)[1], None
    if ours is None:
        verdict = NOT_MEASURED if row and row.ok else NOT_RUN
    elif split not in SPLITS:
        verdict = OTHER_SYSTEM
    elif not reference.same_images and kind != "percent":
        verdict = OTHER_IMAGES
    elif (expected := _expected(reference, ours, runs)) is None:
        verdict = ONE_SEED
    else:
        rounding = 1e-12 * max(1.0, abs(reference.value))  # equal seeds leave an interval as wide as floats err
        inside = expected[0] - rounding <= reference.value <= expected[1] + rounding
        verdict = REPRODUCED if inside else DIFFERS
    if expected and kind == "percent":  # no accuracy lies beyond
        expected = max(0.0, expected[0]), min(1.0, expected[1])
    return {
        "config_id": config_id,
        "label": study.labels.get(config_id) or study.question.labels[config_id],
        "metric": name,
        "epoch": epoch,
        "published": reference.value,
        "published_runs": reference.runs,
        "ours_mean": ours.mean if ours else None,
        "ours_ci95": ours.ci95 if ours else None,
        "ours_n": ours.n if ours else 0,
        "difference": None if ours is None or verdict == OTHER_SYSTEM else ours.mean - reference.value,
        "expected_low": expected[0] if expected else None,
        "expected_high": expected[1] if expected else None,
        "verdict": verdict,
        "source": reference.source,
    }


def _expected(reference: Reference, ours: Summary, runs: Sequence[RunResult]) -> tuple[float, float] | None:
    """Of other images, as many as ours, the variance is at most that of two shares of independent images."""
    if reference.same_images:
        return expected_mean(ours, reference.runs)
    split = reference.metric.partition(".")[0]
    images = min(max(1, getattr(run.data, f"{split}_samples")) for run in runs)
    return expected_mean(ours, reference.runs, 2 * ours.mean * (1 - ours.mean) / images, images)


def _columns(records: Sequence[Mapping[str, Any]]) -> Iterator[TextColumn]:
    """A row's numbers share a precision; its kind is its metric's."""
    numbers = [_texts(one) for one in records]
    published, ours, difference, expected = map(list, zip(*numbers, strict=True))
    runs = [str(one["published_runs"]) for one in records]
    yield TextColumn("label", "config", [one_line(one["label"]) for one in records])
    yield TextColumn("metric", "metric", [_metric(one) for one in records], 2)
    yield TextColumn("published", "published", published, 2, numeric=True)
    yield TextColumn("ours", "ours (mean)", ours, 2, numeric=True)
    yield TextColumn("difference", "difference", difference, 3, numeric=True)
    yield TextColumn("interval", "expected by ours", expected, 4, numeric=True)
    yield TextColumn("seeds", "seeds", [str(one["ours_n"]) for one in records], 5, numeric=True)
    yield TextColumn("published_runs", "published runs", runs, 7, numeric=True)
    yield TextColumn("source", "source", [one_line(one["source"]) for one in records], 6)
    yield TextColumn("verdict", "verdict", [one["verdict"] for one in records], 1)


def _metric(record: Mapping[str, Any]) -> str:
    return record["metric"] if record["epoch"] is None else f"{record['metric']}, epoch {record['epoch']}"


def _texts(record: Mapping[str, Any]) -> tuple[str, str, str, str]:
    column = Column("", "", measure_of(record["metric"])[1])
    own = [record["ours_mean"], record["expected_low"], record["expected_high"]]
    if record["difference"] is None:  # a time of another system may be of another size
        texts = [*column_texts(column, [record["published"]]), *column_texts(column, own)]
    else:
        texts = column_texts(column, [record["published"], *own])
    difference = column_texts(dataclasses.replace(column, signed=True), [record["difference"]])[0]
    return texts[0], texts[1], difference, NOTHING if own[1] is None else span(texts[2], texts[3])


def _notes(records: Sequence[Mapping[str, Any]], overrides: Mapping[str, Any], *, other_images: bool) -> Iterator[str]:
    verdicts = Counter(one["verdict"] for one in records)

    def metrics_of(verdict: str) -> list[str]:
        return list(dict.fromkeys(_metric(one) for one in records if one["verdict"] == verdict))

    changed = {path: value for path, value in overrides.items() if path != "seeds"}
    if changed:
        yield (
            f"Overrides: {json.dumps(changed)}. The published runs had none: "
            "the verdicts do not apply to the published set-up."
        )
    if verdicts[REPRODUCED] or verdicts[DIFFERS]:
        yield (
            "reproduced: the published number lies in the 95 % prediction interval of our seeds for as many "
            "runs as were published; differs: outside, which happens to one number in twenty by chance. With few "
            "seeds it is wide, and only large differences are detected."
        )
        yield (
            "Assumption: both were measured on the same test images"
            f"{', unless the suite says `same_images: false`' if other_images else ''}."
        )
    if verdicts[ONE_SEED]:
        yield "one seed: the scatter over seeds is not known, so there is no verdict; a second seed gives one."
    if elsewhere := metrics_of(OTHER_SYSTEM):
        yield f"other system: {listed(elsewhere)} was measured elsewhere; times of different systems do not compare."
    if missing := metrics_of(NOT_MEASURED):
        times = f", or are {MARKED}" if any(map(is_of_time, missing)) else ""
        yield f"not measured: the runs ended ok, but recorded no {listed(missing)}{times}."
