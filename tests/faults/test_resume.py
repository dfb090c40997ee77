"""A run that is interrupted anywhere and taken up again ends with the bits of one that never was."""

from __future__ import annotations

import functools
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.data.loaders import auto
from harness.records.checkpoints import CheckpointFolder
from harness.running.execute import Outcome
from harness.training.epochs import Lost
from tests.data.feeds import write_photographs
from tests.faults.runs import EVERY_STEPS, STEPS, STEPS_PER_EPOCH, Seen, differences, finish, go, make_spec
from tests.house import House

Fault = Callable[..., None]
CONVOLUTIONS = {"name": "cnn3", "padding": "same", "filters": [4, 4, 4], "hidden_size": 8, "dropout": 0.2}
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum and a multistep schedule": {
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "weight_decay_on": "weights"},
        "schedule": {"name": "multistep", "milestones": [1, 2], "gamma": 0.5, "warmup_epochs": 0.5},
    },
    "moving average": {"train": {"ema_decay": 0.9}},
    "accumulation and clipping": {"train": {"gradient_accumulation_steps": 3, "clip_grad_norm": 0.5}},
    "label smoothing and recall": {"train": {"label_smoothing": 0.1, "mean_batch_recall": True}},
    "one order": {"train": {"shuffle": "once"}},
    "stored order": {"train": {"shuffle": "never", "drop_last": True}},
    "seldom evaluated": {"train": {"evaluate_every_epochs": 2, "evaluate_train": True}},
    "validation": {"data": {"name": "digits", "train_samples": 300, "test_samples": 100, "validation": 0.2}},
    "channels last": {"model": CONVOLUTIONS, "train": {"channels_last": True, "ema_decay": 0.9}},
    "bfloat16": {"train": {"mixed_precision": "bf16"}},
    "weights in bfloat16": {"optimizer": {"name": "muon"}, "train": {"mixed_precision": "bf16-true"}},
    "pinned": {"loader": {"name": "pinned", "workers": 0}},
}


@functools.cache
def uninterrupted(name: str) -> Outcome:
    """A run that keeps no checkpoint and is never stopped."""
    return finish(make_spec(**CONFIGS[name]), None)


def steps_lost(seen: Seen, steps: int) -> int:
    """Returns how many steps were trained more than once."""
    return len(seen.steps) - steps


@pytest.mark.parametrize("step", [1, EVERY_STEPS - 1, EVERY_STEPS, 9, STEPS_PER_EPOCH, 11, 20, STEPS - 1, STEPS])
def test_killed_after_any_step(step: int, tmp_path: Path, fault: Fault) -> None:
    spec, seen = make_spec(), Seen()
    assert go(spec, tmp_path, killed_after=step, seen=seen) is None
    outcome = finish(spec, tmp_path, seen=seen)
    kept = (step - 1) // EVERY_STEPS * EVERY_STEPS  # the step itself was not saved
    assert outcome.measured.resumed_at_steps == ([kept] if kept else [])
    assert seen.steps == [*range(step), *range(kept, STEPS)]
    survived = not differences(outcome, uninterrupted("plain"))
    fault("killed after a step", survived=survived, steps_lost=steps_lost(seen, STEPS))


@pytest.mark.parametrize("step", [1, EVERY_STEPS, 9, STEPS_PER_EPOCH, 11, 20, STEPS])
def test_stopped_after_any_step_nothing_is_lost(step: int, tmp_path: Path, fault: Fault) -> None:
    spec, seen = make_spec(), Seen()
    assert go(spec, tmp_path, stopped_after=step, seen=seen) is None
    assert seen.checkpoints[-1] == (step, None)
    outcome = finish(spec, tmp_path, seen=seen)
    assert outcome.measured.resumed_at_steps == [step] and seen.steps == list(range(STEPS))
    assert [epoch.epoch for epoch in seen.epochs] == [0, 1, 2]
    fault("stopped after a step", survived=not differences(outcome, uninterrupted("plain")), steps_lost=0)


