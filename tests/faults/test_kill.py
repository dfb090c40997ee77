"""SIGKILL: at every stage of writing, and at random moments of real runs."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.records.checkpoints import CheckpointFolder
from harness.records.result import RunResult
from harness.records.store import RunFolder
from tests.house import House
from tests.processes import processes_in, wait_for

Fault = Callable[..., None]
ROOT = Path(__file__).parents[2]


def die(what: str, folder: Path, stage: int) -> subprocess.CompletedProcess[str]:
    """Writes a checkpoint or a result in a process that ends at a stage."""
    command = [sys.executable, "-m", "tests.faults.dying", what, str(folder), str(stage)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)


def stages(what: str, prepare: Callable[[Path], None], folder: Path) -> Iterator[Path]:
    """Yields a folder for each stage, after the process has died at it."""
    prepare(folder / "all")
    ended = die(what, folder / "all", 10**6)
    assert ended.returncode == 0, ended.stderr
    for stage in range(int(ended.stdout)):
        prepare(folder / str(stage))
        ended = die(what, folder / str(stage), stage)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        yield folder / str(stage)


@pytest.mark.launch
def test_killed_at_every_stage_of_writing_a_checkpoint(tmp_path: Path, fault: Fault) -> None:
    def prepare(path: Path) -> None:
        for step in (1, 2):
            CheckpointFolder(path).commit(step, {"weights": b"%d" % step * 1000}, {"run_id": "r"})

    found = []
    for path in stages("checkpoint", prepare, tmp_path):
        folder = CheckpointFolder(path)
        newest, problems = folder.newest()
        assert newest and newest.step in (2, 3)
        assert newest.read("weights") == b"%d" % newest.step * 1000
        found.append(newest.step)
        folder.commit(4, {"weights": b"4"}, {"run_id": "r"})
        left = sorted(each.name for each in path.iterdir())
        survived = left == [newest.path.name, "step-0000000004"] and not problems
        fault("killed while a checkpoint is written", survived=survived)
    assert found == sorted(found) and set(found) == {2, 3}, "before it is committed the older one, then the newer"


@pytest.mark.launch
def test_killed_at_every_stage_of_writing_a_result(tmp_path: Path, fault: Fault) -> None:
    def prepare(path: Path) -> None:
        RunFolder(path / "r" / "y").start({}, {})

    found = []
    for path in stages("result", prepare, tmp_path):
        folder = RunFolder(path / "r" / "y")
        exists = (folder.path / "result.json").exists()
        assert exists == folder.is_done(), "it is whole or absent"
        found.append(exists)
        if not exists:
            finished = RunFolder(tmp_path / "all" / "r" / "y").result()
            assert isinstance(finished, RunResult)
            assert folder.start({}, {}).number == 2
            folder.finish(finished)
        events = [event["event"] for event in folder.events()]
        survived = folder.is_done() and events[-1] == "run_ended" and events.count("run_started") == 1 + (not exists)
        fault("killed while a result is written", survived=survived)
    assert found == sorted(found) and set(found) == {False, True}


SLOW = '''
"""A network that takes its time, and counts its training steps in a file."""

import os, time
from torch import nn
from harness.registry import architecture


@architecture("slow")
def slow(image, num_classes, *, seconds: float = 0.02):
    """A linear network with dropout and batch norm."""
    return Slow(image, num_classes, seconds)


class Slow(nn.Module):
    def __init__(self, image, num_classes, seconds):
        super().__init__()
        size = image.channels * image.height * image.width
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, 32), nn.BatchNorm1d(32), nn.Dropout(0.3),
                                    nn.Linear(32, num_classes))
        self.seconds = seconds

    def forward(self, x):
        if self.training and len(x) > 1:
            time.sleep(self.seconds)
            if os.environ.get("RANK", "0") == "0":
                with open("steps", "ab") as file:
                    file.write(b".")
        return self.layers(x)
'''
SUITE = """
name: killed
base:
  model: slow
  data: {name: digits, augment: {crop: 1}}
  optimizer: {name: adam, lr: 0.01}
  schedule: {name: cosine, warmup_epochs: 2}
  train: {epochs: EPOCHS, global_batch_size: 64, deterministic: true, ema_decay: 0.99, checkpoint_every_steps: 10,
          num_processes: PROCESSES}
