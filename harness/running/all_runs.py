"""Walks the runs in the order of the plan, together with the other ranks."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or `deterministic: true` fails; read when CUDA starts

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env
from rich.console import Console

from harness import registry
from harness.counted import counted, is_are
from harness.launching.launch_folder import STOPPED, Heartbeat, report_end
from harness.launching.manifest import Manifest
from harness.live.state import RunEnded, SuiteState
from harness.live.view import BESIDE_TRAINING_SECONDS, Notes, View
from harness.measure.memory import keep_freed_memory
from harness.measure.surroundings import Surroundings
from harness.measure.system import describe_system
from harness.measure.torch_probe import probe
from harness.measure.usable_gpus import has_usable_gpu
from harness.records.checkpoints import CheckpointFolder, run_differences
from harness.records.files import require_writable
from harness.records.planned import done_elsewhere
from harness.records.result import Status
from harness.running.build import ddp_options, group_options
from harness.running.network_interface import name_interface
from harness.running.one_run import BadData, do_run
from harness.running.open_run import Worker
from harness.running.stop_request import StopRequest
from harness.suite.plan import PlannedRun
from harness.training.precision import require_launched_precision


def walk(
    manifest: Manifest,
    heartbeat: Heartbeat,
    stop: StopRequest,
    console: Console,
    surroundings: Surroundings | None = None,
) -> int:
    """Runs what is open of a manifest; every rank calls it.

    Args:
        manifest: the runs.
        heartbeat: of this rank.
        stop: says whether to save and stop.
        console: for progress, on stderr.
        surroundings: tell, before the first run, whether the machine is busy; None to say nothing.

    Returns and raises as `harness.running.worker.work`.
    """
    keep_freed_memory()
    name_interface()
    registry.load(manifest.files())  # all of them, before the first run trains
    # Accelerate starts gloo ranks only where it is told to use the CPU; its launcher does not pass that on to ranks.
    trains = [run.spec.train for run in manifest.runs]
    accelerator = Accelerator(
        cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not has_usable_gpu(probe()),
        mixed_precision="no",  # this and the compiler are the suite's, into which a launcher's words were read
        dynamo_backend="no",
        kwargs_handlers=[ddp_options(), group_options(trains, supervised=heartbeat.folder is not None)],
    )
    # Rank 0 writes it down; git is asked once a launch.
    system = describe_system(use_cpu=accelerator.device.type == "cpu", with_source=accelerator.is_main_process)
    require_writable(manifest.output / manifest.suite)
    require_launched_precision(trains, accelerator.device)

    worker = Worker(manifest, accelerator, system, heartbeat, stop, Notes())
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
                cold = all(status is None for status in statuses)  # those before it were left to another process
                statuses.append(do_run(worker, run, cold=cold))
    except BadData:
        if heartbeat.folder:
            _leave(worker, code=0)
        else:
            _disband(worker)  # each rank ends by this error, and one of them says it
        raise
    stopped = len(statuses) < len(runs) or "preempted" in statuses
    if heartbeat.folder and worker.is_main:
        with contextlib.suppress(OSError):  # a full disk: the supervisor reads the records
            report_end(heartbeat.folder, (stop.reason or "a signal to another rank") if stopped else "")
    failed = any(status not in ("ok", None) for status in statuses)
    code = STOPPED if stopped else int(failed and not heartbeat.folder)
    _leave(worker, code=0 if heartbeat.folder else code)
    return code


def _open_of(worker: Worker, runs: list[PlannedRun]) -> list[int]:
    """Returns the places of the runs that are not done, under this suite or another one of the results root."""
    of_submission = {run.run_id for run in worker.manifest.without_done().runs}
    left = [i for i, run in enumerate(runs) if run.run_id in of_submission and not worker.is_done(run)]
    manifest, ids = worker.manifest, [runs[i].run_id for i in left if runs[i].run_id not in worker.manifest.again]
    elsewhere = done_elsewhere(manifest.output, manifest.suite, ids, worker.system["system_id"])
    done = {result.run_id for result in elsewhere}
    return [i for i in left if runs[i].run_id not in done]


def _display(worker: Worker, console: Console) -> Notes:
    """Returns what shows the runs of rank 0; where there is a supervisor, it does."""
    if worker.heartbeat.folder:
        return Notes(console)
    manifest = worker.manifest
    state = SuiteState(manifest.suite, manifest.runs)
    for run in manifest.runs:
        result = worker.folder(run).result()
        if result and worker.is_done(run):
            state.end(RunEnded.of(result))
    view = View(console, state, BESIDE_TRAINING_SECONDS)
    worker.heartbeat.on_run = view.take_run
    view.start()
    return view


def _leave(worker: Worker, code: int) -> None:
    """Leaves the process group. Ranks but the first have no more to do, and end here."""
    _disband(worker)
    if not worker.is_main:
        # Gloo's threads outlive the group. One that still frees the tensors of a collective while the interpreter
        # shuts down ends the process with SIGABRT, and the launcher calls that a failure.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _disband(worker: Worker) -> None:
    accelerator = worker.accelerator
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _say_what_is_left_out(worker: Worker, console: Console, mine: list[PlannedRun], runs: list[PlannedRun]) -> None:
    if not worker.is_main:
        return
    world = worker.accelerator.num_processes
    other = len(worker.manifest.runs) - len(mine)
    if other:
        console.print(f"left out: {counted(other, 'run')} with another number of processes than this launch's {world}")
    for run in runs:
        if why := worker.folder(run).read()[1]:
            sentence = f"{run.name} is trained again: {worker.folder(run).path}/result.json does not count: {why}"
            console.print(sentence, markup=False, soft_wrap=True)
    if skipped := len(mine) - len(runs):
        console.print(f"{skipped} of {counted(len(mine), 'run')} {is_are(skipped)} done on this system: skipped")
    folder = worker.manifest.output / worker.manifest.suite
    for sentence in unused_checkpoints(folder, worker.system["system_id"], runs):
        console.print(sentence, markup=False, soft_wrap=True)


def unused_checkpoints(suite_folder: Path, system_id: str, runs: Iterable[PlannedRun]) -> Iterator[str]:
    """Yields a sentence for each newest checkpoint that has the label and seed of a run, but is of another run.

    Args:
        suite_folder: of the suite's records.
        system_id: whose records.
        runs: that are to be done.
    """
    by_name: dict[tuple[Any, Any], PlannedRun] = {(run.spec.label, run.spec.seed): run for run in runs}
    names = {run.run_id for run in by_name.values()}
    for folder in sorted({path.parent for path in suite_folder.glob(f"*/{system_id}/checkpoints/step-*")}):
        if folder.parents[1].name in names:
            continue
        checkpoint, _ = CheckpointFolder(folder).newest()
        spec = checkpoint.run.get("spec", {}) if checkpoint else {}
        run = by_name.get((spec.get("label"), spec.get("seed")))
        if checkpoint and run:
            wanted = {"fingerprint": run.fingerprint, "spec": run.spec.model_dump(mode="json")}
            found = {key: checkpoint.run.get(key) for key in wanted}
            changes = "; ".join(run_differences(found, wanted))
            yield (
                f"{run.name} begins anew: the checkpoint of step {checkpoint.step} in "
                f"{folder} is of another run ({changes})"
            )


def _someone_stops(worker: Worker) -> bool:
    """Tells whether a rank was asked to stop; every rank calls it between two runs, and all get the same answer."""
    return any(gather_object([worker.stop()]))
