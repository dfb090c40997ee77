"""Checkpoints on disk: whole or absent, two kept, and found out when they are damaged."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.records.checkpoints import MANIFEST, Checkpoint, CheckpointFolder, Damaged, require_same_run

FILES = {"weights": bytes(range(256)) * 4, "state.json": b"{}"}
RUN = {"run_id": "abc", "num_processes": 1}


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "run" / "checkpoints")


def steps_in(folder: CheckpointFolder) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in sorted(folder.path.iterdir())]


def newest(folder: CheckpointFolder) -> Checkpoint:
    found, _ = folder.newest()
    assert found
    return found


def test_what_is_written_is_read(folder: CheckpointFolder) -> None:
    path = folder.commit(12, FILES, RUN)
    found, problems = folder.newest()
    assert found and problems == [] and found.path == path
    assert (found.step, found.run) == (12, RUN)
    assert {name: found.read(name) for name in found.files} == FILES
    assert folder.at(12) == found
    assert {each.name for each in path.iterdir()} == {*FILES, MANIFEST}


def test_a_checkpoint_has_the_mode_of_the_umask(folder: CheckpointFolder, umask: int) -> None:
    path = folder.commit(12, FILES, RUN)
    assert path.stat().st_mode & 0o777 == 0o777 & ~umask
    assert {each.stat().st_mode & 0o777 for each in path.iterdir()} == {0o666 & ~umask}


def test_there_is_none(folder: CheckpointFolder) -> None:
    assert folder.newest() == (None, [])
    folder.clear()
    with pytest.raises(Damaged, match="No such file"):
        folder.at(3)


def test_the_newest_is_that_of_the_most_steps(folder: CheckpointFolder) -> None:
    for step in (9, 10, 99, 100, 1_000_000):
        folder.commit(step, FILES, RUN)
        assert newest(folder).step == step


def test_two_are_kept(folder: CheckpointFolder) -> None:
    for step in (1, 2, 3, 4):
        folder.commit(step, FILES, RUN)
    assert steps_in(folder) == [3, 4]


def test_one_of_the_same_step_is_replaced(folder: CheckpointFolder) -> None:
    folder.commit(5, {"weights": b"damaged"}, RUN)
    folder.commit(5, FILES, RUN)
    assert newest(folder).read("weights") == FILES["weights"] and steps_in(folder) == [5]


def test_all_are_cleared_or_those_after_a_step(folder: CheckpointFolder) -> None:
    for step in (5, 6):
        folder.commit(step, FILES, RUN)
    (folder.path / "final.safetensors").touch()
    (folder.path / ".step-0000000007.x").mkdir()
    folder.clear(after=5)
    assert newest(folder).step == 5 and {path.name for path in folder.path.iterdir()} == {
        "final.safetensors",
        "step-0000000005",
    }
    folder.clear()
    assert [path.name for path in folder.path.iterdir()] == ["final.safetensors"]


def interrupt(monkeypatch: pytest.MonkeyPatch, call: int) -> Callable[[], int]:
    """Lets the given call, counted from 0, of those that write or rename fail; returns how many there were."""
    calls = 0

    def failing(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call + 1:
                raise OSError(28, "No space left on device")
            return function(*arguments, **named)

        return called

    monkeypatch.setattr(os, "fsync", failing(os.fsync))
    monkeypatch.setattr(Path, "mkdir", failing(Path.mkdir))
    monkeypatch.setattr(Path, "open", failing(Path.open))
    monkeypatch.setattr(Path, "rename", failing(Path.rename))
    return lambda: calls


def commit_stages(path: Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        count = interrupt(patch, 10**6)
        CheckpointFolder(path).commit(1, FILES, RUN)
        return count()


def test_a_disk_that_is_full_at_any_stage_costs_the_new_one_only(tmp_path: Path) -> None:
    stages = commit_stages(tmp_path / "counted")
    assert stages >= 10
    for stage in range(stages):
        folder = CheckpointFolder(tmp_path / str(stage))
        folder.commit(1, {"weights": b"1"}, RUN)
        folder.commit(2, {"weights": b"2"}, RUN)
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, stage)
            with pytest.raises(OSError, match="No space left"):
                folder.commit(3, FILES, RUN)
        kept = steps_in(folder)  # and nothing else is left behind
        # The last stage makes the name survive a power cut: then the new one is there, and the oldest is too.
        assert kept == ([1, 2, 3] if stage == stages - 1 else [1, 2])
        assert newest(folder).step == kept[-1]
        folder.commit(4, FILES, RUN)
        assert steps_in(folder) == [kept[-1], 4] and newest(folder).step == 4


def test_what_a_killed_process_left_behind_is_removed(folder: CheckpointFolder) -> None:
    folder.commit(1, FILES, RUN)
    unfinished = folder.path / ".step-0000000002.abc" / "checkpoint"
    unfinished.mkdir(parents=True)
    (unfinished / "weights").write_bytes(b"half")
    assert newest(folder).step == 1 and folder.newest()[1] == []
    folder.commit(3, FILES, RUN)
    assert steps_in(folder) == [1, 3]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "of another": lambda path: path.write_bytes(path.read_bytes()[::-1]),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_damaged_one_is_passed_over_and_named(name: str, damage: str, folder: CheckpointFolder) -> None:
    folder.commit(1, FILES, RUN)
    path = folder.commit(2, FILES, RUN)
    DAMAGES[damage](path / name)
    found, problems = folder.newest()
    assert found and found.step == 1
    assert len(problems) == 1 and problems[0].startswith("step-0000000002: ") and name in problems[0]


def test_no_bit_of_a_manifest_can_flip_unnoticed(folder: CheckpointFolder) -> None:
    folder.commit(1, FILES, RUN)
    path = folder.commit(2, FILES, RUN) / MANIFEST
    whole, right = path.read_bytes(), newest(folder)
    for place in range(len(whole)):
        for bit in (0, 3, 5):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            found = newest(folder)
            assert found.step == 1 or found == right, whole[max(place - 20, 0) : place + 1]


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"format": 1}', '{"step": Infinity}', "{" * 100_000, "\xff"])
def test_a_manifest_that_is_none(content: str, folder: CheckpointFolder) -> None:
    folder.commit(1, FILES, RUN)
    (folder.commit(2, FILES, RUN) / MANIFEST).write_text(content, encoding="latin-1")
    assert newest(folder).step == 1


def test_a_file_that_the_manifest_does_not_name_is_not_read(folder: CheckpointFolder) -> None:
    path = folder.commit(1, FILES, RUN)
    (path / "more").write_bytes(b"x")
    with pytest.raises(Damaged, match="more is not in"):
        newest(folder).read("more")


def test_a_checkpoint_that_is_no_folder(folder: CheckpointFolder) -> None:
    folder.commit(1, FILES, RUN)
    (folder.path / "step-0000000002").write_bytes(b"")
    assert newest(folder).step == 1


def test_one_of_another_format_is_passed_over(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.commit(1, FILES, RUN)
    with monkeypatch.context() as patch:
        patch.setattr("harness.records.checkpoints.FORMAT", 99)
        folder.commit(2, FILES, RUN)
    found, problems = folder.newest()
    assert found and found.step == 1 and "format 99" in problems[0]


def test_one_that_was_moved_to_another_step_is_passed_over(folder: CheckpointFolder) -> None:
    shutil.copytree(folder.commit(1, FILES, RUN), folder.path / "step-0000000009")
    assert newest(folder).path.name == "step-0000000001"


def test_a_checkpoint_of_the_same_run_is_taken(tmp_path: Path) -> None:
    spec = {"train": {"epochs": 3, "timeout_seconds": 9}}
    found = {**RUN, "fingerprint": "f", "spec": spec}
    require_same_run(found, found, tmp_path)
    # What is no part of a run's identity may change between two parts of it.
    require_same_run(found, {**found, "spec": {"train": {"epochs": 3, "timeout_seconds": 5}}}, tmp_path)


def test_a_checkpoint_of_another_run_is_refused_and_the_difference_shown(tmp_path: Path) -> None:
    spec = {"model": {"name": "mlp", "hidden_sizes": [8]}, "train": {"epochs": 3}}
    found = {"run_id": "abc", "num_processes": 1, "fingerprint": "f" * 12, "spec": spec}
    other = json.loads(json.dumps(found))
    other["run_id"], other["fingerprint"] = "xyz", "e" * 12
    other["spec"]["train"]["epochs"], other["spec"]["model"]["hidden_sizes"] = 5, [16]
    with pytest.raises(HarnessError) as raised:
        require_same_run(found, other, tmp_path)
    for difference in ("train.epochs was 3, is 5", "hidden_sizes was [8], is [16]", 'fingerprint was "ffffffffffff"'):
        assert difference in raised.value.message
    assert str(tmp_path) in raised.value.message and "run_id" not in raised.value.message


def test_a_checkpoint_of_another_world_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="num_processes was 2, is 1"):
        require_same_run({**RUN, "num_processes": 2}, RUN, tmp_path)
