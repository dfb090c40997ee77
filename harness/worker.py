"""One process of a launch: walks the runs in the order of the plan, together with its peers."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or `deterministic: true` fails; read when CUDA starts

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env
from rich.console import Console

from harness.data.files import cache_root
from harness.data.prepare import Splits, data_source, prepare
from harness.errors import HarnessError
from harness.execute import Observer, execute, global_batches
from harness.measure.memory import keep_freed_memory
from harness.measure.system import describe_system
from harness.open_run import OpenRun, Worker
from harness.progress import Silent, display_for
from harness.records.files import require_writable
from harness.records.result import Cause, Status
from harness.scheduling.launch import SUPERVISOR, Manifest, Pulse, has_stopped
from harness.stopping import StopRequest
from harness.suite import Plan, PlannedRun
from harness.training.epochs import Stopped
from harness.training.loop import Diverged

STOPPED = 75  # the exit code


class BadData(HarnessError):
    """The data of a run, or its checkpoint, are not what they should be; every rank raises it."""


def work(manifest: Manifest, launch: Path | None, console: Console) -> int:
    """Runs what is open of a manifest; every rank of a launch calls it.

    Args:
        manifest: the runs.
        launch: the folder of the launch; None where nobody supervises.
        console: for progress, on stderr.

    Returns:
        0 where all runs are ok, 1 where some are not, 75 where it was stopped.

    Raises:
        HarnessError: the output folder or the data are unusable: no run can start. Bad data are raised by rank 0; the
            other ranks leave.
    """
    stop = StopRequest()
    stop.listen(launch, _supervisor_here() if launch else None)
    keep_freed_memory()
    ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
    # Accelerate starts gloo ranks only where it is told to use the CPU; its launcher does not pass that on to ranks.
    use_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    accelerator = Accelerator(cpu=use_cpu, mixed_precision="no", kwargs_handlers=[ddp])
    system = describe_system(use_cpu=accelerator.device.type == "cpu")
    if accelerator.device.type == "cuda" and system["gpu"] is None:
        raise HarnessError("the GPU cannot be identified: NVML does not answer", "pip install nvidia-ml-py")
    require_writable(manifest.output / manifest.suite)

    worker = Worker(manifest, accelerator, system, Pulse(launch, accelerator.process_index), stop, Silent())
    mine = [run for run in manifest.runs if run.spec.train.num_processes == accelerator.num_processes]
    # Rank 0 alone looks at the disk: ranks that disagreed on what is done would wait for each other for ever.
    chosen = broadcast_object_list([[i for i, run in enumerate(mine) if not worker.folder(run).is_done()]])[0]
    runs = [mine[i] for i in chosen]
    _say_what_is_left_out(worker, console, mine, runs)
    if worker.is_main:
        done = manifest.done + len(mine) - len(runs)
        worker = Worker(**{**vars(worker), "display": display_for(console, manifest.suite, done, manifest.total)})
    statuses: list[Status] = []
    try:
        with contextlib.closing(worker.display):
            for run in runs:
                if _someone_stops(worker):
                    break
                statuses.append(_run(worker, run))
    except BadData as error:
        _leave(accelerator)
        if worker.is_main:
            raise
        raise SystemExit(0 if launch else 2) from error
    _leave(accelerator)
    if len(statuses) < len(runs) or "preempted" in statuses:
        if launch and worker.is_main:
            has_stopped(launch, stop.reason or "a signal to another rank")
        return STOPPED
    return 0 if all(status == "ok" for status in statuses) else 1


def work_unsupervised(plan: Plan, output: Path, console: Console) -> int:
    """Runs what is open of a plan, started by `accelerate launch` or `torchrun`; every rank calls it.

    Returns and raises as `work`.
    """
    return work(Manifest.of(plan, output), None, console)


def _leave(accelerator: Accelerator) -> None:
    # Gloo's threads outlive the process group. One that still frees the tensors of a collective while the interpreter
    # shuts down can end the process with SIGABRT; while a rank waits for the slowest one here, that is done.
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _run(worker: Worker, run: PlannedRun) -> Status:
    began = time.perf_counter()
    splits = _read_data(worker, run)
    data_seconds = time.perf_counter() - began
    if 0 < splits.decode_seconds <= data_seconds:  # now, and not for an earlier run
        worker.display.note(f"read image files into {cache_root()} in {splits.decode_seconds:.1f} s")

    try:
        open_run = OpenRun(worker, run, steps_per_epoch=len(global_batches(run.spec, splits).sizes))
    except HarnessError as error:
        raise BadData(error.message, error.hint) from None
    try:
        outcome = execute(
            run.spec,
            splits,
            worker.accelerator,
            Observer(open_run.on_step, open_run.on_epoch, open_run.on_checkpoint, worker.stop),
            fingerprint=run.fingerprint,
            target=worker.manifest.target,
            data_seconds=data_seconds,
            keeping=open_run.keeping,
        )
        result = open_run.close("ok", outcome=outcome)
    except Stopped as stopped:
        kept = "a checkpoint is kept" if stopped.kept else "no checkpoint could be kept"
        cause = Cause(kind=worker.stop.reason or "stop", message=f"{stopped}: {kept}", step=stopped.step)
        result = open_run.close("preempted", cause)
    except Diverged as error:
        result = open_run.close("diverged", Cause(kind="Diverged", message=str(error), step=error.step))
    except HarnessError as error:
        if worker.accelerator.num_processes > 1:  # it may be this rank's own, e.g. its GPU is full
            _end_process(worker, open_run, error)
        result = open_run.close("failed", Cause(kind="HarnessError", message=str(error)))
    except Exception as error:
        _end_process(worker, open_run, error)
    return result.status


def _read_data(worker: Worker, run: PlannedRun) -> Splits:
    """Reads the data of a run, first in one process of each machine: it fetches and decodes, the others map.

    Raises:
        BadData: on every rank, where one of them cannot; they end the suite before the run is opened.
    """
    accelerator = worker.accelerator
    splits, bad = None, None
    for turn in (True, False):
        if accelerator.is_local_main_process == turn:
            try:
                source = data_source(run.spec.data)
                if source.download and turn:
                    source.download()
                splits = prepare(run.spec.data, encoded=run.spec.loader.name == "dali")
            except HarnessError as error:
                bad = error
        accelerator.wait_for_everyone()
    found: list[HarnessError | None] = gather_object([bad])
    if first := next((error for error in found if error), None):
        raise BadData(first.message, first.hint)
    assert splits
    return splits


def _end_process(worker: Worker, open_run: OpenRun, error: Exception) -> NoReturn:
    """Records an error of this rank and ends the process: its peers may wait in a collective, for ever."""
    rank = worker.accelerator.process_index
    trace = None if isinstance(error, HarnessError) else traceback.format_exc()
    cause = Cause(kind=type(error).__name__, message=str(error).partition("\n")[0], rank=rank, traceback=trace)
    open_run.abandon("oom" if is_out_of_memory(error) else "failed", cause)
    sys.stderr.write(f"rank {rank}: {trace or error}\n")
    sys.stderr.flush()
    os._exit(1)  # a normal exit would wait for the process group


def is_out_of_memory(error: BaseException) -> bool:
    """Tells whether an exception says that the device or the host has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _say_what_is_left_out(worker: Worker, console: Console, mine: list[PlannedRun], runs: list[PlannedRun]) -> None:
    if not worker.is_main:
        return
    world = worker.accelerator.num_processes
    other = len(worker.manifest.runs) - len(mine)
    if other:
        console.print(f"{other} runs ask for another number of processes than this launch's {world}: left out")
    if len(mine) > len(runs):
        console.print(f"{len(mine) - len(runs)} of {len(mine)} runs are done on this system: skipped")


def _supervisor_here() -> int | None:
    """Returns the supervisor's process id where it runs on this machine."""
    host, _, pid = os.environ[SUPERVISOR].rpartition(":")
    return int(pid) if host == socket.gethostname() else None


def _someone_stops(worker: Worker) -> bool:
    """Tells whether a rank was asked to stop; every rank calls it between two runs, and all get the same answer."""
    return any(gather_object([worker.stop()]))
