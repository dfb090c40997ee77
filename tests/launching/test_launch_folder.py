"""What a rank tells those who watch it, in the folder of its launch and in that of its run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.launching import launch_folder as module
from harness.launching.launch_folder import Heartbeat, read_heartbeats
from harness.records.follow import TRACKED_RUNS, NewOpenedRuns
from harness.records.store import RunFolder


def opened(launch: Path | None, run: Path, rank: int = 0) -> Heartbeat:
    run.mkdir(parents=True, exist_ok=True)
    heartbeat = Heartbeat(launch, rank)
    heartbeat.run_begins("r0", RunFolder(run))
    heartbeat.run_opened()
    return heartbeat


def test_both_folders_have_the_same(tmp_path: Path) -> None:
    run = tmp_path / "run"
    heartbeat = opened(tmp_path, run, rank=3)
    heartbeat.write()
    [beat] = read_heartbeats(tmp_path).values()
    told = {"run_id": "r0", "at": "start", "gauges": {}, "files": 0, "beats": 1}
    assert {**beat, "stack": []} == {**told, "stack": []} and heartbeat.steps is None
    assert "test_both_folders_have_the_same" in [name for _, _, name in beat["stack"]]
    assert not (run / "live").exists()
    heartbeat.beat(4)
    heartbeat.sample({"gpu_utilization": 0.5})
    assert heartbeat.steps == 5
    told = {"run_id": "r0", "at": 4, "gauges": {"gpu_utilization": 0.5}, "files": 0}
    assert read_heartbeats(run / "live") == {3: told}
    heartbeat.write()
    [beat] = read_heartbeats(tmp_path).values()
    assert beat | told == beat and beat["beats"] == 2
    heartbeat.run_ended()
    assert not (run / "live").exists()


def test_what_others_watch_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    run = tmp_path / "run"
    heartbeat = opened(tmp_path, run)
    live = []
    for step in range(40):
        now += 0.25
        heartbeat.beat(step)
        heartbeat.sample({})
        live.append(read_heartbeats(run / "live")[0]["at"])
    assert sorted(set(live)) == [0, 20], "every five seconds, over what may be a network disk"


def test_only_what_this_process_wrote_is_removed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    heartbeat = opened(None, run)
    heartbeat.sample({})
    (run / "live/rank-1.json").write_text("{}")
    lost = opened(None, run)  # the run is another process's
    lost.run_ended()
    assert sorted(path.name for path in (run / "live").iterdir()) == ["rank-0.json", "rank-1.json"]
    heartbeat.run_ended()
    assert [path.name for path in (run / "live").iterdir()] == ["rank-1.json"]


def test_who_is_told_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor by the list of the launch, the trackers by theirs, and a view within this process."""
    run, told, trackers = tmp_path / "run", [], tmp_path / "trackers.jsonl"
    monkeypatch.setenv(TRACKED_RUNS, str(trackers))
    run.mkdir()
    (run / "events.jsonl").write_text("earlier\n")
    heartbeat = Heartbeat(tmp_path, 0)
    heartbeat.on_run = told.append
    heartbeat.run_begins("r0", RunFolder(run))
    (run / "events.jsonl").write_text("earlier\nand more\n")
    heartbeat.run_opened()
    heartbeat.run_ended()
    assert [(one.run_id, one.events_bytes, one.stage) for one in told] == [
        ("r0", 8, "begun"), ("r0", 8, "opened"), ("r0", 8, "ended")
    ]  # fmt: skip
    assert NewOpenedRuns(trackers)() == told and NewOpenedRuns(tmp_path / "runs.jsonl")() == told
    opened(tmp_path, run, rank=1).run_ended()
    assert NewOpenedRuns(trackers)() == told, "the first rank tells it"


def test_a_list_that_cannot_be_written_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gone" / "runs.jsonl"
    monkeypatch.setenv(TRACKED_RUNS, str(path))
    opened(tmp_path, tmp_path / "run").run_ended()
    why = "No such file or directory; training goes on"
    assert capsys.readouterr().err == f"rank 0: cannot write to the trackers' list of runs, {path}: {why}\n"
    assert json.loads((tmp_path / "runs.jsonl").read_text().splitlines()[-1])["stage"] == "ended"