"""


@dataclass
class Life:
    """A process of a run that was killed, or ended.

    Attributes:
        steps: that rank 0 took.
        began_at: the step at which the run went on; None where it was not opened.
    """

    steps: int
    began_at: int | None


class Killed:
    """A suite of one run in a folder of its own."""

    def __init__(self, house: House, name: str, *, epochs: int, processes: int = 1) -> None:
        (house.path / "harness/models/slow.py").write_text(SLOW)
        self.house = house
        self.output = house.path / name
        self.suite = house.path / f"{name}.yaml"
        self.suite.write_text(SUITE.replace("EPOCHS", str(epochs)).replace("PROCESSES", str(processes)))
        self.lives: list[Life] = []
        self.orphans = 0

    def live(self, kill: Callable[[subprocess.Popen[bytes]], None]) -> int | None:
        """Starts it and kills it; returns the exit code, None where it was killed before it ended."""
        steps, opened = self._steps(), len(self._openings())
        command = [sys.executable, "-m", "harness", "run", str(self.suite), "--output", str(self.output)]
        with (self.house.path / "words").open("ab") as words:
            child = subprocess.Popen(
                command, cwd=self.house.path, env=self.house.environment(), stdout=words, stderr=words
            )
        try:
            kill(child)
            code = child.wait(400)
        except BaseException:
            kill_after(0.0, "both")(child)
            raise
        if not wait_for(lambda: not processes_in(self.house.path), 30):
            self.orphans += len(processes_in(self.house.path))
        found = self._openings()[opened:]
        self.lives.append(Life(self._steps() - steps, found[-1] if found else None))
        return None if code == -signal.SIGKILL else code

    def steps_lost(self) -> list[int]:
        """Returns for each life the steps that a later one took again."""
        lost = []
        for number, life in enumerate(self.lives):
            later = [each.began_at for each in self.lives[number + 1 :] if each.began_at is not None]
            again = life.began_at is not None and later
            lost.append(life.began_at + life.steps - later[0] if again else 0)  # type: ignore[operator]
        return lost

    def _steps(self) -> int:
        path = self.house.path / "steps"
        return path.stat().st_size if path.exists() else 0

    def _openings(self) -> list[int]:
        events = [
            json.loads(line)
            for path in self.output.glob("killed/*/*/events.jsonl")
            for line in path.read_bytes().splitlines()
        ]
        return [event.get("step", 0) for event in events if event["event"] in ("run_started", "run_resumed")]

    def left(self) -> dict[str, Any]:
        """Returns all that the run left which must be the same bits."""
        (path,) = self.output.glob("killed/*/*")
        result = json.loads((path / "result.json").read_text())
        arrays = {
            f"{name} {key}": value.tobytes()
            for name in ("predictions", "losses")
            for key, value in np.load(path / f"{name}.npz").items()
        }
        weights = (path / "checkpoints/final.safetensors").read_bytes()
        assert [each.name for each in (path / "checkpoints").iterdir()] == ["final.safetensors"]
        return {**{key: result[key] for key in ("status", "metrics", "selected")}, **arrays, "weights": weights}

    def result(self) -> dict[str, Any]:
        """Returns the record."""
        (path,) = self.output.glob("killed/*/*/result.json")
        return json.loads(path.read_text())


def kill_after(seconds: float, whom: str) -> Callable[[subprocess.Popen[bytes]], None]:
    """Returns what kills the `supervisor`, one of the `ranks`, or `both` after some seconds."""

    def kill(child: subprocess.Popen[bytes]) -> None:
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            family = psutil.Process(child.pid).children(recursive=True)
            victims = family[-1:] if whom == "ranks" and family else []
            if whom == "both":
                victims = family
            for process in victims:
                process.kill()
            if whom != "ranks" or not family:
                child.kill()

    return kill


@pytest.mark.slow
@pytest.mark.launch
@pytest.mark.timeout(1800)
def test_killed_at_twenty_random_moments(house: House, fault: Fault, figure: Callable[[str, float], None]) -> None:
    draw, kills = random.Random(5), 0
    reference = Killed(house, "reference", epochs=30)
    began = time.monotonic()
    assert reference.live(lambda child: None) == 0
    wall_seconds = time.monotonic() - began
    expected = reference.left()
    step_seconds = reference.result()["clock"]["train_seconds"] / reference.result()["throughput"]["steps"]
    while kills < 20:
        killed, victims = Killed(house, f"killed{kills}", epochs=30), []
        code = None
        while code != 0:
            whom, moment = draw.choice(["supervisor", "ranks", "both"]), draw.uniform(0.2, 0.6 * wall_seconds)
            code = killed.live(kill_after(moment, whom) if kills < 20 else lambda child: None)
            if code != 0:
                assert kills < 20, "left alone it did not end well"
                victims.append(whom)
                kills += 1
        result = killed.result()
        # A part that was killed before it kept anything is none of the result.
        resumed = sorted({life.began_at for life in killed.lives if life.began_at})
        same = killed.left() == expected and result["resumed_at_steps"] == resumed
        for whom, lost in zip(victims, killed.steps_lost(), strict=False):
            fault(f"SIGKILL of {whom}", survived=same, steps_lost=lost, seconds_lost=lost * step_seconds)
        figure("orphans", killed.orphans)
        assert killed.orphans == 0


@pytest.mark.slow
@pytest.mark.launch
@pytest.mark.timeout(1800)
def test_two_ranks_that_are_killed(house: House, fault: Fault, figure: Callable[[str, float], None]) -> None:
    reference = Killed(house, "reference", epochs=12, processes=2)
    assert reference.live(lambda child: None) == 0
    expected, killed = reference.left(), Killed(house, "killed", epochs=12, processes=2)

    def kill_in_mid_run(whom: str) -> Callable[[subprocess.Popen[bytes]], None]:
        def kill(child: subprocess.Popen[bytes]) -> None:
            before = killed._steps()
            assert wait_for(lambda: killed._steps() >= before + 60 or child.poll() is not None, 400)
            kill_after(0.01, whom)(child)

        return kill

    for whom in ("ranks", "supervisor", "both"):
        assert killed.live(kill_in_mid_run(whom)) != 0
    assert killed.live(lambda child: None) == 0
    same = killed.left() == expected
    for lost in killed.steps_lost()[:-1]:
        fault("SIGKILL, two ranks", survived=same, steps_lost=lost)
    figure("orphans", killed.orphans)
    assert killed.orphans == 0 and len(killed.result()["resumed_at_steps"]) == 3
