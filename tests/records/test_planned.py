"""Which records count for a plan: those of its suite, of other suites, and of the newest code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.launching.status import suite_status
from harness.records.comparable import marks
from harness.records.planned import done_elsewhere, folder_of, read_planned
from harness.records.result import RunResult, Status
from harness.records.store import RunFolder, run_folder
from harness.results.measured import measured_configs
from harness.suite.plan import Plan, PlannedRun, load_suite
from tests.records.test_result import DATA

TEXT = """\
name: s
base: {model: mlp, data: synthetic, optimizer: {name: sgd, lr: 0.1}}
matrix: {train.epochs: [1, 2]}
seeds: 3
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Six runs of two configs."""
    (tmp_path / "s.yaml").write_text(TEXT)
    return load_suite(tmp_path / "s.yaml").plan(lambda data: "f00d")


def record(
    root: Path, run: PlannedRun, suite: str = "s", status: Status = "ok", minute: int = 0, **fields: Any
) -> RunResult:
    """Writes what a run leaves."""
    folder = run_folder(root, suite, run.run_id, "m")
    folder.start({}, {"system_id": "m", "name": "machine m"})
    result = RunResult(
        suite=suite,
        label=run.spec.label,
        run_id=run.run_id,
        config_id=run.config_id,
        system_id="m",
        seed=run.spec.seed,
        status=status,
        started_at="2026-01-01T00:00:00+00:00",
        ended_at=f"2026-01-01T00:{minute:02}:00+00:00",
        spec=run.spec.model_dump(mode="json"),
        data=DATA,
        **{"num_processes": 1, **fields},
    )
    folder.finish(result)
    return result


def found(plan: Plan, root: Path) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """Returns where each planned run is counted from, and the notes."""
    stored = read_planned(root, "s", {run.run_id for run in plan.runs})
    assert {result.system_id for result in stored.results} <= set(stored.systems)
    return {result.run_id: result.elsewhere for result in stored.results}, stored.notes


def test_a_run_that_is_done_under_another_suite_counts_and_says_where(plan: Plan, tmp_path: Path) -> None:
    own, other, failed, both, *_ = plan.runs
    record(tmp_path, own, code="a")
    record(tmp_path, other, "t", code="a")
    record(tmp_path, failed, "t", "failed")
    record(tmp_path, both, code="a")
    record(tmp_path, both, "t", code="a", minute=9)
    (tmp_path / "systems" / "m").mkdir(parents=True)
    assert found(plan, tmp_path) == ({own.run_id: None, both.run_id: None, other.run_id: "t"}, ())
    assert suite_status(plan, tmp_path).systems["m"].counts == {"ok": 3, "open": 3}
    ids = [run.run_id for run in plan.runs]
    assert [result.run_id for result in done_elsewhere(tmp_path, "s", ids, "another")] == []


def test_one_that_failed_here_is_done_where_it_is_done(plan: Plan, tmp_path: Path) -> None:
    run = plan.runs[0]
    record(tmp_path, run, status="failed")
    record(tmp_path, run, "t", code="a")
    assert found(plan, tmp_path)[0] == {run.run_id: "t"}


def test_a_record_that_was_copied_into_the_folder_of_another_suite_says_where_it_was_run(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan.runs[0]
    record(tmp_path, run, "t", code="a")
    shutil.copytree(tmp_path / "t" / run.run_id, tmp_path / "s" / run.run_id)
    own = run_folder(tmp_path, "s", run.run_id, "m")
    result = own.result()
    assert result and result.elsewhere == "t" and own.is_done()
    assert found(plan, tmp_path)[0] == {run.run_id: "t"}
    shutil.rmtree(tmp_path / "t")
    assert found(plan, tmp_path)[0] == {run.run_id: "t"}, "the original need not be there"
    [counted] = read_planned(tmp_path, "s", {run.run_id}).results
    assert marks(counted) == {"elsewhere": "in suite t"}
    assert folder_of(tmp_path, "s", counted) == own
    [config] = measured_configs("s", {run.config_id: "a"}, [counted], tmp_path)
    assert [one.train_seconds for one in config.runs] == [None]

    monkeypatch.chdir(own.path)  # a folder may be named in any way
    for path in (Path(), Path("../m"), Path("../../../s") / run.run_id / "m"):
        result = RunFolder(path).result()
        assert result and result.elsewhere == "t", path
    text = Path("result.json").read_text()
    Path("result.json").write_text(json.dumps({**json.loads(text), "suite": "s", "elsewhere": "t", "kept_under": "t"}))
    result = RunFolder(Path()).result()
    assert result and (result.elsewhere, result.kept_under) == (None, None), "the place says it, no record"


def test_of_two_copies_of_a_record_the_place_of_the_one_that_counts_is_told(plan: Plan, tmp_path: Path) -> None:
    run = plan.runs[0]
    record(tmp_path, run, "t", code="a")
    (tmp_path / "t").rename(tmp_path / "renamed")
    [counted] = read_planned(tmp_path, "s", {run.run_id}).results
    assert (counted.elsewhere, counted.kept_under) == ("t", "renamed")
    assert folder_of(tmp_path, "s", counted).is_done()


def test_of_several_suites_the_newest_counts(plan: Plan, tmp_path: Path) -> None:
    run = plan.runs[0]
    record(tmp_path, run, "t", code="a", minute=2)
    record(tmp_path, run, "u", code="a", minute=5)
    record(tmp_path, run, "v", code="a", minute=1)
    assert found(plan, tmp_path)[0] == {run.run_id: "u"}


def test_runs_of_one_config_by_other_code_are_left_out_and_named(plan: Plan, tmp_path: Path) -> None:
    one, two = ([run for run in plan.runs if run.spec.train.epochs == epochs] for epochs in (1, 2))
    record(tmp_path, one[0], code="old", minute=1)
    record(tmp_path, one[1], code="new", minute=2)
    record(tmp_path, two[0], code="old", minute=1)  # of another config: nothing newer
    counted, notes = found(plan, tmp_path)
    assert set(counted) == {one[1].run_id, two[0].run_id}
    assert len(notes) == 2 and "trained 1 of the runs of epochs=1 (code old, seeds 0, until 2026-01-01)" in notes[0]
    assert "--renew" in notes[0]


def test_records_of_unknown_code_count_and_are_told_of(plan: Plan, tmp_path: Path) -> None:
    one = [run for run in plan.runs if run.spec.train.epochs == 1]
    record(tmp_path, one[0])
    record(tmp_path, one[1], code="new", minute=2)
    counted, notes = found(plan, tmp_path)
    assert len(counted) == 2 and notes == ("Code unknown: 1 of 2 records was made before it was recorded.",)


def test_an_odd_record_under_another_suite_counts_as_none(plan: Plan, tmp_path: Path) -> None:
    run = plan.runs[0]
    record(tmp_path, run, "t")
    (tmp_path / "t" / run.run_id / "m" / "system.json").write_text("[")
    (tmp_path / "t" / plan.runs[1].run_id).write_text("a file")
    assert found(plan, tmp_path) == ({}, ())


def test_configs_of_the_same_plugins_by_different_code_are_told_of(plan: Plan, tmp_path: Path) -> None:
    one, two = ([run for run in plan.runs if run.spec.train.epochs == epochs] for epochs in (1, 2))
    record(tmp_path, one[0], code="old")
    record(tmp_path, two[0], code="new")
    counted, notes = found(plan, tmp_path)
    assert len(counted) == 2 and len(notes) == 1
    assert "trained by different code of the harness (new, old)" in notes[0]


def test_times_of_another_environment_than_that_of_most_runs_do_not_count(tmp_path: Path, plan: Plan) -> None:
    """Of a config with 0, 1 and 0 variables set, of as many runs the newest decides; old records do not know theirs."""
    one, unset = {"OMP_NUM_THREADS": "1"}, {}
    for minute, (run, environment) in enumerate(zip(plan.runs, (unset, one, unset, one, unset, None), strict=True)):
        record(tmp_path, run, minute=minute, environment=environment)
    results = read_planned(tmp_path, "s", {run.run_id for run in plan.runs}).results
    found = {result.run_id: marks(result) for result in results}
    told = {"environment": "OMP_NUM_THREADS 1, not unset"}
    assert [found[run.run_id] for run in plan.runs] == [{}, told, {}, told, {}, {}]


def test_runs_whose_times_do_not_count_do_not_decide_on_the_environment(tmp_path: Path, plan: Plan) -> None:
    one, unset = {"OMP_NUM_THREADS": "1"}, {}
    for minute, run in enumerate(plan.runs):
        of_others = minute < 4
        environment, disturbed = (one, ["others"]) if of_others else (unset, [])
        record(tmp_path, run, minute=minute, environment=environment, disturbed=disturbed)
    results = read_planned(tmp_path, "s", {run.run_id for run in plan.runs}).results
    found = {result.run_id: tuple(marks(result)) for result in results}
    assert [found[run.run_id] for run in plan.runs] == [("disturbed",)] * 4 + [()] * 2


def test_of_two_environments_with_as_many_runs_the_newest_counts(tmp_path: Path, plan: Plan) -> None:
    for minute, (run, threads) in enumerate(zip(plan.runs, "212111", strict=True)):
        processes = 1 if minute < 4 else 2
        record(tmp_path, run, minute=minute, environment={"OMP_NUM_THREADS": threads}, num_processes=processes)
    results = read_planned(tmp_path, "s", {run.run_id for run in plan.runs}).results
    found = {result.run_id: marks(result) for result in results}
    told = {"environment": "OMP_NUM_THREADS 2, not 1"}
    assert [found[run.run_id] for run in plan.runs] == [told, {}, told, {}, {}, {}]  # two processes are for themselves
