"""What Trackio's own store has of runs; where Trackio is installed."""

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

trackio = pytest.importorskip("trackio")

TRACKING = Tracking(("trackio",), project="p", patience_seconds=2.0)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of this test."""
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio")


def tell(folder: RunFolder) -> None:
    from harness.trackers.trackio_run import TrackioRun

    RunMirror(folder, lambda entries, run: TrackioRun(entries, run, TRACKING)).advance(to_the_end=True)


def runs() -> dict[str, list[dict[str, Any]]]:
    """Returns what was logged, by the run's name."""
    from trackio.sqlite_storage import SQLiteStorage  # pyright: ignore[reportMissingImports]

    found = list(trackio.Api().runs("p"))
    assert len({run.name for run in found}) == len(found)
    return {run.name: SQLiteStorage.get_logs("p", run.name, run_id=run.id) for run in found}


def test_it_has_the_numbers_of_the_records(tmp_path: Path) -> None:
    folder = records.whole(tmp_path)
    tell(folder)
    entries = read_entries(folder)
    assert entries and entries.ending
    [(name, logs)] = runs().items()
    assert name == f"mlp, sgd (seed 0) {entries.id}"
    *epochs, end = logs
    for log, (number, row) in zip(epochs, entries.rows.items(), strict=True):
        assert log["step"] == number
        assert {key: log[key] for key in row if key != "timestamp"} == {
            k: v for k, v in row.items() if k != "timestamp"
        }
    assert (end["step"], end["summary/status"]) == (3, "ok")
    assert end["summary/clock/train_seconds"] == entries.ending["clock/train_seconds"]
    [run] = trackio.Api().runs("p")
    assert run.config["optimizer.lr"] == 0.1 and run.config["_Group"] == entries.group


def test_a_run_that_goes_on_after_a_stop_is_told_once(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    records.epoch_event(folder, 0)
    records.end(tmp_path, status="preempted")
    tell(folder)
    [logs] = runs().values()
    assert [(log["step"], log.get("summary/status")) for log in logs] == [(1, None), (1, "preempted")]
    records.begin(tmp_path, resumed_at_step=12)
    records.epoch_event(folder, 1)
    records.end(tmp_path)
    tell(folder)
    [logs] = runs().values()
    assert [(log["step"], log.get("summary/status")) for log in logs] == [(1, None), (2, None), (2, "ok")]


def test_a_run_that_failed_says_so(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    records.epoch_event(folder, 0)
    records.end(tmp_path, status="oom")
    tell(folder)
    [[epoch, end]] = runs().values()
    assert epoch["step"] == 1 and end["summary/status"] == "oom"


def test_runs_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    from harness.trackers.trackio_run import TrackioRun

    planned = [records.planned(seed=seed) for seed in (0, 1)]
    folders = [records.begin(tmp_path, one) for one in planned]
    said: list[str] = []
    mirror = Mirror(lambda entries, run: TrackioRun(entries, run, TRACKING), said.append, TRACKING)
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
    assert [[log["step"] for log in logs] for logs in runs().values()] == [[1, 2, 2], [1, 2, 2]]


@pytest.mark.launch
def test_as_a_user_runs_it(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("WANDB_PROJECT", "p")
    house.suite("include: [{label: good}, {label: bad, model.fault: raise}]")
    ended = house.run("suite.yaml", "--tracker", "trackio")
    assert ended.returncode == 1 and "trackio" not in ended.stderr, ended.stderr
    found = {name.partition(" ")[0]: [log.get("summary/status") for log in logs] for name, logs in runs().items()}
    assert found == {"good": [None, "ok"], "bad": ["failed"]}


def test_what_it_cannot_write_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trackio.sqlite_storage import SQLiteStorage  # pyright: ignore[reportMissingImports]

    from harness.trackers.trackio_run import TrackioRun

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(SQLiteStorage, "bulk_log", full)
    said: list[str] = []
    mirror = Mirror(lambda entries, run: TrackioRun(entries, run, TRACKING), said.append, TRACKING)
    mirror.add(records.whole(tmp_path).path)
    mirror.close()
    problem, missing = said
    assert "No space left on device" in problem and "1 of 1 run is missing there" in missing
