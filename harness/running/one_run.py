"""One run of a launch, on each of its ranks: its data are read, it is opened, trained and recorded."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from typing import NoReturn

from accelerate.utils import gather_object

from harness import registry
from harness.cache import cache_root
from harness.data.images import telling_progress
from harness.data.prepare import Splits, data_source, prepare
from harness.errors import HarnessError
from harness.launching.launch_folder import report_failure
from harness.measure.memory import is_out_of_memory
from harness.records.result import Cause, RunResult, Status
from harness.running.build import global_batches
from harness.running.execute import Observer, Outcome, execute
from harness.running.inference import InUse, measure_inference
from harness.running.open_run import OpenRun, OwnedElsewhere, Worker
from harness.running.shared_data import borrow, lend, take_back
from harness.running.warm_up import warm_up, warm_up_seconds
from harness.spec import RunSpec, parameters
from harness.suite.plan import PlannedRun
from harness.training.distributed import tell, told, wait_for_all
from harness.training.epochs import Lost, Stopped
from harness.training.loop import Diverged


class BadData(HarnessError):
    """The data of a run, or its checkpoint, are not what they should be; every rank raises it."""


def do_run(worker: Worker, run: PlannedRun, *, cold: bool) -> Status | None:
    """Does one run, the first of a launch after a warm-up; None where it is another process's.

    What it cannot record ends the process: its peers may wait in a collective, for ever.
    """
    worker.heartbeat.run_begins(run.run_id, worker.folder(run))
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
    except OwnedElsewhere as error:
        if open_run:
            open_run.leave(error)
        else:
            worker.display.note(f"{run.name}: left to {error}")
        status = None
    except Exception as error:
        _end_process(worker, open_run, error)
    worker.heartbeat.run_ended()
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
    try:
        outcome = execute(
            spec,
            splits,
            worker.accelerator,
            Observer(
                worker.heartbeat.beat,
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
            checkpoint_policy=open_run.checkpoint_policy,
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
    if worker.manifest.inference:
        _time_in_use(worker, run, splits, outcome)
    return open_run.close("ok", outcome=outcome)


def _time_in_use(worker: Worker, run: PlannedRun, splits: Splits, outcome: Outcome) -> None:
    """Adds what the network costs to use; not beside other runs on its device: `harness infer` does it later."""
    measured, packed = outcome.measured, worker.manifest.packed
    assert measured.resolved
    if packed > 1:
        found = InUse(None, {"inference": f"packed: {packed} runs at a time"})
    else:
        image = splits.image_shape(run.spec.data.augment)
        precision = measured.resolved.mixed_precision
        found = measure_inference(outcome.network, run.spec.train, image, precision, worker.accelerator)
    found.add_to(measured)
    measured.clock.total_seconds = (measured.clock.total_seconds or 0.0) + found.seconds
    if reason := found.unavailable.get("inference"):
        worker.display.note(f"{run.name}: not timed in use: {reason}; later: harness infer")


def _read_data(worker: Worker, run: PlannedRun) -> Splits:
    """Reads the data of a run in one process of each machine, which fetches and decodes; the others take them over.

    Raises:
        BadData: on every rank, where one of them cannot; they end the suite before the run is opened.
    """
    accelerator = worker.accelerator
    splits, bad = None, None
    first = accelerator.process_index - accelerator.local_process_index  # of this machine's ranks
    name = f"{run.run_id} data of rank {first}"
    for turn in (True, False):
        if accelerator.is_local_main_process == turn:
            try:
                source = data_source(run.spec.data)
                if source.download and turn:
                    source.download()
                splits = None if turn else borrow(told(name))
                with telling_progress(worker.heartbeat.has_read):
                    encoded = decodes_itself(run.spec)
                    splits = splits or prepare(run.spec.data, encoded=encoded, planned=run.fingerprint)
                if turn and accelerator.num_processes > 1:
                    tell(name, lend(splits))
            except HarnessError as error:
                bad = error
        wait_for_all(accelerator, f"{run.run_id} {turn}")
    if accelerator.is_local_main_process and accelerator.num_processes > 1:
        take_back(told(name))
    found: list[HarnessError | None] = gather_object([bad])
    if first_error := next((error for error in found if error), None):
        raise BadData(first_error.message, first_error.hint)
    assert splits
    return splits


def decodes_itself(spec: RunSpec) -> bool:
    """Tells whether the loader of a run decodes image files; a fallback, known by now, has them decoded here."""
    if spec.data.evaluate and spec.loader.name in ("pinned", "auto"):
        return True
    if not registry.find("loader", spec.loader.name).decodes:
        return False
    from harness.data.loaders.dali import is_installed

    return spec.loader.name != "dali" or not parameters(spec.loader)["fallback"] or is_installed()


def _end_process(worker: Worker, open_run: OpenRun | None, error: Exception) -> NoReturn:
    """Records an error of this rank and ends the process."""
    heartbeat = worker.heartbeat
    trace = None if isinstance(error, HarnessError) else traceback.format_exc()
    message = str(error).partition("\n")[0]
    cause = Cause(
        kind=type(error).__name__, message=message, rank=heartbeat.rank, step=heartbeat.steps, traceback=trace
    )
    status: Status = "oom" if is_out_of_memory(error) else "failed"
    try:
        worker.display.close()
        if heartbeat.folder:  # of several ranks the supervisor knows which one failed, and which lost its peer
            report_failure(heartbeat.folder, heartbeat.rank, status, cause)
        else:
            sys.stderr.write(f"rank {heartbeat.rank}: {trace or error}\n")
            if open_run:
                open_run.abandon(status, cause)
    except OSError as problem:  # e.g. a full disk
        sys.stderr.write(f"rank {heartbeat.rank}: {trace or error}\nnot recorded: {problem}\n")
    finally:
        sys.stderr.flush()
        os._exit(1)  # a normal exit would wait for the process group
