"""A run while it goes on: what its process tells the disk, the supervisor and the person who watches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from harness import registry
from harness.errors import HarnessError
from harness.launching.launch_folder import Heartbeat
from harness.launching.manifest import Manifest
from harness.live.view import Notes
from harness.measure.environment import timing_variables
from harness.measure.readings import Readings
from harness.records.checkpoints import Checkpoint, require_same_run
from harness.records.claims import Claim, owner
from harness.records.extra_metrics import compute
from harness.records.files import recording, write_atomically
from harness.records.predictions import PREDICTIONS
from harness.records.result import FINAL, Cause, Measurements, RunResult, Status
from harness.records.store import Attempt, RunFolder, now
from harness.running.execute import CheckpointPolicy, Outcome
from harness.running.stop_request import StopRequest
from harness.spec.code import own_code
from harness.suite.plan import PlannedRun
from harness.training.checkpoint_state import tensor_bytes
from harness.training.history import Epoch


@dataclass(frozen=True)
class Worker:
    """This process, and what it knows of its launch."""

    manifest: Manifest
    accelerator: Accelerator
    system: dict[str, Any]
    heartbeat: Heartbeat
    stop: StopRequest
    display: Notes

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which alone writes results and shows progress."""
        return self.accelerator.is_main_process

    def folder(self, run: PlannedRun) -> RunFolder:
        """Returns where a run is recorded."""
        return self.manifest.folder(run, self.system["system_id"])

    def is_done(self, run: PlannedRun) -> bool:
        """Tells whether a run need not be trained."""
        return self.manifest.is_done(run, self.folder(run))


class OwnedElsewhere(Exception):
    """Another process owns the run, or has just ended it; every rank raises it. The message says who."""


