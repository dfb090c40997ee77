"""What a tracker is told, and when: each epoch once, in order, and the end."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.records.result import Cause
from harness.records.store import RunFolder
from harness.spec import parse_run_spec
from harness.suite.plan import PlannedRun
from harness.trackers.entries import Entries, Row, read_entries
from harness.trackers.mirror import Mirror, RunMirror
from harness.trackers.options import Tracking
from tests.marked import MARKING
from tests.trackers import records


class Told:
    """A tracker that takes notes, and fails where it is asked to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.fails = ""

    def open(self, entries: Entries, folder: RunFolder) -> Told:
        self._note("open", entries.id)
        return self

    def epoch(self, number: int, row: Row) -> None:
        self._note("epoch", number)

    def end(self, entries: Entries) -> None:
        self._note("end", entries.summary["status"])

    def _note(self, name: str, value: object) -> None:
        if self.fails == name:
            raise ConnectionError("planted")
        self.calls.append((name, value))

    @property
    def short(self) -> list[str]:
        return [name if name == "open" else f"{name} {value}" for name, value in self.calls]


def test_a_run_that_grows_is_told_as_it_grows(tmp_path: Path) -> None:
    folder, told = records.begin(tmp_path), Told()
    replay = RunMirror(folder, told.open)
    replay.advance()
    assert told.short == ["open"]
    for epoch in range(2):
        records.epoch_event(folder, epoch)
        replay.advance()
        replay.advance()
    assert told.short == ["open", "epoch 1", "epoch 2"] and not replay.ended
    records.end(tmp_path)
    replay.advance()
    replay.advance(to_the_end=True)
    assert told.short == ["open", "epoch 1", "epoch 2", "end ok"] and replay.ended


def test_what_was_trained_again_after_a_checkpoint_is_told_once(tmp_path: Path) -> None:
    folder, told = records.begin(tmp_path), Told()
    replay = RunMirror(folder, told.open)
    for epoch in (0, 1):
        records.epoch_event(folder, epoch)
    replay.advance()
    records.begin(tmp_path, resumed_at_step=12)
    for epoch in (1, 2):
        records.epoch_event(folder, epoch)
    records.end(tmp_path)
    replay.advance()
    assert told.short == ["open", "epoch 1", "epoch 2", "epoch 3", "end ok"]


def test_a_run_that_begins_anew_is_another_one(tmp_path: Path) -> None:
    folder, told = records.begin(tmp_path), Told()
    replay = RunMirror(folder, told.open)
    records.epoch_event(folder, 0)
    replay.advance()
    records.begin(tmp_path)
    records.epoch_event(folder, 0)
    replay.advance()
    assert told.short == ["open", "epoch 1", "end interrupted", "open", "epoch 1"]
    first, second = (value for name, value in told.calls if name == "open")
    assert second == f"{first}-1"


def test_a_run_that_is_left_is_said_to_be(tmp_path: Path) -> None:
    folder, told = records.begin(tmp_path), Told()
    RunMirror(folder, told.open).advance(to_the_end=True)
    assert told.short == ["open", "end interrupted"]


@pytest.mark.parametrize(
    ("status", "code"),
    [("ok", 0), ("failed", 1), ("oom", 1), ("diverged", 1), ("timeout", 1), ("preempted", 75), ("interrupted", 75)],
)
def test_exit_codes(tmp_path: Path, status: str, code: int) -> None:
    entries = read_entries(records.begin(tmp_path))
    assert entries and entries.exit_code == 75
    assert dataclasses.replace(entries, ending={"status": status}).exit_code == code


def mirror(told: Told, said: list[str], patience: float = 0.0) -> Mirror:
    return Mirror(told.open, said.append, Tracking(("wandb",), "p", "e", patience_seconds=patience))


def test_a_tracker_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    folder, told, said = records.begin(tmp_path), Told(), []
    told.fails = "open"
    own = mirror(told, said)
    own.add(folder.path)
    own.look()
    own.look()
    assert said == ["ConnectionError: planted; the runs go on, and their records are whole"], "once"
    told.fails = ""
    own.look()
    assert told.short == ["open"], "though nothing is new"
    records.epoch_event(folder, 0)
    own.look()
    records.end(tmp_path)
    own.close()
    assert told.short == ["open", "epoch 1", "end ok"] and len(said) == 1


def test_a_server_that_does_not_answer_is_left_alone_for_a_while(tmp_path: Path) -> None:
    told, said = Told(), []
    folders = [records.begin(tmp_path, records.planned(seed=seed)).path for seed in range(3)]
    told.fails = "open"
    own = mirror(told, said, patience=3600.0)
    for path in folders:
        own.add(path)
    own.look()
    told.fails = ""
    own.look()
    assert not told.calls
    told.fails = "open"
    own.close()
    mend = f"harness wandb sync {tmp_path / 'made'} --wandb-project p --wandb-entity e"
    assert said[-1] == f"3 of 3 runs are missing there; send them: {mend}"


def test_a_run_that_is_missing_is_counted(tmp_path: Path) -> None:
    told, said = Told(), []
    folder = records.whole(tmp_path)
    told.fails = "end"
    own = mirror(told, said)
    own.add(folder.path)
    own.look()
    own.close()
    assert said[-1].startswith("1 of 1 run is missing there")


