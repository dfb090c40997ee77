"""Runs whose times are not their own or not like those of others: each mark does the same in each output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.records.comparable import MARKED, MARKS, compares, marks, untimed_by
from harness.records.result import Energy, RunResult, TargetReached, Telemetry
from harness.report.charts.lines import curves, learning_curves, over_epochs
from harness.report.epochs import curve_of
from harness.report.formats import as_json, summary_rows
from tests.marked import MARKING, REASONS
from tests.report.conftest import run_rows

TIMES = ("train_seconds", "train_seconds_sd", "target_seconds", "target_median_seconds", "samples_per_second")
TIMES += ("data_wait_share", "eval_seconds", "build_seconds", "total_seconds", "train_joules", "fraction_of_peak")
OF_DEVICE = ("gpu_utilization", "gpu_power_watts", "host_cpu_share")
NOTES = {
    "packed": "Packed (2 at a time): {}. Their times are left out, and the readings of the shared device; "
    "for clean times run the suite without --pack and with another --output.",
    "disturbed": "Disturbed (other processes took 52 % of its cores): {}. Their times are left out; "
    "`harness run SUITE --retake N` trains them again, up to N times each.",
    "elsewhere": "Run elsewhere (in suite other): {}. Their times are left out: they were not interleaved with the "
    "other runs here.",
    "environment": "Another environment than most runs (OMP_NUM_THREADS 1, not unset): {}. Their times are left out; "
    "for times that count set them as in the other runs, and use another --output.",
    "resumed": "Resumed from a checkpoint (at step 7): {}. Their times are left out; --with-resumed includes them.",
}
each_mark = pytest.mark.parametrize("mark", MARKS)


def result(fake: Any, label: str = "a", seed: int = 0, mark: str = "", **more: Any) -> RunResult:
    """Returns a run with all numbers of time and of the device; a marked one took ten times as long."""
    seconds = 100.0 if mark else 10.0
    seen = Telemetry(
        gpu_utilization=1.0 if mark else 0.9,
        gpu_power_watts=seconds,
        host_cpu_share=0.5,
        gpu_shared=bool(mark),
        gpu_throttled=bool(mark),
    )
    return fake.result(
        label,
        seed=seed,
        seconds=seconds,
        target=TargetReached(metric="test.accuracy", at_least=0.5, epoch=1, train_seconds=seconds / 2),
        energy=Energy(train_joules=seconds),
        telemetry=seen,
        **{**MARKING.get(mark, {}), **more},
    )


def events(_: RunResult) -> dict[int, dict[str, Any]]:
    """Returns the events of the two epochs of a run."""
    split = {"accuracy": 0.5, "loss": 1.0}
    return {
        epoch: {"epoch": epoch, "train_seconds": 3.0, "wait_seconds": 1.0, "metrics": {"test": split, "train": split}}
        for epoch in range(2)
    }


def test_there_is_a_case_for_each_mark(fake: Any) -> None:
    assert tuple(MARKING) == tuple(REASONS) == tuple(NOTES) == MARKS
    assert all(marks(fake.result(**MARKING[mark])) == {mark: REASONS[mark]} for mark in MARKS)
    assert marks(fake.result()) == {} and all(mark in MARKED for mark in MARKS)
    every = fake.result(**{name: value for fields in MARKING.values() for name, value in fields.items()})
    assert marks(every) == REASONS and tuple(marks(every)) == MARKS
    assert list(untimed_by(every, with_resumed=True)) == ["packed", "disturbed", "elsewhere", "environment"]


@each_mark
@pytest.mark.parametrize("with_resumed", [False, True])
def test_accuracy_and_memory_count_and_times_never_do(fake: Any, mark: str, with_resumed: bool) -> None:
    taken_in = mark == "resumed" and with_resumed
    table = fake.report([result(fake, seed=seed, mark=mark) for seed in range(3)], with_resumed=with_resumed).tables[0]
    values = table.rows[0].values
    assert (values["runs_ok"], values["test_accuracy"].n, values["target_reached"]) == (3, 3, "3 of 3")
    assert values["peak_device_allocated_bytes"] == 3 * 2**30
    if not taken_in:
        assert {name: values[name] for name in TIMES} == dict.fromkeys(TIMES)
        assert NOTES[mark].format("all runs here") in table.every_note
    else:
        assert values["train_seconds"].mean == 100
    assert all((values[name] is None) == (mark == "packed") for name in OF_DEVICE)


@each_mark
def test_clean_runs_of_a_config_keep_their_times(fake: Any, mark: str) -> None:
    runs = [result(fake, seed=0), result(fake, seed=1, mark=mark), result(fake, seed=2, mark=mark)]
    report = fake.report(runs)
    values = report.tables[0].rows[0].values
    assert (values["train_seconds"].mean, values["train_seconds"].n, values["test_accuracy"].n) == (10, 1, 3)
    assert NOTES[mark].format("2 of 3 runs of “a”") in report.tables[0].every_note
    assert [row["marks"] for row in run_rows(report)] == [None, mark, mark]
    assert [row["clock.train_seconds"] for row in run_rows(report)] == [10, 100, 100], "each run's own stand there"
    of_run = {"run_id": runs[1].run_id, "label": "a", "seed": 1, "marks": {mark: REASONS[mark]}}
    assert as_json(report)["systems"][0]["marked"] == [of_run, {**of_run, "run_id": runs[2].run_id, "seed": 2}]
    [config] = summary_rows(report)
    assert (config["train_seconds_mean"], config["train_seconds_n"], config["test_accuracy_n"]) == (10, 1, 3)
    clean = fake.report(runs[:1]).tables[0].every_note
    assert not any(NOTES[mark].partition(" (")[0] in note for note in clean)


@each_mark
@pytest.mark.parametrize("other", MARKS)
def test_a_run_with_two_marks_does_not_come_in_with_the_resumed(fake: Any, mark: str, other: str) -> None:
    if mark == other:
        return
    runs = [result(fake, seed=0, mark=mark, **MARKING[other]), result(fake, seed=1, mark="resumed")]
    table = fake.report(runs, with_resumed=True).tables[0]
    assert table.rows[0].values["train_seconds"].n == 1
    told = "Resumed from a checkpoint (at step 7): 1 of 2 runs of “a”. Their times are sums over the parts."
    assert told in table.every_note
    for one in {mark, other} - {"resumed"}:
        assert NOTES[one].format("1 of 2 runs of “a”") in table.every_note
    assert not any("Resumed" in note for note in fake.report(runs[:1]).tables[0].every_note)


def test_reasons_are_told_once_and_few_of_them(fake: Any) -> None:
    runs = [fake.result(seed=seed, disturbed=[f"reason {seed // 2}", "too hot"]) for seed in range(10)]
    [note] = [note for note in fake.report(runs).tables[0].every_note if note.startswith("Disturbed")]
    assert note.startswith("Disturbed (reason 0 and 4 more): all runs")


@each_mark
def test_a_marked_config_is_on_no_front_of_time_and_beside_no_published_time(fake: Any, mark: str) -> None:
    slow = [result(fake, "slow", seed, accuracy=0.5) for seed in range(2)]
    best = [result(fake, "best", seed, mark, train={"epochs": 3}) for seed in range(2)]
    references = {best[0].config_id: [fake.Published("clock.train_seconds", 9.0, "x")]}
    table = fake.report([*slow, *best], references=references).tables[0]
    rows = {row.label: row.values for row in table.rows}
    assert (rows["slow"]["on_front"], rows["best"]["on_front"]) == (True, None)
    assert rows["best"]["front_probability"] is rows["best"]["energy_front_probability"] is None
    assert rows["best"]["memory_front_probability"] is not None
    assert [one.row.label for one in table.fronts[0].places] == ["slow"]
    by_time = fake.report([*slow, *best], sort="train_seconds").tables[0]
    assert [row.label for row in by_time.rows] == ["slow", "best"]
    [seconds] = table.published.records
    assert (seconds["verdict"], seconds["ours_n"]) == ("not measured", 0)
    assert any(f"recorded no clock.train_seconds, or are {MARKED}." in note for note in table.published.notes)


@each_mark
def test_marked_anchors_show_no_drift(fake: Any, mark: str) -> None:
    runs = [result(fake, mark=one, run_id=f"r{number}") for number, one in enumerate(("", "", "", mark, mark))]
    for number, run in enumerate(runs):
        run.spec["repeat"] = number
        run.started_at = f"2026-01-01T0{number}:00:00+00:00"
    table = fake.report(runs).tables[0]
    assert (table.drift.runs, table.drift.change) == (3, 0)
    alone = fake.report([runs[0], *runs[2:]]).tables[0]
    assert alone.drift is None
    assert any("fewer than 3 have a train time that counts" in note for note in alone.every_note)


@each_mark
def test_their_curves_are_by_epoch_alone(fake: Any, mark: str) -> None:
    def table(mark: str) -> Any:
        runs = [result(fake, seed=seed, mark=mark) for seed in range(2)]
        return fake.report(runs, epochs_of=events, curve_of=lambda run: curve_of(events(run))).tables[0]

    assert all(chart(table("")) for chart in (curves, learning_curves, over_epochs))
    points = fake.spec(learning_curves(table(mark)))["datasets"]["points"]
    assert [point["accuracy"] for point in points] == [50] * 4
    assert curves(table(mark)) is over_epochs(table(mark)) is None
    assert not any(table(mark).curves.values()), "no accuracy at a budget"


def test_records_from_before_there_were_marks_have_none(fake: Any) -> None:
    value = json.loads(fake.result().model_dump_json())
    for name in ("packed", "disturbed", "resumed_at_steps", "replaced"):
        del value[name]
    assert marks(RunResult.model_validate(value)) == {}


def test_where_a_run_was_made_is_no_part_of_its_record(fake: Any) -> None:
    assert "elsewhere" not in json.loads(fake.result(elsewhere="other").model_dump_json())
    assert [row["elsewhere"] for row in run_rows(fake.report([fake.result(elsewhere="other")]))] == ["other"]


def test_which_numbers_compare(fake: Any) -> None:
    runs = [fake.result(), *(fake.result(**MARKING[mark]) for mark in MARKS)]
    own = ["test.accuracy", "selected.test", "memory.max_allocated_bytes", "memory.process_device_bytes", ""]
    shared = ["telemetry.gpu_utilization", "telemetry.host_cpu_share", "memory.device_bytes"]
    times = ["clock.train_seconds", "throughput.samples_per_second", "energy.host_joules", "target.train_seconds"]
    for names, whose in ((own, (1, 1, 1, 1, 1, 1)), (shared, (1, 0, 1, 1, 1, 1)), (times, (1, 0, 0, 0, 0, 0))):
        for name in names:
            assert tuple(compares(run, name) for run in runs) == whose, name
    assert [compares(run, times[0], with_resumed=True) for run in runs] == [True, False, False, False, False, True]


def test_the_latency_of_another_environment_does_not_count(fake: Any) -> None:
    assert not compares(fake.result(**MARKING["environment"]), "inference.latency_seconds")
    assert compares(fake.result(**MARKING["resumed"]), "inference.latency_seconds")


def test_what_was_trained_again_is_counted(fake: Any) -> None:
    runs = [fake.result(seed=0, replaced=2), fake.result(seed=1), fake.result("b", config_id="b", replaced=1)]
    notes = fake.report(runs).tables[0].every_note
    told = "Trained again: 1 of 2 runs of “base”, 1 of 1 run of “b”. 3 earlier records of them are kept in `replaced/` "
    assert f"{told}beside the run's own, and left out here." in notes
    assert not any("Trained again" in note for note in fake.report(runs[1:2]).tables[0].every_note)
    assert [row["replaced"] for row in run_rows(fake.report(runs))] == [2, 0, 1]