class OpenRun:
    """Opens a run: on rank 0 its claim and folder, everywhere its heartbeat and the checkpoint that it goes on from.

    Args:
        worker: this process.
        run: the run.
        sizes: samples of each global batch of an epoch.

    Raises:
        OwnedElsewhere: the run is another's.
        HarnessError: on every rank: its newest checkpoint is of another run, or its folder cannot be written.

    Attributes:
        checkpoint_policy: where its checkpoints go.
    """

    def __init__(self, worker: Worker, run: PlannedRun, sizes: list[int]) -> None:
        self._worker = worker
        self._run = run
        self._folder = worker.folder(run)
        self._claim: Claim | None = None  # on rank 0
        spec = run.spec
        identity = {
            "run_id": run.run_id,
            "num_processes": worker.accelerator.num_processes,
            "fingerprint": run.fingerprint,
            "spec": spec.model_dump(mode="json"),
        }
        self._attempt = Attempt(1, now())
        epochs = spec.train.epochs
        self._planned = {"steps": max(len(sizes), 1) * epochs, "epochs": epochs, "samples_per_epoch": sum(sizes)}
        checkpoint, problems = self._take(identity)
        if worker.is_main:
            for problem in problems:
                self._folder.event("checkpoint_damaged", problem=problem)
        self.checkpoint_policy = CheckpointPolicy(self._folder.checkpoints, identity, self._owns, checkpoint)
        worker.heartbeat.run_opened()
        for problem in problems:
            worker.display.note(f"checkpoint {problem}: not used")
        if checkpoint:
            worker.display.note(f"{run.name} goes on from step {checkpoint.step}")

    def on_warm_up(self, seconds: float) -> None:
        """Takes note that a run which is thrown away comes first."""
        self._worker.display.note(f"warming up for {seconds:g} s at the most; its numbers are thrown away")
        if self._worker.is_main:
            self._folder.event("warm_up", at_most_seconds=seconds)

    def on_sample(self, sample: Readings) -> None:
        """Takes what telemetry reads, in its thread."""
        gauges = {name: sample.totals[name] for name in ("gpu_utilization", "device_bytes") if name in sample.totals}
        total = self._worker.system["gpu_memory_bytes"]
        if not self.is_lost():
            self._worker.heartbeat.sample({**gauges, "device_total_bytes": total} if gauges and total else gauges)

    def on_epoch(self, epoch: Epoch) -> None:
        """Appends an epoch to the run's events."""
        if self._claim and self._claim.seems_held():
            self._folder.event("epoch", **_epoch_event(epoch))

    def on_checkpoint(self, step: int, problem: str | None) -> None:
        """Takes note of a checkpoint, or of why it could not be written."""
        if problem:
            self._worker.display.note(f"no checkpoint at step {step}: {problem}")
        if self._claim and self._claim.seems_held():
            self._folder.event("checkpoint", step=step, problem=problem)

    def is_lost(self) -> bool:
        """Tells, on rank 0 at each step, whether another process owns the run by now."""
        return self._claim is not None and not self._claim.seems_held()

    def taken(self) -> OwnedElsewhere:
        """Returns what to raise where the run is another's by now, with its name on rank 0."""
        return OwnedElsewhere(owner(self._folder.path) or "another process")

    def leave(self, error: OwnedElsewhere) -> None:
        """Leaves a run, and all that lies in its folder, to the process that owns it now; the launch goes on."""
        if self._claim:
            self._claim.release()
        self._worker.display.note(f"■ {self._run.name} · left to {error}; it owns the run now")

    def close(self, status: Status, cause: Cause | None = None, outcome: Outcome | None = None) -> RunResult:
        """Writes the result, on rank 0, and returns it; every rank calls it.

        Raises:
            OwnedElsewhere: on every rank: the run is another's by now.
        """
        if outcome and self._claim:
            self._compute_metrics(outcome)
            with contextlib.suppress(OwnedElsewhere):  # all ranks are told below
                self._write(outcome)
        lost = self._claim is not None and not self._owns()
        if broadcast_object_list([lost])[0]:
            raise self.taken()
        result = self._result(status, cause, outcome)
        if self._claim:
            self._folder.finish(result, self._require_owner)
            if status in FINAL:
                self._folder.checkpoints.clear()
            self._claim.release()
        return result

    def _require_owner(self) -> None:
        """Raises `OwnedElsewhere`, on rank 0 alone, where the run is another's by now."""
        if not self._owns():
            raise self.taken()

    def abandon(self, status: Status, cause: Cause) -> None:
        """Writes the result of a run that this rank alone ends; of several ranks the first is believed."""
        self._worker.display.close()
        if (self._claim is None or self._owns()) and not (self._folder.path / "result.json").exists():
            self._folder.finish(self._result(status, cause, None))

    def _owns(self) -> bool:
        """Tells whether this is rank 0, and the run still its own: a process that slept long may have lost it."""
        return self._claim is not None and self._claim.is_held()

    def _compute_metrics(self, outcome: Outcome) -> None:
        """Adds the metrics of plug-ins to what was measured; on no clock, as the run is trained and evaluated."""
        measured, arrays = outcome.measured, outcome.arrays
        assert measured.data
        measured.extra_metrics, reasons = compute(
            registry.plugins("metric"),
            arrays["label"].numpy(),
            arrays["prediction"].numpy(),
            measured.data.num_classes,
        )
        measured.unavailable |= reasons
        for name, reason in reasons.items():
            self._worker.display.note(f"{self._run.name}: {name} is null: {reason}")

    def _write(self, outcome: Outcome) -> None:
        with recording(self._folder.path):
            _write_arrays(self._folder, outcome, self._require_owner)
            if not self._run.spec.train.keep_weights:
                return
            began = time.perf_counter()
            self._folder.weights.parent.mkdir(exist_ok=True)
            weights = tensor_bytes(outcome.network.state_dict())
            write_atomically(self._folder.weights, lambda file: file.write(weights), self._require_owner)
            seconds = time.perf_counter() - began
        outcome.measured.clock.add_checkpoint(seconds)

    def _take(self, identity: dict[str, Any]) -> tuple[Checkpoint | None, list[str]]:
        """Claims the run and returns its newest checkpoint and what is wrong with newer ones.

        Every rank returns, or raises, what rank 0 does: they would not agree if each looked for itself.
        """
        found: tuple[Checkpoint | None, list[str]] = (None, [])
        problem: Exception | None = None
        if self._worker.is_main:
            try:
                found = self._take_on_main(identity)
            except (OwnedElsewhere, HarnessError) as error:
                problem = error
                if self._claim:
                    self._claim.release()
        # Any rank may have to write down why the run failed, as its owner.
        found, problem, generation = broadcast_object_list([found, problem, self._folder.generation])
        self._folder = replace(self._folder, generation=generation)
        if problem:
            raise problem
        return found

    def _take_on_main(self, identity: dict[str, Any]) -> tuple[Checkpoint | None, list[str]]:
        owned = self._folder.claim(lambda text: self._worker.display.note(f"{self._run.name}: {text}"))
        if owned is None:
            raise OwnedElsewhere(owner(self._folder.path) or "another process")
        self._claim, self._folder = owned
        manifest = self._worker.manifest
        if earlier := manifest.to_replace(self._run, self._folder):
            self._folder.set_aside(earlier, manifest.again[self._run.run_id].reason)
        if self._folder.is_done():  # by who owned it until now
            raise OwnedElsewhere("another process, which has ended it")
        earlier = self._folder.result()
        if self._claim.other_task and earlier and earlier.status != "preempted":
            # Tasks of one array walk the plan together: a run that fails is tried by one of them, not by each.
            raise OwnedElsewhere(
                f"SLURM job {self._claim.other_task} of this array, which ended it as {earlier.status}"
            )
        checkpoints = self._folder.checkpoints
        checkpoint, problems = checkpoints.newest(since=self._folder.started_generation())
        if checkpoint:
            require_same_run(checkpoint.run, identity, checkpoint.path)
        self._require_owner()
        with recording(self._folder.path):
            checkpoint = checkpoints.take_over(checkpoint)
        described = self._worker.manifest.description(self._run)
        step = checkpoint.step if checkpoint else None
        packed = self._worker.manifest.packed
        self._attempt = self._folder.start(
            described,
            self._worker.system,
            resumed_at_step=step,
            packed=packed,
            code=own_code(self._run.spec.plugins()),
            environment=timing_variables(self._worker.accelerator.device.type),
            **self._planned,
        )
        return checkpoint, problems

    def _result(self, status: Status, cause: Cause | None, outcome: Outcome | None) -> RunResult:
        measured = outcome.measured if outcome else Measurements()
        system_id = self._worker.system["system_id"]
        return self._worker.manifest.result(self._run, system_id, self._attempt, status, cause, measured)


def _epoch_event(epoch: Epoch) -> dict[str, Any]:
    scalars = {
        split: metrics.model_dump(exclude={"recall_by_class"}, mode="json") for split, metrics in epoch.metrics.items()
    }
    return {
        "epoch": epoch.epoch,
        "train_seconds": epoch.time.train_seconds,
        "wait_seconds": epoch.time.wait_seconds,
        "eval_seconds": epoch.eval_seconds,
        "learning_rate": epoch.learning_rate,
        "train_joules": epoch.joules,
        "metrics": scalars,
    }


def _write_arrays(folder: RunFolder, outcome: Outcome, before: Callable[[], object]) -> None:
    arrays: dict[str, Any] = {name: tensor.numpy().astype(np.int32) for name, tensor in outcome.arrays.items()}
    write_atomically(folder.path / PREDICTIONS, lambda file: np.savez_compressed(file, **arrays), before)
    losses = outcome.losses.numpy().astype(np.float32)
    write_atomically(folder.path / "losses.npz", lambda file: np.savez_compressed(file, loss=losses), before)