FIRST = ("plain", "momentum and a multistep schedule", "moving average", "validation", "bfloat16", "pinned")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FIRST else pytest.mark.slow) for name in CONFIGS]
)
def test_interrupted_again_and_again(name: str, tmp_path: Path, fault: Fault) -> None:
    spec, seen = make_spec(**CONFIGS[name]), Seen()
    assert go(spec, tmp_path, killed_after=7, seen=seen) is None
    assert go(spec, tmp_path, stopped_after=14, seen=seen) is None
    assert go(spec, tmp_path, killed_after=23, seen=seen) is None
    outcome = finish(spec, tmp_path, seen=seen)
    assert outcome.measured.resumed_at_steps == [4, 14, 20]
    expected = uninterrupted(name)
    lost = steps_lost(seen, expected.measured.throughput.steps)
    fault("killed twice and stopped once", survived=not differences(outcome, expected), steps_lost=lost)


@pytest.mark.parametrize("step", [5, STEPS_PER_EPOCH, STEPS])
def test_a_run_that_was_lost_is_left_at_the_next_step_and_saves_nothing(step: int, tmp_path: Path) -> None:
    spec, seen = make_spec(), Seen()
    with pytest.raises(Lost):
        go(spec, tmp_path, lost_after=step, seen=seen)
    assert seen.steps == list(range(step)) and len(seen.epochs) == (step - 1) // STEPS_PER_EPOCH
    kept = (step - 1) // EVERY_STEPS * EVERY_STEPS
    assert [saved for saved, _ in seen.checkpoints][-1:] == ([kept] if kept else [])


def test_killed_while_it_evaluates(tmp_path: Path, fault: Fault) -> None:
    spec, seen = make_spec(), Seen()
    seen.epochs = Fatal()
    with pytest.raises(KeyboardInterrupt):
        go(spec, tmp_path, seen=seen)
    seen.epochs = []
    outcome = finish(spec, tmp_path, seen=seen)
    assert outcome.measured.resumed_at_steps == [8]
    survived = not differences(outcome, uninterrupted("plain"))
    fault("killed in an evaluation", survived=survived, steps_lost=steps_lost(seen, STEPS))


class Fatal(list[Any]):
    """Nobody can be told of an epoch."""

    def append(self, _: Any) -> None:
        raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["pinned", "dali", "pinned, of any size"])
def test_loaders_go_on_in_the_middle_of_an_epoch(loader: str, tmp_path: Path, fault: Fault) -> None:
    """Image files, which DALI decodes; the pinned loader has workers."""
    pytest.importorskip("nvidia.dali")
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        write_photographs(tmp_path / "data" / name, count=60, side=12 if name == "a" or "size" not in loader else 31)
    data: dict[str, Any] = {
        "name": "image_folder",
        "root": str(tmp_path / "data"),
        "augment": {"crop": 2, "flip": True},
    }
    if "size" in loader:
        loader, data["evaluate"] = "pinned", {"resize": 14, "crop": 12}
        data["augment"]["random_resized_crop"] = {"size": 12}
    options = {"workers": 2} if loader == "pinned" else {}
    spec = make_spec(data=data, loader={"name": loader, **options}, train={"epochs": 2, "global_batch_size": 16})
    expected = finish(spec, None)
    assert expected.measured.throughput.steps == 12
    for stops in ({"stopped_after": 3}, {"killed_after": 12}):
        seen = Seen()
        folder = tmp_path / str(stops)
        assert go(spec, folder, seen=seen, **stops) is None  # type: ignore[arg-type]
        outcome = finish(spec, folder, seen=seen)
        assert outcome.measured.resumed_at_steps
        lost = steps_lost(seen, 12)
        fault("killed or stopped, images from files", survived=not differences(outcome, expected), steps_lost=lost)


def test_the_loader_that_auto_chose_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    rates = {"resident": 1.0, "pinned": 3.0, "dali": "not installed"}
    monkeypatch.setattr(auto, "_measured", {})
    monkeypatch.setattr(auto, "_rate", lambda name, *_: rates[name])
    spec = make_spec(loader={"name": "auto"})
    expected = finish(spec, None)
    assert go(spec, tmp_path, killed_after=15) is None
    monkeypatch.setattr(auto, "_measured", {})
    rates |= {"resident": 9.0}  # another process would take another one
    outcome = finish(spec, tmp_path)
    assert outcome.measured.resolved and outcome.measured.resolved.loader == "pinned"
    fault("killed, loader chosen by auto", survived=not differences(outcome, expected))


