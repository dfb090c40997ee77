"""What `harness status` tells of the records on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.launching.status import SuiteStatus, stored_suites, suite_status
from harness.records.read import read_result
from harness.records.result import Cause, RunResult, Status
from harness.records.store import RunFolder, run_folder
from harness.suite.plan import Plan, PlannedRun, load_suite
from tests.records.test_result import DATA


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Six runs of two configs."""
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\nbase: {model: mlp, data: synthetic, optimizer: {name: sgd, lr: 0.1}}\n"
        "matrix: {train.epochs: [1, 2]}\nseeds: 3\n"
    )
    return load_suite(suite).plan(lambda data: "f00d")


def record(root: Path, run: PlannedRun, status: Status, system_id: str = "m", cause: Cause | None = None) -> RunFolder:
    """Writes what a run leaves."""
    folder = run_folder(root, "s", run.run_id, system_id)
    folder.start({}, {"system_id": system_id, "name": f"machine {system_id}"})
    folder.finish(
        RunResult(
            suite="s",
            label=run.spec.label,
            run_id=run.run_id,
            config_id=run.config_id,
            system_id=system_id,
            seed=run.spec.seed,
            status=status,
            cause=cause,
            started_at="2026-01-01T00:00:00+00:00",
            ended_at="2026-01-01T00:00:01+00:00",
            num_processes=1,
            spec=run.spec.model_dump(mode="json"),
            data=DATA,
        )
    )
    return folder


def problem(run: PlannedRun, status: str, cause: str = "", step: int | None = None) -> dict[str, Any]:
    return {"label": run.spec.label, "seed": run.spec.seed, "status": status, "cause": cause, "step": step}


def test_counts_by_system(plan: Plan, tmp_path: Path) -> None:
    runs = plan.runs
    record(tmp_path, runs[0], "ok")
    record(tmp_path, runs[1], "oom", cause=Cause(kind="OutOfMemoryError", message="full", step=3))
    record(tmp_path, runs[2], "failed")
    record(tmp_path, runs[0], "ok", "n")
    (tmp_path / "s" / "table.md").touch()
    (tmp_path / "s" / runs[0].run_id / "note.txt").touch()
    found = suite_status(plan, tmp_path)
    assert found.total == 6 and found.unreadable == {} and list(found.systems) == ["m", "n"]
    assert found.systems["m"].name == "machine m"
    assert found.systems["m"].counts == {"ok": 1, "oom": 1, "failed": 1, "open": 3}
    assert found.systems["n"].counts == {"ok": 1, "open": 5}
    told = {each["status"]: each for each in found.systems["m"].problems}
    assert told == {"oom": problem(runs[1], "oom", "full", 3), "failed": problem(runs[2], "failed")}
    assert f"    {runs[1].spec.label} · seed {runs[1].spec.seed} · oom: full" in found.text().splitlines()
    assert json.loads(json.dumps(found.as_json()))["systems"]["m"]["with_checkpoint"] == 0


def test_the_suites_of_a_results_root(plan: Plan, tmp_path: Path) -> None:
    for at, status in enumerate(("ok", "ok", "failed")):
        record(tmp_path, plan.runs[at], status)
    (tmp_path / "empty").mkdir()
    assert stored_suites(tmp_path) == {str(tmp_path / "s"): "2 ok, 1 failed on machine m"}


