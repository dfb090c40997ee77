"""Drift, from anchors: what a table says of it."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest

from harness.report.drift import drift_of
from harness.report.formats import as_json
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
    assert drift
    assert drift.change == pytest.approx(0.1, abs=0.002)
    assert 0 < drift.low < 0.1 < drift.high < 0.11
    assert (drift.runs, drift.hours) == (6, 2.5)
    assert drift.scatter == pytest.approx(0.0012, abs=0.0004)
    (note,) = [note for note in fake.report(anchors(fake, seconds)).tables[0].every_note if note.startswith("Drift")]
    assert "Drift: the machine drifted. By 6 runs of “base”, seed 0, over 2.5 h" in note and "+10.1 %" in note


@pytest.mark.parametrize(("minutes", "words"), [(0.005, "over 0.9 s,"), (0.1, "over 18 s,"), (10, "over 30 min,")])
def test_the_span_of_the_anchors_has_a_unit_that_fits(fake: Any, minutes: float, words: str) -> None:
    runs = anchors(fake, [100, 101, 99, 101], minutes_apart=minutes)
    (note,) = [note for note in fake.report(runs).tables[0].every_note if note.startswith("Drift")]
    assert words in note


def test_noise_alone_is_no_drift(fake: Any) -> None:
    (note,) = [
        note for note in fake.report(anchors(fake, [100, 101, 99, 101, 100])).tables[0].every_note if "Drift" in note
    ]
    assert "no drift beyond the noise" in note and "the scatter around that line is 0.97 %" in note


@pytest.mark.parametrize(("seconds", "told"), [([100.0, 101.0], 1), ([100.0], 0)])
def test_of_few_anchors_the_drift_is_not_known(fake: Any, seconds: list[float], told: int) -> None:
    notes = [note for note in fake.report(anchors(fake, seconds)).tables[0].every_note if note.startswith("Drift")]
    assert len(notes) == told and all("not known, as of the anchors and the run" in note for note in notes)


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


def test_a_machine_that_speeds_up_drifts_too(fake: Any) -> None:
    seconds = [100 * 0.9 ** (step / 5) * (1.001 if step % 2 else 0.999) for step in range(6)]
    drift = drift_of(anchors(fake, seconds))
    assert drift and drift.change == pytest.approx(-0.1, abs=0.002) and drift.high < 0
    (note,) = [note for note in fake.report(anchors(fake, seconds)).tables[0].every_note if note.startswith("Drift")]
    assert "Drift: the machine drifted." in note
