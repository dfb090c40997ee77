"""What MLflow's own client reads back of runs, from a store on this machine; where MLflow is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.records.store import RunFolder
from harness.trackers.entries import read_entries
from harness.trackers.mirror import Mirror, RunMirror
from harness.trackers.options import Tracking
from tests.house import House
from tests.trackers import records

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy", reason="mlflow-skinny has no store of its own")

pytestmark = pytest.mark.filterwarnings("ignore")  # those of MLflow's dependencies
TRACKING = Tracking(("mlflow",), project="p", patience_seconds=2.0)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of this test."""
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


def tell(folder: RunFolder) -> None:
    from harness.trackers.mlflow_run import MlflowRun

    RunMirror(folder, lambda entries, run: MlflowRun(entries, run, TRACKING)).advance(to_the_end=True)


def runs() -> list[Any]:
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("p")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def history(run: Any, name: str) -> list[tuple[int, float]]:
    found = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
    return sorted((metric.step, metric.value) for metric in found)


def test_it_has_the_numbers_of_the_records(tmp_path: Path) -> None:
    folder = records.whole(tmp_path)
    tell(folder)
    [run], entries = runs(), read_entries(folder)
    assert entries and entries.ending
    for name in entries.rows[1]:
        if name != "timestamp":
            assert history(run, name) == [(number, row[name]) for number, row in entries.rows.items()], name
    assert run.data.metrics["summary/clock/train_seconds"] == entries.ending["clock/train_seconds"]
    assert run.data.params["optimizer.lr"] == "0.1" and run.data.params["num_processes"] == "1"
    assert (run.info.status, run.info.run_name) == ("FINISHED", "mlp, sgd (seed 0)")
    assert run.data.tags == {
        "harness.id": entries.id,
        "suite": "made",
        "label": "mlp, sgd",
        "seed": "0",
        "group": entries.group,
        "status": "ok",
        "mlflow.runName": entries.name,
    }, "nothing of who ran it, and where"


def test_a_run_that_goes_on_after_a_stop_goes_on_there(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    records.epoch_event(folder, 0)
    records.end(tmp_path, status="preempted")
    tell(folder)
    [run] = runs()
    assert (run.info.status, run.data.tags["status"]) == ("KILLED", "preempted")
    records.begin(tmp_path, resumed_at_step=12)
    records.epoch_event(folder, 1)
    records.end(tmp_path)
    tell(folder)
    [run] = runs()
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "ok")
    assert [step for step, _ in history(run, "test/accuracy")] == [1, 2]


def test_a_run_that_failed_is_marked_so(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    records.epoch_event(folder, 0)
    records.end(tmp_path, status="oom")
    tell(folder)
    [run] = runs()
    assert (run.info.status, run.data.tags["status"]) == ("FAILED", "oom")
    assert [step for step, _ in history(run, "test/accuracy")] == [1]


def test_runs_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    from harness.trackers.mlflow_run import MlflowRun

    planned = [records.planned(seed=seed) for seed in (0, 1)]
    folders = [records.begin(tmp_path, one) for one in planned]
    said: list[str] = []
    mirror = Mirror(lambda entries, run: MlflowRun(entries, run, TRACKING), said.append, TRACKING)
    for folder in folders:
        mirror.add(folder.path)
    for epoch in range(2):
        for folder in folders:
            records.epoch_event(folder, epoch)
        mirror.look()
    for one in planned:
        records.end(tmp_path, one)
    mirror.close()
    assert not said
    assert sorted(run.data.tags["seed"] for run in runs()) == ["0", "1"]
    assert all([step for step, _ in history(run, "test/accuracy")] == [1, 2] for run in runs())
    assert {run.info.status for run in runs()} == {"FINISHED"}


@pytest.mark.launch
def test_as_a_user_runs_it(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("WANDB_PROJECT", "p")
    house.suite("include: [{label: good}, {label: bad, model.fault: raise}]")
    ended = house.run("suite.yaml", "--tracker", "mlflow")
    assert ended.returncode == 1 and "mlflow" not in ended.stderr, ended.stderr
    found = {run.data.tags["label"]: (run.info.status, len(history(run, "test/accuracy"))) for run in runs()}
    assert found == {"good": ("FINISHED", 1), "bad": ("FAILED", 0)}


def test_a_server_that_is_down_is_one_sentence(tmp_path: Path) -> None:
    from harness.trackers.mlflow_run import MlflowRun

    mlflow.set_tracking_uri("http://127.0.0.1:9")
    said: list[str] = []
    mirror = Mirror(lambda entries, run: MlflowRun(entries, run, TRACKING), said.append, TRACKING)
    mirror.add(records.whole(tmp_path).path)
    mirror.close()
    problem, missing = said
    assert "127.0.0.1" in problem and "the runs go on" in problem and "1 of 1 run is missing there" in missing
