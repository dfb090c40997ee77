"""Only the owner counts: of events, checkpoints and results, what a former owner wrote after it had lost its run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from harness.records import claims as module
from harness.records.checkpoints import CheckpointFolder, generation_of
from harness.records.claims import claim
from harness.records.events import TAIL_BYTES, generation_at_end, last_epochs, since_last_start
from harness.records.files import write_atomically
from harness.records.follow import RunFollower
from harness.records.owning_process import this_process
from harness.records.read import read_result, read_suite
from harness.records.result import RunResult
from harness.records.store import RENAMED, RunFolder, run_folder
from harness.report.epochs import curve_of
from harness.trackers.entries import read_entries
from tests.records.test_store import finished
from tests.trackers import records

FILES = {"weights": b"1234"}
RUN = {"run_id": "r", "num_processes": 1}


def epoch(folder: RunFolder, number: int, accuracy: float, seconds: float = 10.0) -> None:
    metrics = {"test": {"accuracy": accuracy}, "train": {"loss": 0.1, "accuracy": accuracy}}
    folder.event("epoch", epoch=number, train_seconds=seconds, wait_seconds=0.0, metrics=metrics)


def owned(path: Path, generation: int) -> RunFolder:
    return RunFolder(path, generation)


def owners(path: Path) -> tuple[RunFolder, RunFolder]:
    """Returns the folder of a run as its former owner and its owner see it: both trained its first epoch."""
    former, new = owned(path, 1), owned(path, 2)
    former.start({}, {})
    epoch(former, 0, 0.5)
    new.start({}, {})
    epoch(new, 0, 0.6)
    return former, new


def test_what_a_former_owner_appends_counts_for_nothing(tmp_path: Path) -> None:
    former, new = owners(tmp_path)
    epoch(former, 0, 0.1, seconds=1.0)
    epoch(former, 1, 0.2, seconds=1.0)
    former.event("run_ended", status="ok")
    epoch(new, 1, 0.7)
    epoch(former, 2, 0.3, seconds=1.0)
    reader = RunFolder(tmp_path)
    curve = curve_of(reader.epochs())
    assert curve and (curve.seconds, curve.accuracies) == ((10.0, 20.0), (0.6, 0.7))
    assert curve.at(15.0) == 0.6, "the accuracy at a budget"
    assert reader.metric_at("test.accuracy", 2) == 0.7 and reader.attempt().number == 2
    assert [event["generation"] for event in since_last_start(reader.events())] == [2, 2, 2]
    seen = RunFollower(reader)
    assert [event.get("epoch") for event in seen.news()] == [None, 0, None, 0, 1]
    assert last_epochs(seen.events)[1]["metrics"]["test"]["accuracy"] == 0.7
    assert "run_ended" not in {event["event"] for event in seen.events}, "what is seen of a run that goes on"


def test_a_tracker_is_not_told_of_them(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    former, new = owned(folder.path, 1), owned(folder.path, 2)
    records.epoch_event(former, 0)
    new.event("run_resumed", attempt=2, step=5)
    records.epoch_event(former, 1)
    entries = read_entries(folder)
    assert entries and list(entries.rows) == [1]
    records.epoch_event(new, 1)
    entries = read_entries(folder)
    assert entries and list(entries.rows) == [1, 2]


def test_what_the_former_owner_did_before_it_lost_a_run_that_goes_on_counts(tmp_path: Path) -> None:
    former, new = owned(tmp_path, 1), owned(tmp_path, 2)
    former.start({}, {})
    epoch(former, 0, 0.5)
    new.start({}, {}, resumed_at_step=10)
    epoch(former, 1, 0.1)
    epoch(new, 1, 0.7)
    assert [event["metrics"]["test"]["accuracy"] for event in RunFolder(tmp_path).epochs().values()] == [0.5, 0.7]


def test_records_from_before_generations_are_believed(tmp_path: Path) -> None:
    old = RunFolder(tmp_path)
    old.start({}, {})
    epoch(old, 0, 0.5)
    assert all("generation" not in event for event in old.events()) and len(old.epochs()) == 1
    new = owned(tmp_path, 1)
    new.start({}, {}, resumed_at_step=1)
    epoch(old, 0, 0.1)
    assert old.metric_at("test.accuracy", 1) == 0.5, "a process of before, that lost it"


def test_a_result_of_a_former_owner_does_not_count(tmp_path: Path) -> None:
    finished(tmp_path)
    folder = run_folder(tmp_path, "s", "r", "m")
    result = folder.result()
    assert result and result.generation == 0
    former, new = owned(folder.path, 1), owned(folder.path, 2)
    former.start({}, {"system_id": "m"})
    new.start({}, {"system_id": "m"})
    former.finish(result)  # it was stopped between its last look at its claim and this
    assert not folder.is_done()
    with pytest.raises(ValueError, match="written by a former owner, of generation 1; the run is of 2"):
        read_result(folder.path / "result.json")
    found = read_suite(tmp_path, "s")
    assert not found.results and "former owner" in found.unreadable[folder.path / "result.json"]
    new.finish(result)
    written = folder.result()
    assert folder.is_done() and written and written.generation == 2
    epoch(former, 5, 0.1)
    assert folder.is_done(), "and what the former one appends takes nothing away"


def test_the_end_of_the_events_tells_the_generation(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert generation_at_end(path) == 0
    folder = owned(tmp_path, 7)
    folder.event("note", text='"generation":9}', more={"generation": 99})
    owned(tmp_path, 3).event("note", text="x" * (TAIL_BYTES - 200))
    assert generation_at_end(path) == 7
    RunFolder(tmp_path).event("note")
    with path.open("ab") as file:
        file.write(b'{"event":"torn","generation":8')
    assert generation_at_end(path) == 7


def test_a_claim_is_above_what_the_records_tell(tmp_path: Path) -> None:
    """Kept records lie without their claims; who goes on with them is still their latest owner."""
    owned(tmp_path, 5).event("run_started", attempt=1)
    claimed = RunFolder(tmp_path).claim()
    assert claimed and claimed[0].generation == claimed[1].generation == 6
    assert RunFolder(tmp_path).claim() is None
    claimed[0].release()
    (tmp_path / "events.jsonl").unlink()
    os.mkfifo(tmp_path / "events.jsonl")
    again = RunFolder(tmp_path).claim()
    assert again and again[0].generation == 7 and again[1].started_generation() == 0
    again[0].release()


@pytest.mark.parametrize("name", RENAMED)
def test_a_file_that_a_former_owner_was_about_to_rename_takes_no_owners_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.01)
    former = RunFolder(tmp_path).claim()
    assert former
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    new: list[tuple[module.Claim, RunFolder]] = []

    def before() -> None:
        """It owns the run, is stopped just after it has seen so, and finds out when it is asked once more."""
        if new:
            raise InterruptedError("not its own")
        assert former[0].is_held()
        former[0]._stop_heartbeat()
        newest = tmp_path / "claims/1.json"
        newest.write_text(newest.read_text().replace(this_process()["machine"], "another"))
        os.utime(newest, (0, 0))
        taken = RunFolder(tmp_path).claim()
        assert taken
        new.append(taken)
        write_atomically(path, lambda file: file.write(b"new"))

    with pytest.raises(InterruptedError):
        write_atomically(path, lambda file: file.write(b"former"), before)
    assert path.read_bytes() == b"new" and not list(path.parent.glob(".*"))
    new[0][0].release()


def steps(path: Path) -> list[tuple[int, int]]:
    """Returns step and generation of each checkpoint."""
    names = sorted(each.name for each in path.glob("step-*"))
    return [(int(name[5:15]), generation_of(Path(name))) for name in names]


def test_checkpoints_that_a_former_owner_commits_are_not_believed(tmp_path: Path) -> None:
    former, new = CheckpointFolder(tmp_path, 1), CheckpointFolder(tmp_path, 2)
    for step in (10, 20, 30):
        former.commit(step, FILES, RUN)
    checkpoint, problems = new.newest(since=1)
    assert checkpoint and checkpoint.step == 30 and not problems
    taken = new.take_over(checkpoint)
    assert taken and taken.path.is_dir() and taken.read("weights") == b"1234" and steps(tmp_path) == [(20, 2), (30, 2)]
    former.commit(40, FILES, RUN)
    assert steps(tmp_path) == [(20, 2), (30, 2), (40, 1)]
    for reader in (new, CheckpointFolder(tmp_path, 3)):
        found, _ = reader.newest(since=2)
        assert found and found.step == 30
    former.commit(30, {"weights": b"other"}, RUN)
    former.clear()
    assert steps(tmp_path) == [(20, 2), (30, 2)], "and it deletes none of the owner's"
    former.commit(50, FILES, RUN)
    new.commit(35, FILES, RUN)
    assert steps(tmp_path) == [(30, 2), (35, 2)]


def test_a_former_owner_leaves_what_the_owner_is_writing(tmp_path: Path) -> None:
    (tmp_path / ".step-0000000030.2.abc").mkdir()
    (tmp_path / ".step-0000000030.1.abc").mkdir()
    CheckpointFolder(tmp_path, 1).commit(30, FILES, RUN)
    assert (tmp_path / ".step-0000000030.2.abc").is_dir() and not (tmp_path / ".step-0000000030.1.abc").exists()


def test_an_owner_that_began_anew_is_followed_by_no_checkpoint_of_a_former_one(tmp_path: Path) -> None:
    folder = owned(tmp_path, 2)
    folder.start({}, {})
    CheckpointFolder(tmp_path / "checkpoints", 1).commit(40, FILES, RUN)
    assert folder.started_generation() == 2
    assert folder.checkpoints.newest(since=2) == (None, [])
    assert folder.checkpoints.take_over(None) is None and not steps(folder.checkpoints.path)


def test_checkpoints_from_before_generations_are_taken_over(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).commit(10, FILES, RUN)
    new = CheckpointFolder(tmp_path, 1)
    assert (found := new.newest()[0]) and new.take_over(found)
    assert steps(tmp_path) == [(10, 1)] and new.at(10).step == 10


def test_a_process_that_slept_knows_it_at_its_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 1000.0)
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.01)
    held = claim(tmp_path)
    assert held and held.seems_held()
    looks: list[Any] = []
    real = module._newest
    monkeypatch.setattr(module, "_newest", lambda claims: (looks.append(1), real(claims))[1])
    assert all(held.seems_held() for _ in range(1000)) and not looks, "a step costs no look at the disk"
    now = time.clock_gettime(module._BOOT_TIME)
    monkeypatch.setattr(module, "_clock", lambda: now + 95.0)
    assert held.seems_held() and looks, "nobody took the run over meanwhile"
    looks.clear()
    assert held.seems_held() and not looks
    os.utime(tmp_path / "claims" / "1.json", (0, 0))
    after = claim(tmp_path)
    assert after and held.seems_held(), "less than the time that it takes to take a run over"
    monkeypatch.setattr(module, "_clock", lambda: now + 95.0 + module.CONFIRM_SECONDS)
    assert not held.seems_held() and after.is_held()
    monkeypatch.setattr(module, "_clock", lambda: now)
    assert not held.seems_held(), "it stays so"
    assert min(25.0, module.STALE_SECONDS) > module.CONFIRM_SECONDS
    after.release()


def test_the_heartbeat_notices_a_lost_run_between_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    held = claim(tmp_path)
    assert held
    (tmp_path / "claims" / "1.json").rename(tmp_path / "claims" / "2.json")
    (tmp_path / "claims" / "2.json").write_text(json.dumps({"token": "another's"}))
    end = time.monotonic() + 20
    while held.seems_held() and time.monotonic() < end:
        time.sleep(0.01)
    assert not held.seems_held()


def test_a_disk_that_cannot_be_read_takes_no_run_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    held = claim(tmp_path)
    assert held
    looks: list[int] = []

    def fails(path: Path) -> None:
        looks.append(1)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_newest", fails)
        patch.setattr(module, "CONFIRM_SECONDS", 0.0)
        time.sleep(0.1)
        assert held.seems_held() and looks
    assert held.is_held()
    held.release()


def test_a_result_says_who_wrote_it() -> None:
    assert RunResult.model_fields["generation"].default == 0
