"""Runs that shared their device: their accuracy counts, their times never, whatever is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.records.comparable import compares
from harness.records.result import Energy, RunResult, TargetReached, Telemetry
from harness.report.charts.accuracy_over_time import paying_time
from harness.report.charts.learning_curves import learning_curves
from harness.report.charts.over_epochs import over_epochs
from harness.report.formats.machine import run_rows
from harness.report.numbers.curves import curve_of
from harness.report.page.unmeasured import why_not

TIMES = ("train_seconds", "train_seconds_sd", "target_seconds", "target_median_seconds", "samples_per_second")
TIMES += ("data_wait_share", "eval_seconds", "build_seconds", "total_seconds", "train_joules", "fraction_of_peak")
OF_DEVICE = ("gpu_utilization", "gpu_power_watts", "host_cpu_share")
NOTE = (
    "Packed, {size} at a time: {whose}. Their times are left out, and what was read of the device that they shared; "
    "for clean ones run the suite without --pack, with another --output."
)


def result(fake: Any, label: str = "a", seed: int = 0, packed: int = 2, **more: Any) -> RunResult:
    """Returns a run with all numbers of time and of the device; a packed one took ten times as long."""
    seconds = 10.0 if packed == 1 else 100.0
    seen = Telemetry(
        gpu_utilization=0.9 if packed == 1 else 1.0,
        gpu_power_watts=seconds,
        host_cpu_share=0.5,
        gpu_shared=packed > 1,
        gpu_throttled=packed > 1,
    )
    return fake.result(
        label,
        seed=seed,
        seconds=seconds,
        packed=packed,
        target=TargetReached(metric="test.accuracy", at_least=0.5, epoch=1, train_seconds=seconds / 2),
        energy=Energy(train_joules=seconds),
        telemetry=seen,
        **more,
    )


def events(_: RunResult) -> dict[int, dict[str, Any]]:
    """Returns the events of the two epochs of a run."""
    split = {"accuracy": 0.5, "loss": 1.0}
    return {
        epoch: {"epoch": epoch, "train_seconds": 3.0, "wait_seconds": 1.0, "metrics": {"test": split, "train": split}}
        for epoch in range(2)
    }


@pytest.mark.parametrize("with_resumed", [False, True])
def test_accuracy_and_memory_count_and_times_never_do(fake: Any, with_resumed: bool) -> None:
    table = fake.report([result(fake, seed=seed) for seed in range(3)], with_resumed=with_resumed).tables[0]
    values = table.rows[0].values
    assert (values["runs_ok"], values["test_accuracy"].n, values["target_reached"]) == (3, 3, "3 of 3")
    assert values["peak_device_allocated_bytes"] == 3 * 2**30
    assert {name: values[name] for name in (*TIMES, *OF_DEVICE)} == dict.fromkeys((*TIMES, *OF_DEVICE))
    assert NOTE.format(size=2, whose="all runs here") in table.notes
    assert not any("throttled" in note or "Another process" in note for note in table.notes)


def test_clean_runs_of_a_config_keep_their_times(fake: Any) -> None:
    runs = [result(fake, seed=0, packed=1), result(fake, seed=1), result(fake, seed=2, packed=4)]
    table = fake.report(runs).tables[0]
    values = table.rows[0].values
    assert (values["train_seconds"].mean, values["train_seconds"].n, values["test_accuracy"].n) == (10, 1, 3)
    assert [values[name].mean for name in OF_DEVICE] == [0.9, 10, 0.5]
    assert NOTE.format(size="2 or 4", whose="2 of 3 runs of a") in table.notes
    assert [row["packed"] for row in run_rows(fake.report(runs))] == [1, 2, 4]
    assert "acked" not in "".join(fake.report(runs[:1]).tables[0].notes)


def test_a_run_that_was_packed_and_resumed_does_not_come_in_with_the_resumed(fake: Any) -> None:
    runs = [result(fake, seed=0, resumed_at_steps=[7]), result(fake, seed=1, packed=1, resumed_at_steps=[7])]
    notes = fake.report(runs, with_resumed=True).tables[0].notes
    assert any("Resumed from a checkpoint: 1 of 2 runs of a. Their times are sums" in note for note in notes)
    assert fake.report(runs, with_resumed=True).tables[0].rows[0].values["train_seconds"].n == 1
    assert not any("Resumed" in note for note in fake.report(runs[:1]).tables[0].notes)


def test_a_packed_config_is_on_no_front_of_time_and_beside_no_published_time(fake: Any) -> None:
    slow = [result(fake, "slow", seed, packed=1, accuracy=0.5) for seed in range(2)]
    best = [result(fake, "best", seed, train={"epochs": 3}) for seed in range(2)]
    references = {best[0].config_id: [fake.Published("clock.train_seconds", 9.0, "x")]}
    table = fake.report([*slow, *best], references=references).tables[0]
    rows = {row.label: row.values for row in table.rows}
    assert (rows["slow"]["on_front"], rows["best"]["on_front"]) == (True, None)
    assert rows["best"]["memory_front_probability"] is not None
    assert [one.row.label for one in paying_time(table)] == ["slow"]
    [seconds] = table.published.records
    assert (seconds["verdict"], seconds["ours_n"]) == ("not measured", 0)
    assert any("recorded no clock.train_seconds, or were resumed or packed." in note for note in table.published.notes)


def test_packed_anchors_show_no_drift(fake: Any) -> None:
    runs = [result(fake, packed=packed, run_id=f"r{number}") for number, packed in enumerate((1, 1, 2, 2))]
    for number, run in enumerate(runs):
        run.spec["repeat"] = number
        run.started_at = f"2026-01-01T0{number}:00:00+00:00"
    drift = fake.report(runs).tables[0].drift
    assert (drift.runs, drift.change) == (2, 0)


def test_their_learning_curves_are_by_epoch_alone(fake: Any) -> None:
    def table(packed: int) -> Any:
        runs = [result(fake, seed=seed, packed=packed) for seed in range(2)]
        return fake.report(runs, epochs_of=events, curve_of=lambda run: curve_of(events(run))).tables[0]

    assert all(chart for chart in (learning_curves(table(1), "seconds"), over_epochs(table(1))))
    by_epoch = learning_curves(table(2), "epoch")
    assert by_epoch and [point["accuracy"] for point in by_epoch.points] == [50] * 4
    assert learning_curves(table(2), "seconds") is over_epochs(table(2)) is None


def test_the_page_says_why_there_is_no_energy(fake: Any) -> None:
    packed, plain = (fake.report([result(fake, packed=size)]).tables[0] for size in (2, 1))
    assert why_not(packed, "energy.train_joules") == "the runs were packed or resumed, so theirs does not count"
    assert why_not(packed, "memory.process_device_bytes") == "the records give no reason"
    assert why_not(plain, "energy.train_joules") == "the records give no reason"


def test_records_from_before_there_was_packing_were_not_packed(fake: Any) -> None:
    value = json.loads(fake.result().model_dump_json())
    del value["packed"]
    assert RunResult.model_validate(value).packed == 1


def test_which_numbers_compare(fake: Any) -> None:
    plain, resumed, packed = fake.result(), fake.result(resumed_at_steps=[7]), fake.result(packed=2)
    own = ["test.accuracy", "selected.test", "memory.max_allocated_bytes", "memory.process_device_bytes", ""]
    shared = ["telemetry.gpu_utilization", "telemetry.host_cpu_share", "memory.device_bytes"]
    times = ["clock.train_seconds", "throughput.samples_per_second", "energy.host_joules", "target.train_seconds"]
    for names, whose in ((own, (1, 1, 1)), (shared, (1, 1, 0)), (times, (1, 0, 0))):
        for name in names:
            assert tuple(compares(run, name) for run in (plain, resumed, packed)) == whose, name
    assert compares(resumed, times[0], with_resumed=True) and not compares(packed, times[0], with_resumed=True)
