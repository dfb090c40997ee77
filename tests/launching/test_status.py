"""What `harness status` tells of the records on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import main
from harness.data.prepare import known_fingerprint
from harness.launching import status as status_module
from harness.launching.status import SuiteStatus, folder_status, stored_suites, suite_status
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


def test_races_and_submissions_are_no_runs(plan: Plan, tmp_path: Path) -> None:
    record(tmp_path, plan.runs[0], "ok")
    for folder in ("submissions/20261130T120000Z/logs", "races/0123/looks"):
        (tmp_path / "s" / folder).mkdir(parents=True)
    found = folder_status(tmp_path / "s")
    assert (found.total, found.systems["m"].counts) == (1, {"ok": 1})


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


# --- runs that go on ---

NOW = 1_800_000_000.0


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the clock by which heartbeats are old."""
    monkeypatch.setattr(status_module, "time", SimpleNamespace(time=lambda: NOW))


def going(root: Path, run: PlannedRun, epochs_through: int = 0, *, seconds_ago: float = 3.0, **told: Any) -> RunFolder:
    """Writes what a process on another machine has come to with a run."""
    folder = RunFolder(run_folder(root, "s", run.run_id, "m").path, generation=4)
    spec = {"spec": run.spec.model_dump(mode="json")}
    planned: dict[str, Any] = {
        "steps": 10 * run.spec.train.epochs,
        "epochs": run.spec.train.epochs,
        "samples_per_epoch": 640,
    }
    folder.start(spec, {"system_id": "m", "name": "machine m"}, **planned)
    for epoch in range(epochs_through):
        folder.event("epoch", epoch=epoch)
    record = {"host": "n1", "pid": 7, "process_started": 1, "machine": "other", "slurm_job": "12_3", "token": "t"}
    claim = folder.path / "claims" / "4.json"
    claim.parent.mkdir()
    claim.write_text(json.dumps({**record, "claimed_at": "2026-01-01T00:00:00+00:00", **told}))
    os.utime(claim, (NOW - seconds_ago, NOW - seconds_ago))
    return folder


def long_run(plan: Plan, **fields: Any) -> PlannedRun:
    """Returns a run of twenty epochs."""
    run = plan.runs[0]
    train = run.spec.train.model_copy(update={"epochs": 20})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"train": train, **fields})})


@pytest.mark.usefixtures("now")
def test_runs_that_go_on(plan: Plan, tmp_path: Path) -> None:
    run = long_run(plan)
    going(tmp_path, run, 3)
    record(tmp_path, plan.runs[1], "ok")
    found = suite_status(plan, tmp_path)
    assert found.systems["m"].counts == {"ok": 1, "open": 5}
    name = f"{run.spec.label} · seed {run.spec.seed}"
    assert found.text().splitlines()[-2:] == [
        "    running now: 1",
        f"      {name} · epoch 4 of 20 · heartbeat 3 s ago · n1, pid 7, SLURM job 12_3",
    ]
    [told] = json.loads(json.dumps(found.as_json()))["systems"]["m"]["running"]
    assert told.pop("heartbeat_seconds") == 3.0
    owner = {"host": "n1", "pid": 7, "slurm_job": "12_3", "since": "2026-01-01T00:00:00+00:00"}
    of_run = {"run_id": run.run_id, "label": run.spec.label, "seed": run.spec.seed, "repeat": 0}
    assert told == {**of_run, "epoch": 4, "epochs": 20, **owner}
    assert folder_status(tmp_path / "s").systems["m"].running[0].epoch == 4


@pytest.mark.usefixtures("now")
def test_a_system_that_has_ended_no_run_has_its_name(plan: Plan, tmp_path: Path) -> None:
    going(tmp_path, long_run(plan))
    assert "  on machine m (m): 6 open" in suite_status(plan, tmp_path).text().splitlines()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds_ago": 3600.0}, "no heartbeat for 3,600 s · n1, pid 7, SLURM job 12_3"),
        ({"slurm_job": None}, "heartbeat 3 s ago · n1, pid 7"),
        ({"host": "n\x1b[2J"}, "'n\\x1b[2J, pid 7, SLURM job 12_3'"),
        ({"host": None}, "by a process that its claim does not name"),
    ],
)
@pytest.mark.usefixtures("now")
def test_what_is_said_of_the_process(plan: Plan, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    going(tmp_path, long_run(plan), **change)
    assert suite_status(plan, tmp_path).text().splitlines()[-1].endswith(said)


@pytest.mark.usefixtures("now")
def test_what_does_not_go_on_is_not_shown(plan: Plan, tmp_path: Path) -> None:
    going(tmp_path, long_run(plan), released_at="2026-01-01T00:00:00+00:00")
    done = record(tmp_path, plan.runs[1], "ok")
    (done.path / "claims").mkdir()
    (done.path / "claims" / "1.json").write_text("{}")
    other = long_run(plan).model_copy(update={"run_id": "0123456789ab"})
    going(tmp_path, other)
    assert not any(status.running for status in suite_status(plan, tmp_path).systems.values())
    assert "running" not in suite_status(plan, tmp_path).text()


@pytest.mark.usefixtures("now")
def test_the_epoch_of_a_run_that_begins_or_goes_on(plan: Plan, tmp_path: Path) -> None:
    run = long_run(plan, label="an anchor", repeat=2)
    folder = going(tmp_path, run, 8)

    def line() -> str:
        return suite_status(plan, tmp_path).text().splitlines()[-1].strip()

    name = f"an anchor · seed {run.spec.seed} · anchor 2"
    assert line().startswith(f"{name} · epoch 9 of 20 · ")
    folder.event("run_resumed", attempt=2, step=50, steps=200, epochs=20, samples_per_epoch=640)
    assert line().startswith(f"{name} · epoch 6 of 20 · "), "epochs after the checkpoint are done again"
    for epoch in range(5, 20):
        folder.event("epoch", epoch=epoch)
    assert line().startswith(f"{name} · epoch 20 of 20 · "), "its result is being written"
    (folder.path / "claims" / "4.json").rename(folder.path / "claims" / "5.json")
    assert line().startswith(f"{name} · starting · "), "another process has it, and has not opened it"
    (folder.path / "spec.json").write_text("{")
    assert line().startswith(f"{run.run_id} · starting · ")


@pytest.mark.usefixtures("now")
def test_the_command_shows_runs_that_go_on(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (tmp_path / "s.yaml").read_text().replace("synthetic", "digits")
    (tmp_path / "s.yaml").write_text(text)
    run = load_suite(Path("s.yaml")).plan(known_fingerprint).runs[0]
    going(tmp_path / "results", run)
    for words in ([], ["--json"]):
        with pytest.raises(SystemExit) as caught:
            main(["status", "s.yaml", *words])
        assert caught.value.code == 0
    out = capsys.readouterr().out
    line = f"seed {run.spec.seed} · epoch 1 of {run.spec.train.epochs} · heartbeat 3 s ago · n1"
    assert line in out
    assert '"epoch": 1' in out
    for words in ([], ["results/s"], ["results"]):  # no run of the folder has ended yet
        with pytest.raises(SystemExit) as caught:
            main(["status", *words])
        assert caught.value.code == 0 and line in capsys.readouterr().out
