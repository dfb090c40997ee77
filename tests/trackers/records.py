"""Records of runs as real ones leave them, without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.launching.manifest import Manifest
from harness.records.result import Clock, Measurements, Metrics, RunResult, Status
from harness.records.store import RunFolder, run_folder
from harness.spec import parse_run_spec
from harness.suite.plan import PlannedRun
from tests.records.test_result import DATA

SYSTEM = {
    "system_id": "7397ec38eb8e",
    "name": "AMD EPYC, 2 cores",
    "cpu": "AMD EPYC",
    "torch": "2.15.0",
    "slurm": {"job": "canary-slurm"},
    "git_remote": "canary-remote",
}
IMAGES = 30


def planned(label: str = "mlp, sgd", seed: int = 0, **train: Any) -> PlannedRun:
    """Returns a run of a config; `train` are fields of its section."""
    values = {
        "label": label,
        "seed": seed,
        "model": {"name": "mlp"},
        "data": {"name": "image_folder", "root": "/home/canary-user/images", "size": 8},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "train": {"epochs": 3, "num_processes": 1, **train},
    }
    spec = parse_run_spec(values)
    config_id = spec.config_id()
    return PlannedRun(spec=spec, config_id=config_id, run_id=f"{config_id[:10]}{seed:02}", fingerprint="f00d")


def manifest_of(root: Path, *runs: PlannedRun, suite: str = "made") -> Manifest:
    """Returns what a call with these runs does."""
    return Manifest(suite=suite, output=root, runs=runs)


def metrics(epoch: int, shift: float = 0.0) -> dict[str, Any]:
    """Returns the metrics after an epoch, counted from 0."""
    accuracy = 1 - 1 / (epoch + 2) + shift
    values = {"accuracy": accuracy, "top5_accuracy": None, "loss": 1 / (epoch + 3), "macro_recall": accuracy / 3}
    return {"train": {**values, "loss": 0.1 + epoch}, "test": values}


def epoch_event(folder: RunFolder, epoch: int, seconds: float = 1.25) -> None:
    """Records an epoch."""
    folder.event(
        "epoch",
        epoch=epoch,
        train_seconds=seconds + epoch / 7,
        wait_seconds=0.1,
        eval_seconds=0.25,
        learning_rate=0.1 / (epoch + 1),
        train_joules=None,
        metrics=metrics(epoch),
    )


def begin(
    root: Path,
    run: PlannedRun | None = None,
    *,
    resumed_at_step: int | None = None,
    packed: int = 1,
    environment: dict[str, str] | None = None,
) -> RunFolder:
    """Begins a run, or goes on with it."""
    run = run or planned()
    manifest = manifest_of(root, run)
    folder = run_folder(root, manifest.suite, run.run_id, SYSTEM["system_id"])
    described = manifest.description(run)
    folder.start(described, SYSTEM, resumed_at_step=resumed_at_step, packed=packed, environment=environment)
    return folder


def end(root: Path, run: PlannedRun | None = None, status: Status = "ok", **fields: Any) -> RunResult:
    """Ends a run, with the metrics of its last epoch."""
    run = run or planned()
    manifest = manifest_of(root, run)
    folder = manifest.folder(run, SYSTEM["system_id"])
    epochs = folder.epochs()
    if epochs and status == "ok":
        last = epochs[max(epochs)]["metrics"]
        split = {name: Metrics(**values, recall_by_class=[0.5, None]) for name, values in last.items()}
        seconds = sum(event["train_seconds"] for event in epochs.values())
        fields = {"metrics": split, "clock": Clock(train_seconds=seconds), "epochs": len(epochs), **fields}
        random = np.random.default_rng(0)
        arrays: dict[str, Any] = {name: random.integers(0, 3, IMAGES, np.int32) for name in ("label", "prediction")}
        np.savez_compressed(folder.path / "predictions.npz", **arrays)
    fields.setdefault("data", DATA)
    cause = fields.pop("cause", None)
    result = manifest.result(run, SYSTEM["system_id"], folder.attempt(), status, cause, Measurements(**fields))
    folder.finish(result)
    return result


def whole(root: Path, run: PlannedRun | None = None, epochs: int = 3, packed: int = 1, **fields: Any) -> RunFolder:
    """Records a run from its beginning to its end; `fields` are of its result."""
    folder = begin(root, run, packed=packed)
    for epoch in range(epochs):
        epoch_event(folder, epoch)
    end(root, run, **fields)
    return folder
