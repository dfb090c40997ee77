"""Walks the runs in the order of the plan, together with the other ranks."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from typing import NoReturn

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or `deterministic: true` fails; read when CUDA starts

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env
from rich.console import Console

from harness.cache import cache_root
from harness.data.prepare import Splits, data_source, prepare
from harness.errors import HarnessError, MachineError
from harness.live.events import RunEnded
from harness.live.state import SuiteState
from harness.live.told import Messenger
from harness.live.view import BESIDE_TRAINING_SECONDS, Listener, Silent, view_for
from harness.measure.memory import is_out_of_memory, keep_freed_memory
from harness.measure.surroundings import Surroundings
from harness.measure.system import describe_system, find_gpus
from harness.records.files import require_writable
from harness.records.planned import done_elsewhere
from harness.records.result import Cause, RunResult, Status
from harness.running.build import ddp_options, global_batches, group_options
from harness.running.execute import Observer, execute
from harness.running.open_run import OpenRun, Taken, Worker
from harness.running.stopping import StopRequest
from harness.running.warm_up import warm_up, warm_up_seconds
from harness.scheduling.launch import STOPPED, Pulse, leave_word, say_farewell
from harness.scheduling.manifest import Manifest
from harness.scheduling.unused import unused_checkpoints
from harness.spec import RunSpec, parameters
from harness.suite.plan import PlannedRun
from harness.training.distributed import wait_for_all
from harness.training.epochs import Lost, Stopped
from harness.training.loop import Diverged


class BadData(HarnessError):
    """The data of a run, or its checkpoint, are not what they should be; every rank raises it."""


def walk(
    manifest: Manifest,
    pulse: Pulse,
    stop: StopRequest,
    console: Console,
    surroundings: Surroundings | None = None,
) -> int:
    """Runs what is open of a manifest; every rank calls it.

    Args:
        manifest: the runs.
        pulse: of this rank.
        stop: says whether to save and stop.
        console: for progress, on stderr.
        surroundings: tell, before the first run, whether the machine is busy; None to say nothing.

    Returns and raises as `harness.running.worker.work`.
    """
    keep_freed_memory()
    # Accelerate starts gloo ranks only where it is told to use the CPU; its launcher does not pass that on to ranks.
    accelerator = Accelerator(
        cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not _has_gpu(),
        mixed_precision="no",
        kwargs_handlers=[ddp_options(), group_options(run.spec.train for run in manifest.runs)],
    )
    # Rank 0 writes it down; git is asked once a launch.
    system = describe_system(use_cpu=accelerator.device.type == "cpu", with_source=accelerator.is_main_process)
    if accelerator.device.type == "cuda" and system["gpu"] is None:
        raise MachineError("the GPU cannot be identified: NVML does not answer", "pip install nvidia-ml-py")
    require_writable(manifest.output / manifest.suite)

    worker = Worker(manifest, accelerator, system, pulse, stop, Silent())
    mine = [run for run in manifest.runs if run.spec.train.num_processes == accelerator.num_processes]
    # Rank 0 alone looks at the disk: ranks that disagreed on what is done would wait for each other for ever.
    chosen = broadcast_object_list([_open_of(worker, mine) if worker.is_main else []])[0]
    runs = [mine[i] for i in chosen]
    _say_what_is_left_out(worker, console, mine, runs)
    if worker.is_main:
        if runs and surroundings and (busy := surroundings.sentence()):
            console.print(busy, markup=False, soft_wrap=True)
        worker = Worker(**{**vars(worker), "display": _display(worker, console)})
    statuses: list[Status | None] = []
    try:
        with contextlib.closing(worker.display):
            for run in runs:
                if _someone_stops(worker):
                    break
                cold = all(status is None for status in statuses)  # those before it were another process's
                statuses.append(_run(worker, run, cold=cold) if manifest.takes(run) else None)
    except BadData as error:
        _leave(worker, code=0 if pulse.folder else 2)
        if worker.is_main:
            raise
        raise SystemExit(0 if pulse.folder else 2) from error
    stopped = len(statuses) < len(runs) or "preempted" in statuses
    if pulse.folder and worker.is_main:
        with contextlib.suppress(OSError):  # a full disk: the supervisor reads the records
            say_farewell(pulse.folder, (stop.reason or "a signal to another rank") if stopped else "")
    failed = any(status not in ("ok", None) for status in statuses)
    code = STOPPED if stopped else int(failed and not pulse.folder)
    _leave(worker, code=0 if pulse.folder else code)
    return code


def _open_of(worker: Worker, runs: list[PlannedRun]) -> list[int]:
    """Returns the places of the runs that are not done, under this suite or another one of the results root."""
    left = [i for i, run in enumerate(runs) if not worker.is_done(run)]
    manifest, ids = worker.manifest, [runs[i].run_id for i in left if runs[i].run_id not in worker.manifest.again]
    elsewhere = done_elsewhere(manifest.output, manifest.suite, ids, worker.system["system_id"])
    done = {result.run_id for result in elsewhere}
    return [i for i in left if runs[i].run_id not in done]


def _has_gpu() -> bool:
    """Tells whether there is a GPU to train on.

    Raises:
        MachineError: there is one that torch cannot use; the CPU in its stead would be another system's run.
    """
    if torch.cuda.is_available():
        return True
    if gpus := find_gpus():
        built = torch.version.cuda
        why = (
            f"it is built for CUDA {built}, and the driver is {gpus[0]['driver']}"
            if built
            else "it is built without CUDA"
        )
        message = f"torch cannot use the {gpus[0]['model']} that is here: {why}"
        raise MachineError(message, "CUDA_VISIBLE_DEVICES='' trains on the CPU")
    return False


def _display(worker: Worker, console: Console) -> Listener:
    """Returns what rank 0 tells of its runs: to the supervisor, which draws, or where there is none to the person."""
    if worker.pulse.folder:
        return Messenger(worker.pulse.folder)
    manifest = worker.manifest
    state = SuiteState.of(manifest.suite, manifest.runs)
    for run in manifest.runs:
        result = worker.folder(run).result()
        if result and worker.is_done(run):
            state.apply(RunEnded.of(result, run.name))
    view = view_for(console, state, BESIDE_TRAINING_SECONDS)
    view.start()
    return view


def _leave(worker: Worker, code: int) -> None:
    """Leaves the process group. Ranks but the first have no more to do, and end here."""
    accelerator = worker.accelerator
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if not worker.is_main:
        # Gloo's threads outlive the group. One that still frees the tensors of a collective while the interpreter
        # shuts down ends the process with SIGABRT, and the launcher calls that a failure.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(worker: Worker, run: PlannedRun, *, cold: bool) -> Status | None:
    """Does one run, the first of a launch after a warm-up; None where it is another process's.

    What it cannot record ends the process: its peers may wait in a collective, for ever.
    """
    worker.pulse.run_begins(run, worker.folder(run).path)
    open_run = None
    try:
        began = time.perf_counter()
        splits = _read_data(worker, run)
        data_seconds = time.perf_counter() - began
        if 0 < splits.decode_seconds <= data_seconds:  # now, and not for an earlier run
            worker.display.note(f"read image files into {cache_root()} in {splits.decode_seconds:.1f} s")
        open_run = _open(worker, run, splits)
        if cold:
            _warm_up(worker, run, open_run, splits)
        result = _execute(worker, run, open_run, splits, data_seconds)
        status = result.status
    except BadData:
        raise
    except Taken as error:
        if open_run:
            open_run.leave(error)
        else:
            worker.display.note(f"{run.name}: left to {error}")
        status = None
    except Exception as error:
        _end_process(worker, open_run, error)
    worker.pulse.run_ended()
    return status


def _open(worker: Worker, run: PlannedRun, splits: Splits) -> OpenRun:
    try:
        return OpenRun(worker, run, global_batches(run.spec, splits).sizes)
    except HarnessError as error:
        raise BadData(error.message, error.hint) from None


def _warm_up(worker: Worker, run: PlannedRun, open_run: OpenRun, splits: Splits) -> None:
    """Trains as the run will; an error that it meets, the run would have met, too."""
    accelerator = worker.accelerator
    seconds = warm_up_seconds(worker.manifest.warm_up_seconds, accelerator.device.type)
    if seconds:
        open_run.on_warm_up(seconds)
        with contextlib.suppress(HarnessError):  # the run will meet it, and record it
            warm_up(worker.manifest.spec_to_train(run), splits, accelerator, worker.stop, seconds)


def _execute(worker: Worker, run: PlannedRun, open_run: OpenRun, splits: Splits, data_seconds: float) -> RunResult:
    """Trains and measures an open run and writes its result, unless an error that is this rank's own ends it."""
    spec = worker.manifest.spec_to_train(run)

    def on_step(step: int) -> None:
        worker.pulse.steps = step + 1
        open_run.on_step(step)

    try:
        outcome = execute(
            spec,
            splits,
            worker.accelerator,
            Observer(
                on_step,
                open_run.on_epoch,
                open_run.on_checkpoint,
                stop_requested=worker.stop,
                is_lost=open_run.is_lost,
                on_sample=open_run.on_sample,
                say=worker.display.note,
            ),
            fingerprint=run.fingerprint,
            target=worker.manifest.target,
            data_seconds=data_seconds,
            keeping=open_run.keeping,
        )
    except Lost:
        raise open_run.taken() from None
    except Stopped as stopped:
        kept = "a checkpoint is kept" if stopped.kept else "no checkpoint could be kept"
        cause = Cause(kind=worker.stop.reason or "stop", message=f"{stopped}: {kept}", step=stopped.step)
        return open_run.close("preempted", cause)
    except Diverged as error:
        return open_run.close("diverged", Cause(kind="Diverged", message=str(error), step=error.step))
    except HarnessError as error:
        if worker.accelerator.num_processes > 1:  # it may be this rank's own, e.g. its GPU is full
            raise
        return open_run.close("failed", Cause(kind="HarnessError", message=str(error)))
    return open_run.close("ok", outcome=outcome)


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
                splits = prepare(run.spec.data, encoded=_decodes_itself(run.spec), planned=run.fingerprint)
            except HarnessError as error:
                bad = error
        wait_for_all(accelerator, f"{run.run_id} {turn}")
    found: list[HarnessError | None] = gather_object([bad])
    if first := next((error for error in found if error), None):
        raise BadData(first.message, first.hint)
    assert splits
    return splits


