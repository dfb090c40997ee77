"""Drift, from anchors, and outliers: what a table says of them."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest

from harness.records.result import Telemetry, Throughput
from harness.report.formats.machine import as_json
from harness.report.numbers.noise import drift_of
from tests.report.conftest import run_rows

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def anchors(fake: Any, seconds: list[float], minutes_apart: float = 30) -> list[Any]:
    """Returns a run and its repetitions, in order."""
    found = []
    for number, value in enumerate(seconds):
        made = fake.result(seconds=value, run_id=f"r{number}")
        moment = START + datetime.timedelta(minutes=minutes_apart * number)
        repeat = {"spec": {**made.spec, "repeat": number}} if number else {}
        found.append(made.model_copy(update={"started_at": moment.isoformat(), **repeat}))
    return found


def test_a_machine_that_slows_down_by_a_tenth_is_said_to_drift(fake: Any) -> None:
    seconds = [100 * 1.1 ** (step / 5) * (1.001 if step % 2 else 0.999) for step in range(6)]
    drift = drift_of(anchors(fake, seconds))
    assert drift and drift.low is not None and drift.high is not None
    assert drift.change == pytest.approx(0.1, abs=0.002)
    assert 0 < drift.low < 0.1 < drift.high < 0.11
    assert (drift.runs, drift.hours) == (6, 2.5)
    assert drift.scatter == pytest.approx(0.0012, abs=0.0004)
    (note,) = [note for note in fake.report(anchors(fake, seconds)).tables[0].every_note if note.startswith("Drift")]
    assert "Drift: the machine drifted. By 6 runs of “base”, seed 0, over 2.5 hours" in note and "+10.1 %" in note


@pytest.mark.parametrize(
    ("minutes", "words"), [(0.005, "over 0.9 seconds"), (0.1, "over 18.0 seconds"), (10, "over 30.0 minutes")]
)
def test_the_span_of_the_anchors_has_a_unit_that_fits(fake: Any, minutes: float, words: str) -> None:
    runs = anchors(fake, [100, 101, 99, 101], minutes_apart=minutes)
    (note,) = [note for note in fake.report(runs).tables[0].every_note if note.startswith("Drift")]
    assert words in note


def test_noise_alone_is_no_drift(fake: Any) -> None:
    (note,) = [
        note for note in fake.report(anchors(fake, [100, 101, 99, 101, 100])).tables[0].every_note if "Drift" in note
    ]
    assert "no drift beyond the noise" in note and "scatter by 0.97 %" in note


@pytest.mark.parametrize(("seconds", "words"), [([100.0, 101.0], "too few anchors to tell"), ([100.0], None)])
def test_few_anchors_tell_little(fake: Any, seconds: list[float], words: str | None) -> None:
    # A single anchor whose repeated run has no result: nothing to compare it with.
    notes = [note for note in fake.report(anchors(fake, seconds)).tables[0].every_note if note.startswith("Drift")]
    assert [words in note for note in notes] == ([True] if words else [])


def test_anchors_enter_no_mean(fake: Any) -> None:
    report = fake.report(anchors(fake, [100, 400, 400, 400]))
    (row,) = report.tables[0].rows
    assert row.values["train_seconds"].mean == 100 and row.values["runs_ok"] == 1
    assert [row["spec.repeat"] for row in run_rows(report)] == [0, 1, 2, 3]
    drift = as_json(report)["systems"][0]["drift"]
    assert drift["runs"] == 4 and math.isclose(drift["hours"], 1.5)


def test_runs_are_listed_by_config_and_seed_and_anchors_come_last(fake: Any) -> None:
    made = [
        fake.result(label, seed=seed, run_id=f"{9 - seed}{label}", train={"epochs": epochs})
        for label, epochs in (("slow", 3), ("fast", 1))
        for seed in (0, 2, 10)
    ]
    anchor = made[0].model_copy(update={"run_id": "0", "spec": {**made[0].spec, "repeat": 1}})
    planned = [made[0], made[3]]
    rows = run_rows(fake.report(sorted([*made, anchor], key=lambda run: run.run_id), planned=planned))
    assert [row["run_id"] for row in rows] == [*(run.run_id for run in made), "0"]


def test_anchors_of_another_system_and_resumed_ones_do_not_count(fake: Any) -> None:
    runs = anchors(fake, [100, 100, 100, 200, 300])
    runs[3] = runs[3].model_copy(update={"resumed_at_steps": [4]})
    runs[4] = runs[4].model_copy(update={"system_id": "elsewhere"})
    here = next(table for table in fake.report(runs).tables if table.system_id != "elsewhere")
    assert here.drift and here.drift.runs == 3 and here.drift.change == pytest.approx(0)


def seeds(fake: Any, label: str, seconds: list[float], **more: Any) -> list[Any]:
    """Returns a config's runs."""
    return [
        fake.result(label, seed=seed, seconds=value, train={"epochs": 1 + len(label)}, **more)
        for seed, value in enumerate(seconds)
    ]


