"""What goes wrong while a run trains."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from harness.errors import HarnessError
from harness.records.checkpoints import CheckpointFolder
from harness.running.build import build_train_state
from harness.training.loop import Diverged
from tests.faults.runs import EVERY_STEPS, STEPS, Seen, differences, finish, go, make_spec
from tests.house import House
from tests.processes import wait_for

Fault = Callable[..., None]


@pytest.mark.parametrize("step", [0, 5, 9, 10, STEPS - 1])
def test_a_loss_that_is_not_a_number_ends_the_run_and_is_in_no_checkpoint(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    def poisoned(*arguments: object) -> object:
        train_state = build_train_state(*arguments)  # type: ignore[arg-type]
        calls = iter(range(STEPS))

        def spoil(_: object, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
            return (inputs[0] * torch.nan,) if train_state.model.training and next(calls) == step else None

        train_state.model.register_forward_pre_hook(spoil)
        return train_state

    monkeypatch.setattr("harness.running.execute.build_train_state", poisoned)
    with pytest.raises(Diverged) as raised:
        go(make_spec(), tmp_path)
    assert raised.value.step == step
    newest, _ = CheckpointFolder(tmp_path).newest()
    assert (newest.step if newest else 0) == step // EVERY_STEPS * EVERY_STEPS
    fault("loss turned NaN", survived=True)


@pytest.mark.parametrize("moment", [6, 12, pytest.param(18, marks=pytest.mark.slow)])
def test_a_worker_of_the_loader_is_killed(moment: int, tmp_path: Path, fault: Fault) -> None:
    spec = make_spec(loader={"name": "pinned", "workers": 2})

    def kill(step: int) -> None:
        if step == moment:
            worker = next(iter(set(psutil.Process().children()) - before))
            os.kill(worker.pid, signal.SIGKILL)
            # Not `wait`: it would take the exit status that torch looks for.
            assert wait_for(lambda: worker.status() == psutil.STATUS_ZOMBIE, 120)

    before, seen = set(psutil.Process().children()), Seen()
    with pytest.raises(HarnessError, match="a worker of the loader died"):
        # Batches that are under way already may be enough for an epoch, but not for the run.
        go(spec, tmp_path, on_step=kill, seen=seen)
    assert not set(psutil.Process().children()) - before, "its peer has ended too"
    outcome = finish(spec, tmp_path, seen=seen)
    fault(
        "worker of the loader killed",
        survived=not differences(outcome, finish(spec, None)),
        steps_lost=len(seen.steps) - STEPS,
    )


# The clock of a process goes back by an hour at every look at it. The class `datetime.datetime` itself cannot be
# replaced: C extensions know its layout.
BACKWARDS = """
import itertools, time

hours = itertools.count()
right = time.time
time.time = lambda: right() - 3600 * next(hours)
"""
BACKWARDS_IN_RECORDS = """

import itertools

_hours, _right = itertools.count(), now


def now():
    moment = datetime.datetime.fromisoformat(_right()) - datetime.timedelta(hours=next(_hours))
    return moment.isoformat(timespec="milliseconds")
"""


@pytest.mark.launch
@pytest.mark.slow
def test_a_clock_that_is_set_back_changes_no_duration(house: House, fault: Fault) -> None:
    with (house.path / "sitecustomize.py").open("a") as file:
        file.write(BACKWARDS)
    store = house.path / "harness/records/store.py"
    store.write_text(store.read_text() + BACKWARDS_IN_RECORDS)
    suite = house.suite("matrix: {model.slow: [0.01]}\n")
    began = time.monotonic()
    ended = house.run(str(suite), "--set", "train.checkpoint_every_steps=5")
    wall_seconds = time.monotonic() - began
    assert ended.returncode == 0, ended.stderr
    (result,) = house.results().values()
    assert result["ended_at"] < result["started_at"], "the clock did go back"
    clock = result["clock"]
    assert all(seconds >= 0 for seconds in clock.values())
    assert 0.01 * result["throughput"]["steps"] <= clock["train_seconds"] < clock["total_seconds"] < wall_seconds
    (path,) = house.path.glob("results/faults/*/*/events.jsonl")
    names = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert names[0] == "run_started" and names[-1] == "run_ended" and "checkpoint" in names
    fault("clock set back", survived=True)


def test_no_duration_is_taken_from_the_time_of_day() -> None:
    sources = (Path(__file__).parents[2] / "harness").rglob("*.py")
    difference = re.compile(r"(- *time\.time\(\)|time\.time\(\) *-)")
    assert [path for path in sources if difference.search(path.read_text())] == []


@pytest.mark.slow
def test_what_checkpoints_cost(tmp_path: Path, figure: Callable[[str, float], None]) -> None:
    """Of ResNet-18 with Adam, 11 million parameters, at the default interval in a run of ten minutes."""
    run_seconds, every_seconds = 600, make_spec().train.checkpoint_every_seconds
    assert every_seconds
    spec = make_spec(
        model={"name": "resnet18", "stem": "cifar"},
        data={"name": "synthetic", "size": 32, "channels": 3, "train": 48, "test": 8},
        train={"epochs": 2, "global_batch_size": 8, "checkpoint_every_steps": 2, "deterministic": False},
    )
    seen = Seen()
    clock: Any = finish(spec, tmp_path, seen=seen).measured.clock
    checkpoint_seconds = clock.checkpoint_seconds / len(seen.checkpoints)
    share = run_seconds // every_seconds * checkpoint_seconds / run_seconds
    newest, _ = CheckpointFolder(tmp_path).newest()
    assert newest and len(seen.checkpoints) == 6
    figure("resnet18_checkpoint_seconds", checkpoint_seconds)
    figure("resnet18_checkpoint_bytes", sum(size for size, _ in newest.files.values()))
    figure("checkpoint_share_of_ten_minutes", share)
    assert share < 0.01


def test_a_disk_that_is_full_stops_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    seen, commit = Seen(), CheckpointFolder.commit
    expected = finish(make_spec(), None)

    def full(self: CheckpointFolder, step: int, *arguments: object) -> Path:
        if 8 < step < 24:
            raise OSError(28, "No space left on device")
        return commit(self, step, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(CheckpointFolder, "commit", full)
    assert go(make_spec(), tmp_path, killed_after=22, seen=seen) is None
    outcome = finish(make_spec(), tmp_path, seen=seen)
    problems = {step: problem for step, problem in seen.checkpoints if problem}
    assert list(problems) == [12, 16, 20] and all("No space left on device" in text for text in problems.values())
    assert outcome.measured.resumed_at_steps == [8]
    lost = len(seen.steps) - STEPS
    fault("disk full during a checkpoint", survived=not differences(outcome, expected), steps_lost=lost, times=3)
