"""What is new of a run's record, and of a list of runs, from look to look."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records.files import OddFile
from harness.records.follow import NewOpenedRuns, OpenedRun, RunFollower, add_opened_run
from harness.records.store import RunFolder, run_folder
from tests.trackers import records


def names(follower: RunFollower) -> list[str]:
    return [event["event"] for event in follower.news()]


def test_a_run_from_its_beginning_to_its_end_and_anew(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    follower = RunFollower(folder)
    records.epoch_event(folder, 0)
    assert names(follower) == ["run_started", "epoch"] and follower.result is None
    assert names(follower) == []
    result = records.end(tmp_path)
    assert names(follower) == ["run_ended"]
    assert follower.result and follower.result.ended_at == result.ended_at
    assert names(follower) == [] and follower.result, "it stays"
    records.begin(tmp_path)
    assert names(follower) == ["run_started"] and follower.result is None
    assert follower.events == folder.events()


def test_a_line_that_is_still_written_is_told_when_it_is_whole(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    follower = RunFollower(folder)
    follower.news()
    with (folder.path / "events.jsonl").open("a") as file:
        file.write('{"event":"note"')
        file.flush()
        assert names(follower) == []
        file.write("}\n")
    assert names(follower) == ["note"]


def test_the_result_of_an_earlier_attempt_is_not_told(tmp_path: Path) -> None:
    folder = records.whole(tmp_path, status="preempted")
    follower = RunFollower(folder, folder.events_bytes())
    assert names(follower) == [] and follower.result is None
    records.begin(tmp_path, resumed_at_step=3)
    records.end(tmp_path)
    assert names(follower) == ["run_resumed", "run_ended"]
    assert follower.result and follower.result.status == "ok"


def test_a_former_owner_tells_nothing_whenever_it_is_read(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    former, owner = replace(folder, generation=1), replace(folder, generation=2)
    follower = RunFollower(folder)
    records.epoch_event(former, 0)
    owner.event("run_resumed", attempt=2, step=5)
    assert names(follower) == ["run_started", "epoch", "run_resumed"]
    records.epoch_event(former, 1)
    former.event("run_started", attempt=3)
    assert names(follower) == []


def test_a_result_that_does_not_count_is_no_end(tmp_path: Path) -> None:
    folder = records.whole(tmp_path)
    good = (folder.path / "result.json").read_bytes()
    (folder.path / "result.json").write_text("[]")
    follower = RunFollower(folder)
    follower.news()
    assert follower.result is None and follower.problem == "not a whole JSON object"
    (folder.path / "result.json").write_bytes(good)
    follower.news()
    assert follower.result and not follower.problem


def test_a_folder_that_was_made_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    folder = records.whole(tmp_path)
    follower = RunFollower(replace(folder))
    assert len(follower.news()) == 5
    (folder.path / "events.jsonl").unlink()
    assert names(follower) == []
    records.begin(tmp_path)
    assert names(follower) == ["run_started"]
    assert [event["event"] for event in follower.events] == ["run_started"] and follower.result is None
    (folder.path / "events.jsonl").rename(tmp_path / "away")
    assert names(follower) == [] and len(follower.events) == 1


def test_what_is_no_file_is_an_error_and_what_is_not_there_is_none(tmp_path: Path) -> None:
    follower = RunFollower(run_folder(tmp_path, "s", "r", "m"))
    assert follower.news() == []
    follower.folder.path.mkdir(parents=True)
    os.mkfifo(follower.folder.path / "events.jsonl")
    with pytest.raises(OddFile, match="a FIFO"):
        follower.news()


def test_a_list_of_runs(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    new, runs = (
        NewOpenedRuns(path),
        [OpenedRun(f"r{index}", RunFolder(Path(f"results/s/r{index}/m")), 7) for index in (0, 1)],
    )
    assert new() == []
    add_opened_run(path, runs[0])
    add_opened_run(path, replace(runs[0], stage="ended"))
    with path.open("a") as file:
        file.write('nonsense\n{"run_id": "r9"}\n{"folder": 1, "run_id": "r9"}\n')
    add_opened_run(path, runs[1])
    assert new() == [runs[0], replace(runs[0], stage="ended"), runs[1]] and new() == []
