"""Runs that were trained here, as a launch records them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import Accelerator

from harness.data.prepare import fingerprint, prepare
from harness.launching.launch_folder import Heartbeat
from harness.launching.manifest import Manifest
from harness.live.view import Notes
from harness.running.build import global_batches
from harness.running.execute import Observer, execute
from harness.running.open_run import OpenRun, Worker
from harness.running.stop_request import StopRequest
from harness.spec import parse_run_spec
from harness.suite.plan import PlannedRun
from harness.visualize.trained import Trained, read_run


def train(root: Path, *, suite: str = "quick", system: str = "here", **sections: Any) -> Trained:
    """Trains a run on digits, two epochs of four steps unless the sections say otherwise, and reads it back."""
    train = {"epochs": 2, "global_batch_size": 64, "num_processes": 1, **sections.pop("train", {})}
    data = {"name": "digits", "train_samples": 250, "test_samples": 100, **sections.pop("data", {})}
    base = {"seed": 1, "label": "mlp", "model": {"name": "mlp"}, "optimizer": {"name": "sgd", "lr": 0.05}}
    spec = parse_run_spec({**base, "data": data, **sections, "train": train})
    data_id = fingerprint(spec.data)
    splits = prepare(spec.data)
    plan = PlannedRun(spec=spec, config_id=spec.config_id(), run_id=spec.run_id(data_id), fingerprint=data_id)
    accelerator = Accelerator(cpu=True, mixed_precision="no")

    heartbeat = Heartbeat(None, 0)
    manifest = Manifest(suite=suite, output=root, runs=(plan,))
    system_facts = {"system_id": system}
    worker = Worker(manifest, accelerator, system_facts, heartbeat, StopRequest(), Notes())
    record = OpenRun(worker, plan, global_batches(spec, splits).sizes)
    observer = Observer(heartbeat.beat, record.on_epoch)
    outcome = execute(spec, splits, accelerator, observer, fingerprint=data_id)
    outcome.measured.disturbed = []  # whatever else this machine does meanwhile
    record.close("ok", outcome=outcome)
    return read_run(worker.folder(plan), {})
