"""Runs of one suite on several systems: accuracies stand together, times never do."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from harness.records.result import Resolved, RunResult
from harness.report.answer import TOGETHER
from harness.report.build import build_report
from harness.report.charts.of_report import charts_of
from harness.report.formats import as_json
from harness.results.measured import measured_configs
from harness.results.study import study_of_folders
from tests.launching.test_submission import call


def runs_on(fake: Any, where: dict[str, list[str]], **more: Any) -> list[RunResult]:
    """Returns a run of each config for each seed, of the system that is named; configs differ by five points."""
    return [
        fake.result(
            label,
            config_id=label,
            seed=seed,
            system_id=system,
            accuracy=0.8 + 0.05 * place + 0.001 * seed,
            seconds=10.0 * (1 + place),
            **more,
        )
        for place, (label, systems) in enumerate(where.items())
        for seed, system in enumerate(systems)
    ]


def test_one_run_of_each_seed_counts_and_no_time_does(fake: Any) -> None:
    report = fake.report(runs_on(fake, {"a": ["one", "two", "two"], "b": ["two", "two", "one"]}))
    together, *each = report.tables
    assert (together.system, together.system_id) == ("2 systems", "all")
    assert [table.system_id for table in each] == ["one", "two"]
    assert [row.values["test_accuracy"].n for row in together.rows] == [3, 3]
    assert together.answer == (
        "“b” is the most accurate, with 85.10 ± 0.25 % of the test images right: better than the other.",
        TOGETHER,
    )
    titles = [column.title for column in together.shown()]
    assert not any(word in title for title in titles for word in ("time", "memory", "images/s", "energy")), titles
    assert together.prices is None and not together.fronts
    for row in together.rows:
        known = {name for name, value in row.values.items() if "seconds" in name and value is not None}
        assert not known, known
    seconds = {(table.system_id, row.label): row.values["train_seconds"].n for table in each for row in table.rows}
    assert seconds == {("one", "a"): 1, ("two", "a"): 2, ("two", "b"): 2, ("one", "b"): 1}


def test_a_seed_that_ran_on_two_systems_counts_once_as_in_compare(fake: Any) -> None:
    runs = runs_on(fake, {"a": ["two", "two", "one"], "b": ["two", "two", "one"]})
    # On the system that has one run of it, seed 0 of `a` was another network: most of the configs have it on `two`.
    runs.append(fake.result("a", config_id="a", seed=0, system_id="three", accuracy=0.5))
    [together, *_] = fake.report(runs).tables
    row = next(row for row in together.rows if row.label == "a")
    assert (row.values["test_accuracy"].n, row.values["test_accuracy"].mean) == (3, pytest.approx(0.801))
    configs = measured_configs("s", {"a": "a", "b": "b"}, runs, Path())
    assert len(configs[0].runs) == 4  # of which compare takes three, by the same function


def test_sorted_by_a_time_it_is_sorted_by_accuracy(fake: Any) -> None:
    runs = runs_on(fake, {"a": ["one", "two"], "b": ["two", "one"]})
    together, one, _ = fake.report(runs, sort="train_seconds").tables
    assert [row.label for row in together.rows] == ["b", "a"]
    assert [row.label for row in one.rows] == ["a", "b"]


def test_precisions_that_differ_are_told_once_for_all_configs(fake: Any) -> None:
    def resolved(system: str) -> Resolved:
        precision = "bf16" if system == "one" else "no"
        return Resolved(device="cuda", mixed_precision=precision, loader="resident", micro_batch_size=128)

    runs = [
        run.model_copy(update={"resolved": resolved(run.system_id)})
        for run in runs_on(fake, {label: ["one", "two"] for label in "abc"})
    ]
    together = fake.report(runs).tables[0]
    [told] = [note for note in together.every_note if "precision" in note]
    assert told.startswith("“a”, “b”, “c”: their runs differ in mixed precision")


def test_a_seed_that_diverged_counts_before_one_that_ran_out_of_memory(fake: Any) -> None:
    runs = runs_on(fake, {"a": ["one", "two"]})
    runs.append(fake.result("a", config_id="a", seed=2, system_id="one", status="diverged"))
    late = {"ended_at": "2026-02-01T00:00:00.000+00:00"}
    runs.append(fake.result("a", config_id="a", seed=2, system_id="two", status="oom", **late))
    assert fake.report(runs).tables[0].rows[0].values["runs"] == "2 ok, 1 diverged"


def test_a_seed_that_failed_on_one_system_counts_where_it_ended(fake: Any) -> None:
    runs = runs_on(fake, {"a": ["one", "two"]})
    runs.append(fake.result("a", config_id="a", seed=1, system_id="one", status="oom"))
    runs.append(fake.result("a", config_id="a", seed=2, system_id="one", status="diverged"))
    [together, *_] = fake.report(runs).tables
    assert together.rows[0].values["runs"] == "2 ok, 1 diverged"


@pytest.mark.parametrize("where", [["one", "one"], ["one", "one", "two"]])
def test_one_system_needs_no_table_of_all(fake: Any, where: list[str]) -> None:
    runs = runs_on(fake, {"a": where[:2]})
    runs += [fake.result("a", config_id="a", seed=1, system_id=system, accuracy=0.5) for system in where[2:]]
    assert "all" not in {table.system_id for table in fake.report(runs).tables}


def test_marks_of_a_systems_times_are_told_in_its_own_table(fake: Any) -> None:
    runs = runs_on(fake, {"a": ["one", "two"], "b": ["one", "two"]}, disturbed=["others"], unavailable={"x": "no GPU"})
    together, *each = fake.report(runs).tables
    assert not any("Disturbed" in note or "no GPU" in note for note in together.every_note)
    assert all(any("Disturbed" in note for note in table.every_note) for table in each)


def test_its_only_chart_is_that_by_epochs(fake: Any) -> None:
    split = {"accuracy": 0.5, "loss": 1.0}
    epochs = {n: {"epoch": n, "train_seconds": 3.0, "metrics": {"test": split, "train": split}} for n in range(2)}
    report = fake.report(runs_on(fake, {"a": ["one", "two"]}), epochs_of=lambda run: epochs)
    assert [name for name in charts_of(report, for_page=True) if name.endswith("_all")] == ["learning_curves_all"]


def test_published_accuracies_stand_beside_all_and_times_beside_each(
    fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From records as runs leave them, by the command that people use."""
    fake.store(tmp_path, runs_on(fake, {"a": ["one", "two", "two"]}))
    folder = tmp_path / "milestones"
    references = [
        {"match": {"label": "a"}, "metric": "test.accuracy", "value": 0.801, "source": "report 9"},
        {"match": {"label": "a"}, "metric": "clock.train_seconds", "value": 5.0, "source": "report 9"},
    ]
    (folder / "suite.json").write_text(json.dumps({"labels": {"a": "a"}, "references": references}))
    code, out, err = call(capsys, "report", str(folder), "--html")
    assert code == 0, err
    assert "milestones on 2 systems" in out
    with (folder / "references.csv").open() as file:
        rows = [(row["system_id"], row["metric"], row["ours_n"], row["verdict"]) for row in csv.DictReader(file)]
    assert rows == [
        ("all", "test.accuracy", "3", "reproduced"),
        ("one", "clock.train_seconds", "1", "other system"),
        ("two", "clock.train_seconds", "2", "other system"),
    ]
    table = (folder / "table.md").read_text()
    assert table.index("## 2 systems") < table.index("(one)") < table.index("(two)")
    found = as_json(build_report(study_of_folders([folder])))
    assert [system["system_id"] for system in found["systems"]] == ["all", "one", "two"]
    page = (folder / "report.html").read_text()
    assert "a-0/one/" in page and "/all/" not in page  # each run links to its own folder
