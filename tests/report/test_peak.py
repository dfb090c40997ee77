"""What share of a system's calibrated rate a run reaches, and what a report says of the calibration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.records.calibration import Calibration, Rate, write_calibration
from harness.records.result import ModelFacts, Resolved, Throughput
from harness.report import derived as peak
from harness.report.build import build_report
from harness.report.formats import as_json, markdown
from harness.results.study import study_of_folders

RATES = {"matmul": 5e14}


def rate(value: float, error: float = 0.01) -> Rate:
    return Rate(unit="FLOP/s", median=value, interquartile_range=0.0, relative_error=error, rounds=9)


def calibrated(system_id: str, *, slower: float = 1.0, error: float = 0.01, precision: str = "fp32") -> Calibration:
    rates: dict[str, Rate | None] = {
        f"{name}.{precision}": rate(value / slower, error) for name, value in RATES.items()
    }
    return Calibration(
        system_id=system_id,
        system=f"system {system_id}",
        measured_at="2026-01-01T00:00:00+00:00",
        device="cuda",
        threads=1,
        seconds=1.0,
        rates=rates,
        unavailable={"bf16": "the GPU has no units for it"},
    )


def fraction_of_peak(run: Any, calibration: Calibration | None) -> float | None:
    found = peak.fraction_of_peak([run], calibration)
    return found.mean if found else None


def test_a_run_above_the_peak_leaves_none_for_its_config(fake: Any) -> None:
    own = calibrated("a")
    own.rates["matmul.fp32"] = rate(3.34e12)
    runs = [
        fake.result("x", seed=seed).model_copy(update={"throughput": Throughput(samples_per_second=990.0 + 20 * seed)})
        for seed in range(2)
    ]
    assert fraction_of_peak(runs[0], own) == pytest.approx(0.99, abs=1e-3)
    assert peak.fraction_of_peak(runs, own) is None, "the calibration is as wrong for the other run"


def test_fraction_of_peak_by_hand(fake: Any) -> None:
    # 556,651,520 multiply-accumulates x 6 x 1000 images/s = 3.34 TFLOP/s.
    own = calibrated("a")
    own.rates["matmul.fp32"] = rate(1e13)
    result = fake.result("x", system_id="a").model_copy(update={"throughput": Throughput(samples_per_second=1000.0)})
    assert fraction_of_peak(result, own) == pytest.approx(0.334, abs=1e-3)
    on_four = result.model_copy(update={"num_processes": 4})
    assert fraction_of_peak(on_four, own) == pytest.approx(0.334 / 4, abs=1e-3)
    # On CPUs the processes of a machine share what one process was calibrated with.
    cpu = Resolved(device="cpu", mixed_precision="no", loader="resident", micro_batch_size=1)
    on_cpu = own.model_copy(update={"device": "cpu"})
    assert fraction_of_peak(on_four.model_copy(update={"resolved": cpu}), on_cpu) == pytest.approx(0.334, abs=1e-3)
    assert fraction_of_peak(result, on_cpu) is None  # calibrated with another device than it ran on


def test_fraction_of_peak_takes_the_precision_that_ran(fake: Any) -> None:
    own = calibrated("a")
    own.rates |= {"matmul.fp32": rate(1e14), "matmul.tf32": rate(2e14), "matmul.bf16": rate(4e14)}
    base = fake.result("x", train={"tf32": True})
    bf16 = Resolved(device="cuda", mixed_precision="bf16", loader="resident", micro_batch_size=1)
    fp16 = bf16.model_copy(update={"mixed_precision": "fp16"})
    whole = fraction_of_peak(fake.result("x"), own)
    assert whole
    assert fraction_of_peak(base, own) == pytest.approx(whole / 2)
    assert fraction_of_peak(base.model_copy(update={"resolved": bf16}), own) == pytest.approx(whole / 4)
    weights_too = bf16.model_copy(update={"mixed_precision": "bf16-true"})
    assert fraction_of_peak(base.model_copy(update={"resolved": weights_too}), own) == pytest.approx(whole / 4)
    assert fraction_of_peak(base.model_copy(update={"resolved": fp16}), own) is None


def test_no_fraction_of_peak_where_a_number_is_missing(fake: Any) -> None:
    own, result = calibrated("a"), fake.result("x")
    assert fraction_of_peak(result, own) is not None
    frozen = ModelFacts(parameters=10, trainable_parameters=4, multiply_accumulates=100)
    uncounted = ModelFacts(parameters=10, multiply_accumulates=None)
    for changes in ({"model": frozen}, {"model": uncounted}, {"throughput": Throughput()}, {"resolved": None}):
        assert fraction_of_peak(result.model_copy(update=changes), own) is None
    assert fraction_of_peak(result, None) is None


def test_the_column_and_its_note(fake: Any) -> None:
    results = [fake.result("x", seed=seed, system_id="a") for seed in range(2)]
    bare = fake.report(results)
    assert bare.tables[0].rows[0].values["fraction_of_peak"] is None
    report = fake.report(results, calibrations={"a": calibrated("a")})
    cell = report.tables[0].rows[0].values["fraction_of_peak"]
    assert cell and cell.n == 2 and cell.mean == pytest.approx(6 * 556_651_520 * 25_123.4 / 5e14)
    text = markdown(report)
    assert "of peak" in text and "calibrated here on 2026-01-01: fp32 500,000 GFLOP/s ± 1.0%" in text
    assert "of peak" not in markdown(bare)


def test_more_than_the_peak_is_the_calibrations_fault(fake: Any) -> None:
    slow = calibrated("a", slower=1e5)
    report = fake.report([fake.result("x", system_id="a")], calibrations={"a": slow})
    assert report.tables[0].rows[0].values["fraction_of_peak"] is None
    assert any("1 run was faster than the calibrated rate" in note for note in report.tables[0].every_note)


def test_a_precision_that_was_not_calibrated_is_said(fake: Any) -> None:
    bf16 = Resolved(device="cuda", mixed_precision="bf16", loader="resident", micro_batch_size=1)
    report = fake.report([fake.result("x", system_id="a", resolved=bf16)], calibrations={"a": calibrated("a")})
    assert "Of peak: no rate to compare with in bf16 (the GPU has no units for it)." in report.tables[0].every_note


def test_a_report_finds_the_calibrations_of_its_systems(fake: Any, tmp_path: Path) -> None:
    fake.store(tmp_path, [fake.result("x", system_id=name, run_id=f"x-{name}") for name in "ab"])
    for name in "ab":
        write_calibration(tmp_path, calibrated(name), {"system_id": name})
    study = study_of_folders([tmp_path / "milestones"])
    report = build_report(study)
    assert report.tables[0].rows[0].values["fraction_of_peak"]
    assert json.loads(json.dumps(as_json(report)))["systems"][0]["calibration"]["system_id"] == "a"

    (tmp_path / "systems" / "b" / "calibration.json").write_text("{")
    report = build_report(study)
    assert any("Unreadable record" in note and "calibration.json" in note for note in report.notes)


def test_a_disturbed_calibration_is_said(fake: Any) -> None:
    busy = calibrated("a").model_copy(update={"device": "cpu", "neighbours_cpus": 1.25, "threads": 2})
    cpu = Resolved(device="cpu", mixed_precision="no", loader="resident", micro_batch_size=1)
    text = markdown(fake.report([fake.result("x", system_id="a", resolved=cpu)], calibrations={"a": busy}))
    assert "Of peak: calibrated while other processes kept 1.2 CPUs busy: too high." in text


def test_an_earlier_record_does_not_deny_a_calibration(fake: Any) -> None:
    reasons = {"calibration": "the system was not calibrated", "energy": "not sampled"}
    [table] = fake.report([fake.result("x", unavailable=reasons)]).tables
    assert [note for note in table.notes if note.startswith("Not measured")] == ["Not measured: energy (not sampled)."]