def _decodes_itself(spec: RunSpec) -> bool:
    """Tells whether the loader of a run decodes image files; a fallback, known by now, has them decoded here."""
    if spec.loader.name != "dali":
        return False
    from harness.data.loaders.dali import is_installed

    return not parameters(spec.loader)["fallback"] or is_installed()


def _end_process(worker: Worker, open_run: OpenRun | None, error: Exception) -> NoReturn:
    """Records an error of this rank and ends the process."""
    pulse = worker.pulse
    trace = None if isinstance(error, HarnessError) else traceback.format_exc()
    message = str(error).partition("\n")[0]
    cause = Cause(kind=type(error).__name__, message=message, rank=pulse.rank, step=pulse.steps, traceback=trace)
    status: Status = "oom" if is_out_of_memory(error) else "failed"
    try:
        worker.display.close()
        if pulse.folder:  # of several ranks the supervisor knows which one failed, and which lost its peer
            leave_word(pulse.folder, pulse.rank, status, cause)
        else:
            sys.stderr.write(f"rank {pulse.rank}: {trace or error}\n")
            if open_run:
                open_run.abandon(status, cause)
    except OSError as problem:  # e.g. a full disk
        sys.stderr.write(f"rank {pulse.rank}: {trace or error}\nnot recorded: {problem}\n")
    finally:
        sys.stderr.flush()
        os._exit(1)  # a normal exit would wait for the process group


def _say_what_is_left_out(worker: Worker, console: Console, mine: list[PlannedRun], runs: list[PlannedRun]) -> None:
    slot = worker.manifest.slot
    if not worker.is_main or (slot and slot.number > 0):  # one of several launches says it for all
        return
    world = worker.accelerator.num_processes
    other = len(worker.manifest.runs) - len(mine)
    if other:
        console.print(f"{other} runs ask for another number of processes than this launch's {world}: left out")
    for run in runs:
        if why := worker.folder(run).read()[1]:
            sentence = f"{run.name} is trained again: {worker.folder(run).path}/result.json does not count: {why}"
            console.print(sentence, markup=False, soft_wrap=True)
    if len(mine) > len(runs):
        console.print(f"{len(mine) - len(runs)} of {len(mine)} runs are done on this system: skipped")
    folder = worker.manifest.output / worker.manifest.suite
    for sentence in unused_checkpoints(folder, worker.system["system_id"], runs):
        console.print(sentence, markup=False, soft_wrap=True)


def _someone_stops(worker: Worker) -> bool:
    """Tells whether a rank was asked to stop; every rank calls it between two runs, and all get the same answer."""
    return any(gather_object([worker.stop()]))
