"""Times of several systems: apart as they were taken, and in one table only where both were calibrated."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.records.calibration import Calibration, Rate, write_calibration
from harness.records.result import ModelFacts, Resolved, Throughput
from harness.report.build import Options, build_report
from harness.report.formats.machine import as_json, summary_rows
from harness.report.formats.markdown import markdown
from harness.report.normalised import normalised_table, relative_speed, require_no_ranking_of_raw_times
from harness.report.numbers import peak
from harness.report.write import write_report
from harness.results.study import study_of_folders

RATES = {"matmul": 5e14, "conv_resnet18_stem": 5e13, "conv_resnet18": 5e14, "conv_cnn3": 2e14, "conv_vgg": 5e14}


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


def on_two_systems(fake: Any, factor: float, **more: Any) -> list[Any]:
    results = []
    for system_id, slower in (("a", 1.0), ("b", factor)):
        for label, seconds in (("small", 10.0), ("large", 40.0)):
            train = {"epochs": 1 if label == "small" else 2}
            results += [
                fake.result(
                    label,
                    seed=seed,
                    system_id=system_id,
                    seconds=slower * seconds * (1 + 0.01 * seed),
                    accuracy=seconds / 100 + 0.5,
                    train=train,
                    **more,
                )
                for seed in range(3)
            ]
    return results


def times(table: Any) -> dict[tuple[str, str], dict[str, Any]]:
    return {(record["label"], record["system_id"]): record for record in table.records}


def test_a_slow_system_comes_out_as_fast_as_the_other(fake: Any) -> None:
    calibrations = {"a": calibrated("a"), "b": calibrated("b", slower=3.0)}
    report = fake.report(on_two_systems(fake, 3.0), calibrations=calibrations)
    table = normalised_table(report, "", "normalised_train_seconds")
    assert table and table.title == "Normalised: milestones, train times as on system a"
    found = times(table)
    for label in ("small", "large"):
        own, other = found[label, "a"], found[label, "b"]
        assert other["normalised_train_seconds"] == pytest.approx(own["normalised_train_seconds"])
        assert other["normalised_train_seconds_low"] < own["normalised_train_seconds"]
        assert own["normalised_train_seconds"] < other["normalised_train_seconds_high"]
    assert [record["label"] for record in table.records] == ["small", "small", "large", "large"]
    assert found["small", "b"]["speed"] == pytest.approx(1 / 3)
    assert found["small", "a"]["speed"] == found["small", "a"]["speed_low"] == 1.0
    # Four digits in the files, a unit and both ends for people.
    assert all(re.fullmatch(r"[\d.]+ to [\d.]+ s", cell) for cell in table.columns[5].cells)


@pytest.mark.slow
def test_the_stated_error_covers_the_truth(fake: Any) -> None:
    """A system planted three times slower, in calibrations and runs that scatter: how often the interval holds."""
    rng, held, widths = random.Random(1), 0, []
    trials = 300
    base = on_two_systems(fake, 3.0)
    for _ in range(trials):
        results = [_scattered(result, rng, 0.02) for result in base]
        own = {name: _disturbed(calibrated(name, slower=3.0 if name == "b" else 1.0), rng, 0.02) for name in "ab"}
        table = normalised_table(fake.report(results, calibrations=own), "a", "test_accuracy")
        assert table
        record = times(table)["small", "b"]
        truth = 10.0 * 1.01  # the mean of the seeds' planted times
        held += record["normalised_train_seconds_low"] <= truth <= record["normalised_train_seconds_high"]
        widths.append(math.log(record["normalised_train_seconds_high"] / record["normalised_train_seconds_low"]) / 2)
    assert held / trials >= 0.93
    assert sorted(widths)[trials // 2] < 0.16  # 5 % of the seeds, 6 % of the mix, 2 % of the rounds: not just anything


def _scattered(result: Any, rng: random.Random, sd: float) -> Any:
    planted = result.clock.train_seconds / (1 + 0.01 * result.seed) * 1.01
    clock = result.clock.model_copy(update={"train_seconds": planted * math.exp(rng.gauss(0, sd))})
    return result.model_copy(update={"clock": clock})


def _disturbed(calibration: Calibration, rng: random.Random, sd: float) -> Calibration:
    rates = {name: rate(own.median * math.exp(rng.gauss(0, sd)), sd) for name, own in calibration.rates.items() if own}
    return calibration.model_copy(update={"rates": rates})


def test_the_interval_holds_for_one_more_operation_as_often_as_it_says() -> None:
    """Operations planted to disagree: the speed of one more of the kind lies inside in 95 of 100 pairs of systems."""
    rng, held, trials = random.Random(2), 0, 1000
    for _ in range(trials):
        own = calibrated("b", error=0.0)
        speeds = [math.exp(rng.gauss(math.log(3), 0.2)) for _ in RATES]
        for (name, value), speed in zip(RATES.items(), speeds, strict=True):
            own.rates[f"{name}.fp32"] = rate(value * speed, 0.0)
        speed = relative_speed(own, calibrated("a", error=0.0), "fp32")
        assert speed
        held += abs(rng.gauss(math.log(3), 0.2) - math.log(speed.ratio)) <= speed.log_error
    assert 0.93 <= held / trials <= 0.97


def test_a_calibration_that_was_disturbed_is_said(fake: Any) -> None:
    calm = calibrated("a").model_copy(update={"device": "cpu", "threads": 2, "neighbours_cpus": 0.1})
    busy = calm.model_copy(update={"system_id": "b", "neighbours_cpus": 1.25})
    cpu = Resolved(device="cpu", mixed_precision="no", loader="resident", micro_batch_size=1)
    calibrations = {"a": calm, "b": busy}
    report = fake.report(on_two_systems(fake, 1.0, resolved=cpu), calibrations=calibrations)
    says = "calibrated while other processes kept 1.2 CPUs busy"
    table = normalised_table(report, "", "test_accuracy")
    assert table and [note for note in table.notes if "calibrated while" in note] == [
        f"system b: {says}; its speed is too low, by more than the interval says."
    ]
    assert markdown(report).count(f"Of peak: {says}: too high.") == 1


def test_the_error_grows_where_the_operations_disagree() -> None:
    reference = calibrated("a")
    alike = relative_speed(calibrated("b", slower=2.0), reference, "fp32")
    unlike = calibrated("b", slower=2.0)
    unlike.rates["matmul.fp32"] = rate(RATES["matmul"] * 4)
    apart = relative_speed(unlike, reference, "fp32")
    assert alike and apart
    # By hand: 1.96 sqrt(2 x 5 x 0.01^2) / 5 of the rounds; no disagreement.
    assert alike.log_error == pytest.approx(1.959964 * math.sqrt(10 * 0.01**2) / 5, rel=1e-5)
    sd = math.log(8) / math.sqrt(5)  # of four equal numbers and one that is log(8) above them
    expected = math.hypot(alike.log_error, 2.776445 * sd * math.sqrt(1.2))
    assert apart.log_error == pytest.approx(expected, rel=1e-5)
    assert apart.ratio == pytest.approx(0.5 * 8 ** (1 / 5))


@pytest.mark.usefixtures("no_charts")
def test_raw_times_share_no_ranking(fake: Any, tmp_path: Path) -> None:
    calibrations = {"a": calibrated("a"), "b": calibrated("b", slower=3.0)}
    report = fake.report(on_two_systems(fake, 3.0), calibrations=calibrations, sort="train_seconds")
    assert [(table.system_id, [row.label for row in table.rows]) for table in report.tables] == [
        ("a", ["small", "large"]),
        ("b", ["small", "large"]),
    ]
    # Each system has a front of its own: by raw times, none of b's configs would be on it.
    assert all(row.values["on_front"] for table in report.tables for row in table.rows)
    assert [row["system_id"] for row in summary_rows(report)] == ["a", "a", "b", "b"]  # whatever it is sorted by
    assert [len(system["configs"]) for system in as_json(report)["systems"]] == [2, 2]
    write_report(tmp_path, report)
    assert not (tmp_path / "normalised.csv").exists()
    table = normalised_table(report, "", "test_accuracy")
    write_report(tmp_path, dataclasses.replace(report, normalised=table))
    head = (tmp_path / "normalised.csv").read_text().splitlines()[0]
    # No raw time stands in a table that ranks systems together.
    assert [name for name in head.split(",") if "seconds" in name and "normalised" not in name] == []
    write_report(tmp_path, report)
    assert not (tmp_path / "normalised.csv").exists()  # an earlier report's


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sort": "train_seconds", "normalised": True},
            "--sort train_seconds with --normalised: run times of different",
        ),
        ({"sort": "samples_per_second_mean", "normalised": True}, "--sort samples_per_second_mean with --normalised"),
        (
            {"sort": "normalised_train_seconds"},
            "--sort normalised_train_seconds: run times of different systems share no",
        ),
        ({"relative_to": "a"}, "--relative-to a: run times of different systems share no ranking"),
    ],
)
def test_a_ranking_of_raw_times_is_refused_with_the_reason(options: dict[str, Any], message: str) -> None:
    asked = {"sort": "", "relative_to": "", "normalised": False, **options}
    with pytest.raises(HarnessError, match=re.escape(message)) as caught:
        require_no_ranking_of_raw_times(asked["sort"], asked["relative_to"], normalised=asked["normalised"])
    assert "--normalised" in caught.value.hint


@pytest.mark.parametrize(
    ("sort", "relative_to", "normalised", "refused"),
    [
        ("train_seconds", "", False, False),
        ("train_seconds", "", True, True),
        ("normalised_train_seconds", "a", True, False),
        ("normalised_train_seconds", "a", False, True),
        ("test_accuracy", "", True, False),
    ],
)
def test_what_may_be_asked_for(sort: str, relative_to: str, normalised: bool, refused: bool) -> None:
    try:
        require_no_ranking_of_raw_times(sort, relative_to, normalised=normalised)
    except HarnessError:
        said = True
    else:
        said = False
    assert said == refused


def test_a_system_that_was_not_calibrated_is_refused(fake: Any) -> None:
    calibrations = {"a": calibrated("a")}
    report = fake.report(on_two_systems(fake, 3.0), calibrations=calibrations)
    with pytest.raises(HarnessError, match=r"--normalised: system b \(b\) was not calibrated") as caught:
        normalised_table(report, "", "test_accuracy")
    assert "harness calibrate" in caught.value.hint
    report = fake.report(on_two_systems(fake, 3.0), calibrations={**calibrations, "b": calibrated("b")})
    with pytest.raises(HarnessError, match="--relative-to syste c: no result is of that system") as caught:
        normalised_table(report, "syste c", "test_accuracy")
    assert "system" in caught.value.hint


def test_the_reference_is_named(fake: Any) -> None:
    calibrations = {"a": calibrated("a"), "b": calibrated("b", slower=2.0)}
    report = fake.report(on_two_systems(fake, 2.0), calibrations=calibrations)
    for name in ("b", "system b"):
        table = normalised_table(report, name, "test_accuracy")
        assert table and table.title.endswith("as on system b")
        assert times(table)["small", "a"]["normalised_train_seconds"] == pytest.approx(2 * 10.1)


def test_what_cannot_be_normalised_says_why(fake: Any) -> None:
    bf16 = Resolved(device="cuda", mixed_precision="bf16", loader="resident", micro_batch_size=1)
    results = [
        fake.result("two", system_id="a", num_processes=2),
        fake.result("half", system_id="a", resolved=bf16, train={"epochs": 2}),
        fake.result("failed", system_id="a", status="failed", train={"epochs": 3}),
        fake.result("fine", system_id="a", train={"epochs": 4}),
    ]
    calibrations = {"a": calibrated("a")}
    table = normalised_table(fake.report(results, calibrations=calibrations), "", "test_accuracy")
    assert table
    reasons = {record["label"]: record["not_normalised"] for record in table.records}
    assert reasons == {
        "fine": None,
        "two": "on several processes: the mix has no communication",
        "half": "bf16 is not calibrated on both systems",
        "failed": "no train time",
    }
    assert table.records[0]["label"] == "fine"
    # One seed on the reference system: neither part of the error is there.
    assert table.records[0]["normalised_train_seconds_low"] is None
    assert all(record["normalised_train_seconds"] is None for record in table.records[1:])
    assert any(note.startswith("One seed") for note in table.notes)


def test_runs_of_several_precisions_are_not_mixed(fake: Any) -> None:
    results = [
        fake.result("x", seed=0, config_id="x"),
        fake.result("x", seed=1, config_id="x", train={"tf32": True}),
    ]
    own = calibrated("a1b2c3")
    own.rates |= calibrated("a1b2c3", precision="tf32").rates
    table = normalised_table(fake.report(results, calibrations={"a1b2c3": own}), "", "test_accuracy")
    assert table and table.records[0]["not_normalised"] == "runs in fp32 and tf32"


def test_docs_define_the_columns(fake: Any) -> None:
    calibrations = {name: calibrated(name) for name in "ab"}
    table = normalised_table(fake.report(on_two_systems(fake, 1.0), calibrations=calibrations), "", "test_accuracy")
    text = (Path(__file__).parents[2] / "docs" / "columns.md").read_text(encoding="utf-8")
    section = next(part for part in text.split("\n## ") if "`normalised.csv`" in part.partition("\n")[0])
    cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    assert table and list(table.records[0]) == [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


# --- fraction of peak ---


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


# --- from the disk ---


def test_a_report_finds_the_calibrations_of_its_systems(fake: Any, tmp_path: Path) -> None:
    results = on_two_systems(fake, 3.0)
    for seed, result in enumerate(results):
        result.run_id = f"{result.run_id}-{seed}"
    fake.store(tmp_path, results)
    for one in (calibrated("a"), calibrated("b", slower=3.0)):
        write_calibration(tmp_path, one, {"system_id": one.system_id})
    study = study_of_folders([tmp_path / "milestones"])
    report = build_report(study, Options("normalised_train_seconds", relative_to=""))
    assert report.normalised and len(report.normalised.records) == 4
    assert report.tables[0].rows[0].values["fraction_of_peak"]
    assert json.loads(json.dumps(as_json(report)))["systems"][0]["calibration"]["system_id"] == "a"

    (tmp_path / "systems" / "b" / "calibration.json").write_text("{")
    report = build_report(study)
    assert report.normalised is None
    assert any("Unreadable record" in note and "calibration.json" in note for note in report.notes)
    with pytest.raises(HarnessError, match="was not calibrated"):
        build_report(study, Options(relative_to=""))


def test_an_earlier_record_does_not_deny_a_calibration(fake: Any) -> None:
    reasons = {"calibration": "the system was not calibrated", "energy": "not sampled"}
    [table] = fake.report([fake.result("x", unavailable=reasons)]).tables
    assert [note for note in table.notes if note.startswith("Not measured")] == ["Not measured: energy (not sampled)."]
