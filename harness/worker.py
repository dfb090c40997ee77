"""One process of a launch: walks the runs in the order of the plan, together with its peers."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or `deterministic: true` fails; read when CUDA starts

import psutil
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list, parse_flag_from_env
from rich.console import Console

from harness.data.prepare import data_source, prepare
from harness.errors import HarnessError
from harness.execute import Observer, Outcome, execute
from harness.measure.system import describe_system
from harness.progress import Display, Silent, display_for
from harness.records.files import require_writable, write_atomically
from harness.records.result import Cause, RunResult, Status
from harness.records.store import RunFolder, now, run_folder
from harness.scheduling.launch import SUPERVISOR, Manifest, Pulse
from harness.suite import Plan, PlannedRun
from harness.training.history import Epoch
from harness.training.loop import Diverged


@dataclass(frozen=True)
class Worker:
    """This process, and what it knows of its launch."""

    manifest: Manifest
    accelerator: Accelerator
    system: dict[str, Any]
    pulse: Pulse
    display: Display

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which alone writes results and shows progress."""
        return self.accelerator.is_main_process

    def folder(self, run: PlannedRun) -> RunFolder:
        """Returns where a run is recorded."""
        return run_folder(self.manifest.output, self.manifest.suite, run.run_id, self.system["system_id"])


def work(manifest: Manifest, launch: Path | None, console: Console) -> int:
    """Runs what is open of a manifest; every rank of a launch calls it.

    Args:
        manifest: the runs.
        launch: the folder of the launch; None where nobody supervises.
        console: for progress, on stderr.

    Returns:
        0 where all runs are ok, else 1.

    Raises:
        HarnessError: the output folder or the data are unusable: no run can start.
    """
    if launch:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor gets it too, and decides
        _die_with(int(os.environ[SUPERVISOR]))
    ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
    # Accelerate starts gloo ranks only where it is told to use the CPU; its launcher does not pass that on to ranks.
    use_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    accelerator = Accelerator(cpu=use_cpu, mixed_precision="no", kwargs_handlers=[ddp])
    system = describe_system(use_cpu=accelerator.device.type == "cpu")
    if accelerator.device.type == "cuda" and system["gpu"] is None:
        raise HarnessError("the GPU cannot be identified: NVML does not answer", "pip install nvidia-ml-py")
    require_writable(manifest.output / manifest.suite)

    worker = Worker(manifest, accelerator, system, Pulse(launch, accelerator.process_index), Silent())
    mine = [run for run in manifest.runs if run.spec.train.num_processes == accelerator.num_processes]
    # Rank 0 alone looks at the disk: ranks that disagreed on what is done would wait for each other for ever.
    chosen = broadcast_object_list([[i for i, run in enumerate(mine) if not worker.folder(run).is_done()]])[0]
    runs = [mine[i] for i in chosen]
    _say_what_is_left_out(worker, console, mine, runs)
    if worker.is_main:
        done = manifest.done + len(mine) - len(runs)
        worker = Worker(**{**vars(worker), "display": display_for(console, manifest.suite, done, manifest.total)})
    statuses: list[Status] = []
    with contextlib.closing(worker.display):
        for run in runs:
            statuses.append(_run(worker, run))
    accelerator.end_training()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return 0 if all(status == "ok" for status in statuses) else 1


def work_unsupervised(plan: Plan, output: Path, console: Console) -> int:
    """Runs what is open of a plan, started by `accelerate launch` or `torchrun`; every rank calls it.

    Returns and raises as `work`.
    """
    manifest = Manifest(plan.suite.name, output, plan.suite.file.target, plan.runs, 0, len(plan.runs))
    return work(manifest, None, console)


