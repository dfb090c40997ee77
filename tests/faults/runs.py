"""Small runs that are interrupted and taken up again, in this process."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from harness.data.prepare import prepare
from harness.records.checkpoints import CheckpointFolder
from harness.running.execute import CheckpointPolicy, Observer, Outcome, execute
from harness.spec import RunSpec, parse_run_spec
from harness.training.epochs import Stopped
from harness.training.history import Epoch

EVERY_STEPS = 4
STEPS_PER_EPOCH = 10  # 300 images in batches of 32 leave a tail of 12
EPOCHS = 3
STEPS = STEPS_PER_EPOCH * EPOCHS


class Killed(BaseException):
    """Stands for SIGKILL: nothing is saved."""


@dataclass
class Seen:
    """What an observer was told."""

    steps: list[int] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    checkpoints: list[tuple[int, str | None]] = field(default_factory=list)


def make_spec(**sections: Any) -> RunSpec:
    """Returns a run of all that has a state: dropout, batch norm, momentum, a schedule, augmentation."""
    train = {
        "epochs": EPOCHS,
        "global_batch_size": 32,
        "num_processes": 1,
        "deterministic": True,
        "checkpoint_every_steps": EVERY_STEPS,
        **sections.pop("train", {}),
    }
    base = {
        "seed": 1,
        "model": {"name": "mlp", "hidden_sizes": [16], "dropout": 0.3, "batch_norm": True},
        "data": {"name": "digits", "train_samples": 300, "test_samples": 100, "augment": {"crop": 1, "flip": True}},
        "optimizer": {"name": "adam", "lr": 0.01},
        "schedule": {"name": "cosine", "warmup_epochs": 1.5},
    }
    return parse_run_spec({**base, **sections, "train": train})


def go(
    spec: RunSpec,
    folder: Path | None,
    *,
    killed_after: int | None = None,
    stopped_after: int | None = None,
    lost_after: int | None = None,
    on_step: Callable[[int], None] = lambda step: None,
    seen: Seen | None = None,
) -> Outcome | None:
    """Goes on with a run from its newest whole checkpoint.

    Args:
        spec: the run.
        folder: of its checkpoints; None to keep none.
        killed_after: dies right after this step, counted from 1, before anything is saved.
        stopped_after: is asked to stop during this step, and saves.
        lost_after: during this step another process takes the run over.
        on_step: is called within each step.
        seen: is told what happens.

    Returns:
        The outcome; None where it was interrupted.
    """
    seen = seen or Seen()

    def note(step: int) -> None:
        seen.steps.append(step)
        on_step(step)
        if step + 1 == killed_after:
            raise Killed

    observer = Observer(
        note,
        seen.epochs.append,
        lambda step, problem: seen.checkpoints.append((step, problem)),
        lambda: bool(stopped_after and seen.steps and seen.steps[-1] + 1 >= stopped_after),
        is_lost=lambda: bool(lost_after and seen.steps and seen.steps[-1] + 1 >= lost_after),
    )
    checkpoint_policy = None
    if folder:
        checkpoints = CheckpointFolder(folder)
        checkpoint_policy = CheckpointPolicy(
            checkpoints, {"run_id": "r", "num_processes": 1}, lambda: True, checkpoints.newest()[0]
        )
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    for seed in (torch.manual_seed, np.random.seed, random.seed):  # a new process has not the random state of this one
        seed(time.monotonic_ns() % 2**32)
    try:
        return execute(
            spec, prepare(spec.data), accelerator, observer, fingerprint="f", checkpoint_policy=checkpoint_policy
        )
    except (Stopped, Killed):
        return None


def finish(spec: RunSpec, folder: Path | None, **options: Any) -> Outcome:
    """Goes on with a run to its end."""
    outcome = go(spec, folder, **options)
    assert outcome
    return outcome


def bits(outcome: Outcome) -> dict[str, Any]:
    """Returns all of an outcome that must be the same whether it was interrupted or not."""
    measured: Any = outcome.measured
    metrics = {split: metrics.model_dump() for split, metrics in measured.metrics.items()}
    selected = [each.model_dump() for each in measured.selected]
    steps = measured.throughput.steps, measured.throughput.samples
    return {
        **{f"weights {name}": value for name, value in outcome.network.state_dict().items()},
        **{f"array {name}": value for name, value in outcome.arrays.items()},
        "losses": outcome.losses,
        "metrics": metrics,
        "selected": selected,
        "steps": steps,
        "loader": (measured.resolved.loader, measured.resolved.loader_images_per_second),
    }


def differences(found: Outcome, expected: Outcome) -> list[str]:
    """Returns the names of what differs in any bit."""
    own, other = bits(found), bits(expected)
    assert own.keys() == other.keys()
    return [
        name
        for name, value in other.items()
        if not (torch.equal(own[name], value) if isinstance(value, torch.Tensor) else own[name] == value)
    ]