def test_the_clocks_of_a_run_in_parts_are_the_sums_of_its_parts(tmp_path: Path) -> None:
    pause, began = 0.02, time.monotonic()

    def slow(step: int) -> None:
        time.sleep(pause)

    spec, seen = make_spec(), Seen()
    assert go(spec, tmp_path, stopped_after=15, on_step=slow, seen=seen) is None
    first = time.monotonic() - began
    time.sleep(0.5)
    began = time.monotonic()
    outcome = finish(spec, tmp_path, on_step=slow, seen=seen)
    second = time.monotonic() - began
    clock: Any = outcome.measured.clock
    assert STEPS * pause <= clock.train_seconds == sum(epoch.time.train_seconds for epoch in seen.epochs)
    assert clock.checkpoint_seconds > 0
    parts = [clock.train_seconds, clock.eval_seconds, clock.build_seconds, clock.checkpoint_seconds]
    assert sum(parts) <= clock.total_seconds <= first + second
    assert clock.total_seconds > second, "the first part is in it"
    # The first steps of each part are not timed: it warms up anew.
    assert outcome.measured.throughput.untimed_steps == 2 * spec.train.untimed_steps
    # Of the second epoch: only those before the pause, the others warm up again.
    assert [epoch.timed_samples for epoch in seen.epochs] == [300 - 5 * 32, 5 * 32, 300]


@pytest.mark.slow
def test_killed_or_stopped_anywhere_under_any_config(tmp_path: Path, fault: Fault) -> None:
    draw = random.Random(0)
    for number in range(25):
        name = draw.choice(list(CONFIGS))
        spec, seen, folder = make_spec(**CONFIGS[name]), Seen(), tmp_path / str(number)
        expected = uninterrupted(name)
        steps = expected.measured.throughput.steps
        while (outcome := go(spec, folder, seen=seen, **_somewhere(draw, folder, steps))) is None:  # type: ignore[arg-type]
            pass
        lost = steps_lost(seen, steps)
        fault("killed or stopped at random steps", survived=not differences(outcome, expected), steps_lost=lost)


def _somewhere(draw: random.Random, folder: Path, steps: int) -> dict[str, int]:
    newest, _ = CheckpointFolder(folder).newest()
    step = draw.randint(newest.step + 1 if newest else 1, steps + 8)
    return {draw.choice(["killed_after", "stopped_after"]): step}


SUITE = """
name: faults
base:
  model: {name: faulty, fault: kill, step: 30}
  data: {name: image_folder, root: data}
  optimizer: {name: sgd, lr: 0.1}
  train: {epochs: 6, global_batch_size: 16, checkpoint_every_steps: 10}
"""


@pytest.mark.slow
@pytest.mark.launch
def test_what_was_changed_is_another_run_and_its_checkpoint_is_refused(house: House, fault: Fault) -> None:
    for name in "ab":
        (house.path / "data" / name).mkdir(parents=True)
        write_photographs(house.path / "data" / name, count=60)
    (house.path / "suite.yaml").write_text(SUITE)
    assert house.run("suite.yaml").returncode == 1  # killed after 30 of its 36 steps
    (first,) = house.path.glob("results/faults/*/*")
    before = _content(first)
    first_image = house.path / "data/a/000.jpg"

    def other_world() -> list[str]:
        return ["--set", "train.num_processes=2"]

    def other_epochs() -> list[str]:
        return ["--set", "train.epochs=5"]

    def other_data() -> list[str]:
        shutil.copy(house.path / "data/b/001.jpg", first_image)
        return []

    wanted = {"num_processes was 1, is 2": other_world, "train.epochs was 6, is 5": other_epochs}
    for difference, change in {**wanted, "fingerprint was": other_data}.items():
        arguments = ["suite.yaml", *change()]
        plan = [sys.executable, "-m", "harness", "plan", *arguments, "--json"]
        (run,) = json.loads(subprocess.check_output(plan, cwd=house.path, env=house.environment()))
        other = first.parents[1] / run["run_id"] / first.name
        assert other != first
        shutil.copytree(first / "checkpoints", other / "checkpoints")
        refused = house.run(*arguments)
        assert refused.returncode == 2 and "is a checkpoint of another run" in refused.stderr
        assert difference in " ".join(refused.stderr.split()), refused.stderr
        assert not (other / "result.json").exists()
        fault("resumed after a change", survived=_content(first) == before)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