def _run(worker: Worker, run: PlannedRun) -> Status:
    folder, spec = worker.folder(run), run.spec
    # Bad data end the suite, before the run is opened.
    began = time.perf_counter()
    source = data_source(spec.data)
    if source.download:
        with worker.accelerator.local_main_process_first():
            source.download()
    splits = prepare(spec.data)
    data_seconds = time.perf_counter() - began

    steps_per_epoch = -(-len(splits.train.labels) // spec.train.global_batch_size)
    attempt, started_at = 1, now()
    if worker.is_main:
        described = {"run_id": run.run_id, "config_id": run.config_id, "suite": worker.manifest.suite}
        attempt = folder.start({**described, "spec": spec.model_dump(mode="json")}, worker.system)
    worker.pulse.run_opened(run, folder.path)
    worker.display.run_started(f"{spec.label} · seed {spec.seed}", steps_per_epoch * spec.train.epochs)

    def on_epoch(epoch: Epoch) -> None:
        note = f"epoch {epoch.epoch + 1}/{spec.train.epochs}"
        if "test" in epoch.metrics:
            note += f" · test {epoch.metrics['test'].accuracy:.2%}"
        worker.display.step((epoch.epoch + 1) * steps_per_epoch, note)
        if worker.is_main:
            folder.event("epoch", **_epoch_event(epoch))

    shown = 0.0

    def on_step(step: int) -> None:
        nonlocal shown
        if (moment := time.monotonic()) >= shown:
            shown = moment + 0.1
            worker.pulse.beat(step)
            worker.display.step(step + 1, f"epoch {step // steps_per_epoch + 1}/{spec.train.epochs}")

    def record(status: Status, outcome: Outcome | None = None, cause: Cause | None = None) -> RunResult:
        return RunResult(
            suite=worker.manifest.suite,
            label=spec.label,
            run_id=run.run_id,
            config_id=run.config_id,
            system_id=worker.system["system_id"],
            seed=spec.seed,
            status=status,
            cause=cause,
            started_at=started_at,
            ended_at=now(),
            attempt=attempt,
            num_processes=worker.accelerator.num_processes,
            spec=spec.model_dump(mode="json"),
            **(outcome.fields if outcome else {}),
        )

    try:
        outcome = execute(
            spec,
            splits,
            worker.accelerator,
            Observer(on_step, on_epoch),
            fingerprint=run.fingerprint,
            target=worker.manifest.target,
            data_seconds=data_seconds,
        )
        result = record("ok", outcome)
        if worker.is_main:
            _write_predictions(folder, outcome)
    except Diverged as error:
        result = record("diverged", cause=Cause(kind="Diverged", message=str(error), step=error.step))
    except HarnessError as error:  # raised by every rank, before the first step
        result = record("failed", cause=Cause(kind="HarnessError", message=str(error)))
    except Exception as error:
        # One rank's own: its peers may wait in a collective, so this process ends, and with it the launch.
        rank = worker.accelerator.process_index
        cause = Cause(
            kind=type(error).__name__,
            message=str(error).partition("\n")[0],
            rank=rank,
            traceback=traceback.format_exc(),
        )
        if not (folder.path / "result.json").exists():
            folder.finish(record("oom" if is_out_of_memory(error) else "failed", cause=cause))
        worker.display.close()
        sys.stderr.write(f"rank {rank}: {cause.traceback}")
        sys.stderr.flush()
        os._exit(1)  # a normal exit would wait for the process group
    if worker.is_main:
        folder.finish(result)
    worker.display.run_ended(result)
    return result.status


def is_out_of_memory(error: BaseException) -> bool:
    """Tells whether an exception says that the device or the host has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


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
        "metrics": scalars,
    }


def _write_predictions(folder: RunFolder, outcome: Outcome) -> None:
    import numpy as np

    arrays: dict[str, Any] = {name: tensor.numpy().astype(np.int32) for name, tensor in outcome.arrays.items()}
    write_atomically(folder.path / "predictions.npz", lambda file: np.savez_compressed(file, **arrays))


def _say_what_is_left_out(worker: Worker, console: Console, mine: list[PlannedRun], runs: list[PlannedRun]) -> None:
    if not worker.is_main:
        return
    world = worker.accelerator.num_processes
    other = len(worker.manifest.runs) - len(mine)
    if other:
        console.print(f"{other} runs ask for another number of processes than this launch's {world}: left out")
    if len(mine) > len(runs):
        console.print(f"{len(mine) - len(runs)} of {len(mine)} runs are done on this system: skipped")


def _die_with(supervisor: int) -> None:
    """Ends this process when its supervisor is gone: a launcher in between would let it live on."""

    def watch() -> None:
        while psutil.pid_exists(supervisor):
            time.sleep(1.0)
        os._exit(75)

    threading.Thread(target=watch, daemon=True, name="die-with-supervisor").start()
