"""Runs that went on from a checkpoint: their accuracy counts, their times only where asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.records.comparable import is_of_time
from harness.records.read import SuiteResults
from harness.records.result import Energy, RunResult, TargetReached
from harness.report.build import Options, build_report
from harness.report.tables import Table
from harness.results.study import study_of_plans
from harness.suite.plan import load_suite
from tests.report.conftest import run_rows

TIMES = ("train_seconds", "target_seconds", "samples_per_second", "data_wait_share", "eval_seconds", "build_seconds")
TIMES += ("total_seconds", "train_joules")


def result(fake: Any, label: str = "a", seed: int = 0, seconds: float = 10.0, **more: Any) -> RunResult:
    """Returns a run with all numbers of time; `resumed_at_steps` may be among `more`."""
    target = TargetReached(metric="test.accuracy", at_least=0.5, epoch=1, train_seconds=seconds / 2)
    made = fake.result(label, seed=seed, seconds=seconds, target=target, energy=Energy(train_joules=seconds), **more)
    return made.model_copy(update={"clock": made.clock.model_copy(update={"compile_seconds": 1.0})})


def three(fake: Any, resumed: int) -> list[RunResult]:
    """Returns three runs of a config, of which the last ones were resumed, and took ten times as long."""
    return [
        result(
            fake,
            seed=seed,
            seconds=10 if seed < 3 - resumed else 100,
            resumed_at_steps=[] if seed < 3 - resumed else [7],
        )
        for seed in range(3)
    ]


def notes(table: Table) -> str:
    return "\n".join(table.every_note)


def test_accuracy_counts_and_times_do_not(fake: Any) -> None:
    table = fake.report(three(fake, resumed=2)).tables[0]
    values = table.rows[0].values
    assert (values["runs_ok"], values["test_accuracy"].n, values["train_accuracy"].n) == (3, 3, 3)
    assert {name: values[name].n for name in TIMES} == dict.fromkeys(TIMES, 1)
    assert values["train_seconds"].mean == values["train_joules"].mean == 10 and values["target_seconds"].mean == 5
    assert values["train_seconds_sd"] is None
    assert values["target_reached"] == "3 of 3"
    assert values["peak_device_allocated_bytes"] == 3 * 2**30
    told = "Resumed from a checkpoint (at step 7): 2 of 3 runs of “a”. Their times are left out; "
    assert f"{told}--with-resumed includes them." in table.every_note


def test_times_count_where_asked_for(fake: Any) -> None:
    table = fake.report(three(fake, resumed=2), with_resumed=True).tables[0]
    assert {name: table.rows[0].values[name].n for name in TIMES} == dict.fromkeys(TIMES, 3)
    assert table.rows[0].values["train_seconds"].mean == 70
    assert "2 of 3 runs of “a”. Their times are sums over the parts." in notes(table)
    assert "--with-resumed" not in notes(table)


def test_nothing_is_said_where_nothing_was_resumed(fake: Any) -> None:
    assert "esumed" not in notes(fake.report(three(fake, resumed=0)).tables[0])
    failed = fake.result("a", seed=3, status="failed", resumed_at_steps=[5])
    assert "esumed" not in notes(fake.report([*three(fake, resumed=0), failed]).tables[0])


def test_a_config_without_a_time_has_a_row_and_no_place_on_front_and_chart(fake: Any) -> None:
    quick = [run.model_copy(update={"config_id": "q", "label": "quick"}) for run in three(fake, resumed=3)]
    slow = [result(fake, "slow", seed, 500, accuracy=0.5) for seed in range(3)]
    table = fake.report([*quick, *slow]).tables[0]
    assert [row.label for row in table.rows] == ["quick", "slow"]
    assert [row.values["on_front"] for row in table.rows] == [None, True]
    assert [one.row.label for one in table.fronts[0].places] == ["slow"]
    assert [row.label for row in fake.report([*quick, *slow], sort="train_seconds").tables[0].rows] == ["slow", "quick"]
    both = fake.report([*quick, *slow], sort="train_seconds", with_resumed=True).tables[0]
    assert [row.label for row in both.rows] == ["quick", "slow"]
    assert [row.values["on_front"] for row in both.rows] == [True, False]


def test_a_published_time_stands_beside_times_that_count(fake: Any) -> None:
    runs = three(fake, resumed=2)
    references = {
        runs[0].config_id: [fake.Published("clock.train_seconds", 9.0, "x"), fake.Published("test.accuracy", 0.9, "x")]
    }
    [seconds, accuracy] = fake.report(runs, references=references).tables[0].published.records
    assert (seconds["ours_mean"], seconds["ours_n"], accuracy["ours_n"]) == (10, 1, 3)
    [seconds, _] = fake.report(runs, references=references, with_resumed=True).tables[0].published.records
    assert (seconds["ours_mean"], seconds["ours_n"]) == (70, 3)
    [seconds, accuracy] = fake.report(three(fake, 3), references=references).tables[0].published.records
    assert (seconds["verdict"], accuracy["verdict"]) == ("not measured", "reproduced")


@pytest.mark.parametrize("with_resumed", [False, True])
def test_the_ratio_of_a_factor_is_taken_from_times_that_count(tmp_path: Path, fake: Any, with_resumed: bool) -> None:
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\nbase: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}}\n"
        "one_at_a_time: {train.epochs: [3], train.drop_last: [true]}\nseeds: 3\n"
    )
    plan = load_suite(suite).plan(lambda data: "f00d")
    results = []
    for run in plan.runs:
        changed, resumed = run.spec.train.epochs == 3, run.spec.seed == 2
        seconds = (20.0 if changed else 10.0) * (4 if changed and resumed else 1)
        if run.spec.train.drop_last:
            continue
        made = result(fake, run.spec.label, run.spec.seed, seconds, config_id=run.config_id, run_id=run.run_id)
        results.append(made.model_copy(update={"resumed_at_steps": [3] if changed and resumed else []}))
    report = build_report(
        study_of_plans([plan], SuiteResults(results, {}, {}), [tmp_path]), Options(with_resumed=with_resumed)
    )
    assert report.tables[0].mattered
    accuracy, _, time, _ = report.tables[0].mattered.records
    assert accuracy["seeds"] == 3
    ratio = (2 * 2 * 8) ** (1 / 3) if with_resumed else 2
    assert (time["estimate"], time["seeds"]) == (pytest.approx(ratio), 3 if with_resumed else 2)


def test_the_table_of_runs_keeps_each_runs_own_times(fake: Any) -> None:
    rows: Sequence[dict[str, Any]] = run_rows(fake.report(three(fake, resumed=1)))
    assert [row["clock.train_seconds"] for row in rows] == [10, 10, 100]
    assert [json.loads(row["resumed_at_steps"]) for row in rows] == [[], [], [7]]


def test_which_numbers_are_of_time() -> None:
    times = ["clock.train_seconds", "throughput.samples_per_second", "energy.train_joules", "target.train_seconds"]
    others = ["test.accuracy", "train.loss", "selected.test", "memory.host_rss_bytes", ""]
    assert all(map(is_of_time, times)) and not any(map(is_of_time, others))