def test_several_processes_read_what_one_reads(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for at, run in enumerate(plan.runs[:5]):
        record(tmp_path / "a", run, "failed" if at % 2 else "ok", f"m{at % 2}", Cause(kind="E", message=f"no {at}"))
    record(tmp_path / "b", plan.runs[1], "ok", "m1")  # what is done counts, in whichever root
    record(tmp_path / "b", plan.runs[2], "failed", "m0")
    (tmp_path / "a" / "s" / plan.runs[0].run_id / "m0" / "result.json").write_text("{")
    (run_folder(tmp_path / "b", "s", plan.runs[5].run_id, "m0").path / "checkpoints" / "step-7").mkdir(parents=True)
    roots = tmp_path / "a", tmp_path / "b"
    alone = suite_status(plan, *roots)
    assert [alone.systems[name].counts["ok"] for name in ("m0", "m1")] == [2, 1]
    assert alone.systems["m0"].with_checkpoint == 1 and alone.unreadable
    monkeypatch.setattr("harness.launching.status.FEW", 0)
    for processes in (2, 3):
        monkeypatch.setattr("os.sched_getaffinity", lambda pid, n=processes: set(range(n)))
        assert suite_status(plan, *roots) == alone


def test_what_is_not_of_the_plan_is_not_counted(plan: Plan, tmp_path: Path) -> None:
    record(tmp_path, plan.runs[0], "ok")
    assert suite_status(Plan(plan.suite, plan.runs[1:], plan.order), tmp_path).systems == {}
    assert suite_status(plan, tmp_path / "nowhere") == SuiteStatus("s", 6, {}, {})
    assert "none has been run yet" in suite_status(plan, tmp_path / "nowhere").text()


def test_unfinished_runs_and_their_checkpoints(plan: Plan, tmp_path: Path) -> None:
    runs = plan.runs
    stopped = Cause(kind="SIGTERM", message="stopped after 7 steps: a checkpoint is kept", step=7)
    preempted = record(tmp_path, runs[0], "preempted", cause=stopped)
    done = record(tmp_path, runs[1], "ok")
    killed = run_folder(tmp_path, "s", runs[2].run_id, "m")
    begun = run_folder(tmp_path, "s", runs[3].run_id, "m")
    elsewhere = run_folder(tmp_path, "s", runs[3].run_id, "n")
    for folder in (preempted, killed, elsewhere):
        (folder.path / "checkpoints" / "step-0000000007").mkdir(parents=True)
    (begun.path / "checkpoints" / ".step-0000000007.abc").mkdir(parents=True)  # was not committed
    (done.path / "checkpoints").mkdir()
    (done.path / "checkpoints" / "final.safetensors").touch()
    found = suite_status(plan, tmp_path)
    assert found.systems["m"].with_checkpoint == 2
    assert found.systems["m"].counts == {"preempted": 1, "ok": 1, "open": 4}
    assert (found.systems["n"].with_checkpoint, found.systems["n"].counts) == (1, {"open": 6})
    lines = found.text().splitlines()
    assert "    not done, to go on from a checkpoint: 2" in lines
    name = f"{runs[0].spec.label} · seed {runs[0].spec.seed}"
    assert f"    {name} · preempted at step 7: stopped after 7 steps: a checkpoint is kept" in lines


BAD = {
    "torn": b'{"schema_version": 1, "sui',
    "cut": None,
    "empty": b"",
    "list": b"[]",
    "later": b'{"schema_version": 99}',
    "unversioned": b"{}",
    "lacking": b'{"schema_version": 1, "suite": "s"}',
}


@pytest.mark.parametrize("case", BAD)
def test_a_record_that_cannot_be_read_is_named_with_the_reason_and_its_run_is_open(
    plan: Plan, tmp_path: Path, case: str
) -> None:
    record(tmp_path, plan.runs[0], "ok")
    path = record(tmp_path, plan.runs[1], "ok").path / "result.json"
    content = BAD[case]
    path.write_bytes(path.read_bytes()[:-3] if content is None else content)
    with pytest.raises(ValueError) as reason:
        read_result(path)
    found = suite_status(plan, tmp_path)
    assert found.unreadable == {str(path): str(reason.value)}
    assert found.systems["m"].counts == {"ok": 1, "open": 5}
    assert f"  unreadable: {path}: {reason.value}" in found.text().splitlines()


@pytest.mark.parametrize("content", [None, b"{", b"[]"])
def test_a_result_without_its_system_is_named(plan: Plan, tmp_path: Path, content: bytes | None) -> None:
    path = record(tmp_path, plan.runs[0], "ok").path / "system.json"
    path.unlink() if content is None else path.write_bytes(content)
    found = suite_status(plan, tmp_path)
    assert list(found.unreadable) == [str(path.with_name("result.json"))]
    assert found.systems == {}
