"""Checkpoint files that are damaged, missing or malicious: an older one is taken, and the end is the same."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.records.checkpoints import MANIFEST, CheckpointFolder
from harness.running.execute import Outcome
from tests.faults.runs import Seen, differences, finish, go, make_spec
from tests.house import House

Fault = Callable[..., None]
FILES = ["weights.safetensors", "training.safetensors", "rank-0.safetensors", "state.json", MANIFEST]


@pytest.fixture(scope="module")
def uninterrupted() -> Outcome:
    return finish(make_spec(), None)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a run that was killed after step 15: of steps 8 and 12."""
    folder = tmp_path_factory.mktemp("interrupted")
    assert go(make_spec(), folder, killed_after=15) is None
    assert [path.name[-2:] for path in sorted(folder.iterdir())] == ["08", "12"]
    return folder


@pytest.fixture
def folder(interrupted: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(interrupted, tmp_path / "checkpoints")


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def plant(path: Path) -> None:
    path.write_bytes(pickle.dumps(Canary(path.parents[2] / "canary")))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "bit-flipped": flip,
    "missing": Path.unlink,
    "malicious": plant,
}


def go_on(folder: Path, uninterrupted: Outcome) -> tuple[bool, Seen, list[int]]:
    """Returns whether the end is the same, what was seen, and where the run went on."""
    seen = Seen()
    outcome = finish(make_spec(), folder, seen=seen)
    return not differences(outcome, uninterrupted), seen, outcome.measured.resumed_at_steps


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_the_older_one_is_taken(name: str, damage: str, folder: Path, uninterrupted: Outcome, fault: Fault) -> None:
    DAMAGES[damage](folder / "step-0000000012" / name)
    _, problems = CheckpointFolder(folder).newest()
    assert len(problems) == 1 and name in problems[0]
    same, seen, resumed = go_on(folder, uninterrupted)
    assert resumed == [8] and seen.steps[0] == 8
    canary = folder.parent / "canary"
    fault(f"{damage} checkpoint file", survived=same and not canary.exists(), steps_lost=15 - 8)


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_both_are_damaged_the_run_begins_anew(
    damage: str, folder: Path, uninterrupted: Outcome, fault: Fault
) -> None:
    for path in folder.iterdir():
        DAMAGES[damage](path / "training.safetensors")
    same, _, resumed = go_on(folder, uninterrupted)
    assert resumed == []
    fault(f"{damage} checkpoint file", survived=same and not (folder.parent / "canary").exists(), steps_lost=15)


def test_no_flipped_bit_goes_unnoticed(folder: Path, uninterrupted: Outcome, fault: Fault) -> None:
    draw, checkpoints = random.Random(0), CheckpointFolder(folder)
    whole, _ = checkpoints.newest()
    assert whole
    for name in FILES:
        path = whole.path / name
        right = path.read_bytes()
        for place in [0, len(right) - 1, *(draw.randrange(len(right)) for _ in range(40))]:
            path.write_bytes(right[:place] + bytes([right[place] ^ 1 << draw.randrange(8)]) + right[place + 1 :])
            found, problems = checkpoints.newest()
            # White space between the values of a manifest bears one.
            assert found and ((found.step == 8 and problems) or (found == whole and name == MANIFEST)), (name, place)
        path.write_bytes(right)
    assert checkpoints.newest() == (whole, [])


def test_a_malicious_file_whose_checksum_is_right_is_not_unpickled(folder: Path, fault: Fault) -> None:
    checkpoints = CheckpointFolder(folder)
    whole, _ = checkpoints.newest()
    assert whole
    for name in FILES[:-1]:
        files = {each: whole.read(each) for each in whole.files}
        files[name] = pickle.dumps(Canary(folder.parent / "canary"))
        checkpoints.commit(13, files, whole.run)
        with pytest.raises(HarnessError, match="cannot go on from"):
            go(make_spec(), folder)
        fault("malicious checkpoint file with a right checksum", survived=not (folder.parent / "canary").exists())


@pytest.mark.slow
@pytest.mark.launch
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_record_says_what_was_damaged(damage: str, house: House, fault: Fault) -> None:
    suite = house.path / "suite.yaml"
    suite.write_text(
        "name: faults\n"
        "base: {model: {name: faulty, fault: kill, step: 30}, data: digits, optimizer: {name: sgd, lr: 0.1},\n"
        "  train: {epochs: 3, checkpoint_every_steps: 10, deterministic: true}}\n"
    )
    assert house.run(str(suite)).returncode == 1
    (run,) = house.path.glob("results/faults/*/*")
    checkpoints = sorted((run / "checkpoints").glob("step-*"))
    assert [path.name[-4:] for path in checkpoints] == ["20.1", "30.1"]
    DAMAGES[damage](checkpoints[1] / "weights.safetensors")
    # Steps are counted by the process: this one takes fewer than thirty.
    ended = house.run(str(suite))
    assert ended.returncode == 0, ended.stderr
    assert "not used" in ended.stderr
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    damaged = [event for event in events if event["event"] == "checkpoint_damaged"]
    assert len(damaged) == 1 and "step-0000000030.1: weights.safetensors" in damaged[0]["problem"]
    result = json.loads((run / "result.json").read_text())
    fault(f"{damage} checkpoint file", survived=result["status"] == "ok", steps_lost=30 - result["resumed_at_steps"][0])


@pytest.mark.slow
@pytest.mark.launch
def test_a_disk_that_is_full_stops_no_training(house: House, fault: Fault) -> None:
    """On a real file system of 2 MB; a checkpoint of this network takes more."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    (house.path / "suite.yaml").write_text(
        "name: faults\n"
        "base: {model: {name: mlp, hidden_sizes: [6000]}, data: digits, optimizer: {name: adam, lr: 0.001},\n"
        "  train: {epochs: 2, checkpoint_every_steps: 10, keep_weights: false}}\n"
    )
    (house.path / "small").mkdir()
    command = f"{sys.executable} -m harness run suite.yaml --output small"
    mount = "mount -t tmpfs -o size=2m tmpfs small"
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && {command}; code=$?; cp -r small kept; exit $code"],
        cwd=house.path,
        env=house.environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr
    (run,) = house.path.glob("kept/faults/*/*")
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    told = [event for event in events if event["event"] == "checkpoint"]
    assert [event["step"] for event in told] == [10, 20]
    assert all("No space left on device" in event["problem"] for event in told)
    result = json.loads((run / "result.json").read_text())
    assert not list((run / "checkpoints").glob("*")), "what was begun is removed"
    fault("disk full during a checkpoint", survived=result["status"] == "ok", steps_lost=0, times=len(told))