def test_a_run_that_took_longer_is_flagged_with_what_explains_it_and_kept(fake: Any) -> None:
    runs = [*seeds(fake, "a", [100, 101, 99, 125, 100]), *seeds(fake, "long", [50, 50.4, 49.6, 50.2, 49.9])]
    waited = Throughput(samples_per_second=20_000, data_wait_share=0.3)
    cool = Telemetry(gpu_temperature_celsius=61)
    runs = [run.model_copy(update={"telemetry": cool}) for run in runs]
    hot = Telemetry(gpu_temperature_celsius=84, gpu_throttled=True, gpu_throttle_reasons={"thermal": 0.5})
    runs[3] = runs[3].model_copy(update={"throughput": waited, "telemetry": hot})
    report = fake.report(runs)
    table = report.tables[0]
    (outlier,) = table.outliers
    assert (outlier.label, outlier.seed) == ("a", 3)
    assert outlier.deviation == pytest.approx(0.25) and outlier.score > 10
    assert outlier.because == (
        "its GPU throttled (thermal)",
        "share of time it waited for data 30 %, of the others 3.4 %",
        "GPU temperature 84, of the others 61",
    )
    (note,) = [note for note in table.every_note if note.startswith("Outlier")]
    assert "“a”, seed 3, took +25 % beside the median of its seeds" in note
    (row,) = [row for row in table.rows if row.label == "a"]
    assert row.values["train_seconds"].n == 5, "it is not dropped"
    assert as_json(report)["systems"][0]["outliers"][0]["seed"] == 3


def test_an_outlier_that_nothing_explains_says_so(fake: Any) -> None:
    runs = [*seeds(fake, "a", [100, 101, 99, 70, 100]), *seeds(fake, "bb", [50, 50.4, 49.6, 50.2, 49.9])]
    (note,) = [note for note in fake.report(runs).tables[0].every_note if note.startswith("Outlier")]
    assert "took -30 %" in note and "nothing that was recorded explains it" in note


@pytest.mark.parametrize("seconds", [[100, 150], [100, 101, 150], [100, 100, 100, 100, 100, 100, 100, 100, 100, 150]])
def test_too_few_seeds_or_no_noise_at_all_flag_nothing(fake: Any, seconds: list[float]) -> None:
    assert fake.report(seeds(fake, "a", seconds)).tables[0].outliers == ()


def test_a_machine_that_speeds_up_drifts_too(fake: Any) -> None:
    seconds = [100 * 0.9 ** (step / 5) * (1.001 if step % 2 else 0.999) for step in range(6)]
    drift = drift_of(anchors(fake, seconds))
    assert drift and drift.high is not None and drift.change == pytest.approx(-0.1, abs=0.002) and drift.high < 0
    (note,) = [note for note in fake.report(anchors(fake, seconds)).tables[0].every_note if note.startswith("Drift")]
    assert "Drift: the machine drifted." in note


def test_the_score_is_in_deviations_of_noise_that_few_seeds_make_look_too_small(fake: Any) -> None:
    noise = 0.01
    configs = ["a", "bb", "ccc", "dddd", "eeeee"]
    runs = [run for label in configs for run in seeds(fake, label, [100 * math.exp(k * noise) for k in (-1, 0, 1)])]
    runs += seeds(fake, "odd one", [100, 100 * math.exp(noise), 100 * math.exp(-noise), 100 * math.exp(20 * noise)])
    (outlier,) = fake.report(runs).tables[0].outliers
    # Residuals of three seeds: noise * sqrt(3 / 2); the odd one stands 19.5 noise above the median of its four.
    assert outlier.score == pytest.approx(19.5 / (1.4826 * math.sqrt(3 / 2)), rel=0.01)


def test_an_outlier_is_explained_beside_the_others_alone(fake: Any) -> None:
    runs = [
        *seeds(fake, "a", [100, 101, 150]),
        *(run for label in ("bb", "ccc") for run in seeds(fake, label, [50, 50.5, 49.5])),
    ]
    runs += seeds(fake, "dddd", [50, 50.5, 49.5])
    shares = (0.1, 0.2, 0.9)
    for index, share in enumerate(shares):
        waited = Throughput(samples_per_second=20_000, data_wait_share=share)
        runs[index] = runs[index].model_copy(update={"throughput": waited})
    (outlier,) = fake.report(runs).tables[0].outliers
    assert outlier.because == ("share of time it waited for data 90 %, of the others 15 %",)