def test_a_run_that_is_opened_again_is_told_again(tmp_path: Path) -> None:
    told, said = Told(), []
    folder = records.begin(tmp_path)
    records.end(tmp_path, status="preempted", cause=Cause(kind="SIGTERM", message="stopped"))
    own = mirror(told, said)
    own.add(folder.path)
    own.look()
    records.begin(tmp_path, resumed_at_step=4)
    records.epoch_event(folder, 0)
    own.add(folder.path)
    own.add(folder.path)
    own.look()
    own.close()
    assert told.short == ["open", "end preempted", "open", "epoch 1", "end interrupted"] and not said


def test_ids_are_stable_legal_and_apart(tmp_path: Path) -> None:
    found = {}
    for name in ("once", "again"):
        for seed in range(2):
            folder = records.whole(tmp_path / name, records.planned("läßt/sich:nicht#als%id?nehmen", seed))
            entries = read_entries(folder)
            assert entries
            found[name, seed] = entries
    assert found["once", 0].id == found["again", 0].id != found["once", 1].id
    assert re.fullmatch(r"[a-z0-9-]{1,64}", found["once", 0].id)
    assert found["once", 0].group == found["once", 1].group
    long = [read_entries(records.whole(tmp_path, records.planned(f"{'x' * 300}{end}"))) for end in "ab"]
    groups = {entries.group for entries in long if entries}
    assert len(groups) == 2 and all(len(group) == 128 for group in groups)


def test_what_names_a_place_is_not_told(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    records.end(tmp_path, status="failed", cause=Cause(kind="X", message="canary-path", traceback="canary-code"))
    entries = read_entries(folder)
    assert entries and "canary" not in repr(entries) and entries.ending and entries.ending["cause/kind"] == "X"
    recorded = "".join((folder.path / f"{name}.json").read_text() for name in ("spec", "system", "result"))
    for canary in ("canary-user", "canary-path", "canary-code", "canary-slurm"):
        assert canary in recorded


def test_of_pretrained_weights_the_name_of_the_file_is_told_and_not_its_path(tmp_path: Path) -> None:
    file = tmp_path / "canary-folder/weights.pth"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    values = records.planned().spec.model_dump(mode="json")
    spec = parse_run_spec({**values, "model": {"name": "torchvision/resnet18", "pretrained": str(file)}})
    run = PlannedRun(spec=spec, config_id=spec.config_id(), run_id="0123456789ab", fingerprint="f00d")
    entries = read_entries(records.whole(tmp_path, run))
    assert entries and entries.config["model"]["pretrained"] == "weights.pth" and "canary-folder" not in repr(entries)


def test_the_digest_is_of_what_is_told(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    digests = []
    for step in (lambda: records.epoch_event(folder, 0), lambda: records.end(tmp_path), lambda: None):
        step()
        entries = read_entries(folder)
        assert entries
        digests.append(entries.digest())
    assert len(set(digests)) == 2 and digests[1] == digests[2]


def test_a_gap_in_the_epochs_leaves_the_train_time_out(tmp_path: Path) -> None:
    folder = records.begin(tmp_path)
    for epoch in (0, 2):
        records.epoch_event(folder, epoch)
    entries = read_entries(folder)
    assert entries and "train_seconds" in entries.rows[1] and "train_seconds" not in entries.rows[3]


@pytest.mark.parametrize("mark", ["packed", "disturbed"])
def test_no_time_of_a_marked_run_is_told(tmp_path: Path, mark: str) -> None:
    def entries(**marking: Any) -> Entries:
        found = read_entries(records.whole(tmp_path / str(len(marking)), **marking))
        assert found and found.ending
        return found

    one, two = entries(), entries(**MARKING[mark])
    assert one.ending and two.ending
    times = [name for name in one.rows[3] if "seconds" in name]
    assert len(times) >= 5 and set(two.rows[3]) == set(one.rows[3]) - set(times)
    lost = set(one.ending) - set(two.ending)
    assert "clock/train_seconds" in lost and {name.partition("/")[0] for name in lost} <= {
        "clock", "throughput", "telemetry", "energy"
    }  # fmt: skip
    assert two.ending["test/accuracy"] == one.ending["test/accuracy"]
    marks = {"packed": 2, "marks": ["packed"]} if mark == "packed" else {"marks": ["disturbed"]}
    assert two.config == {**one.config, **marks}
    reasons = json.dumps([two.config, two.ending])
    assert "52 %" not in reasons, "what others did there"


def test_the_environment_is_a_part_of_the_config(tmp_path: Path) -> None:
    environment = {"OMP_NUM_THREADS": "1"}
    folder = records.begin(tmp_path, environment=environment)
    records.end(tmp_path)
    found = read_entries(folder)
    assert found and found.ending and not any("environment" in name for name in found.ending)
    assert found.config["environment"] == environment
    assert found.flat_config()["environment.OMP_NUM_THREADS"] == "1"


def test_the_time_of_a_resumed_run_is_told(tmp_path: Path) -> None:
    found = read_entries(records.whole(tmp_path, **MARKING["resumed"]))
    assert found and found.ending and "clock/train_seconds" in found.ending
    assert found.config["marks"] == ["resumed"] and "train_seconds" in found.rows[3]


def test_a_folder_without_a_run_tells_nothing(tmp_path: Path) -> None:
    assert read_entries(RunFolder(tmp_path)) is None
