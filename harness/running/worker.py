"""One process of a launch. It listens from its first moment; what takes seconds to import comes after that."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import sys
import traceback
from pathlib import Path

from rich.console import Console

from harness.errors import HarnessError
from harness.launching.accelerate_settings import is_true
from harness.launching.launch_folder import STOPPED, Heartbeat, launching_process, refuse, report_failure
from harness.launching.manifest import MANIFEST_FILE, Manifest
from harness.measure.surroundings import Surroundings
from harness.measure.usable_gpus import before_training
from harness.records.result import Cause
from harness.running.stop_request import StopRequest


def work(manifest: Manifest, launch: Path | None, console: Console) -> int:
    """Runs what is open of a manifest; every rank of a launch calls it.

    Args:
        manifest: the runs.
        launch: the folder of the launch; None where there is no supervisor.
        console: for progress, on stderr.

    Returns:
        0 where all runs are ok, 1 where some are not, 75 where it was stopped. In a supervised launch, 0 where some are
        not: the supervisor knows it from the records, and a launcher in between would take a 1 for a crash.

    Raises:
        HarnessError: the output folder or the data are unusable: no run can start. Bad data are raised by each rank;
            in a supervised launch by rank 0, and the other ranks leave.
    """
    heartbeat = Heartbeat(launch, int(os.environ.get("RANK", "0")))
    stop = StopRequest()
    stop.listen(heartbeat)
    if launch:
        with contextlib.suppress(OSError):  # a full disk: a crash is told without its stack
            crash = (launch / f"crash-{heartbeat.rank}.txt").open("w")
            faulthandler.enable(crash, all_threads=False)
    heartbeat.beat("import")
    # Where there is a supervisor, it looks at the machine, once for all its launches.
    told_to_use_cpu = is_true(os.environ.get("ACCELERATE_USE_CPU"))
    for sentence in () if launch or told_to_use_cpu else before_training():
        if heartbeat.rank == 0:
            console.print(sentence, markup=False, soft_wrap=True)
    surroundings = None if launch else Surroundings({launching_process() or os.getpid()})

    try:
        gc.disable()  # what is imported stays: to look for garbage in it takes 1.16 times as long (median of 9)
        from harness.running.all_runs import walk  # imports torch: seconds, in which a signal would end the process

        gc.freeze()  # and part of each run
        gc.enable()
        return walk(manifest, heartbeat, stop, console, surroundings)
    except HarnessError:
        raise
    except Exception as error:
        if not launch:
            raise
        message = str(error).partition("\n")[0]
        trace = traceback.format_exc()
        cause = Cause(kind=type(error).__name__, message=message, rank=heartbeat.rank, traceback=trace)
        try:
            report_failure(launch, heartbeat.rank, "failed", cause)
        except OSError as problem:
            sys.stderr.write(f"rank {heartbeat.rank}: {trace}\nnot recorded: {problem}\n")
        os._exit(1)  # a normal exit would wait for the process group


def work_for_supervisor(folder: Path) -> int:
    """Does the runs of a supervised launch, and returns the exit code of this rank.

    A launcher in between would print a traceback for an exit code that is not 0, so what is wrong goes to the folder:
    the supervisor prints it, once for all ranks.

    Args:
        folder: of the launch.
    """
    try:
        manifest = Manifest.read(folder / MANIFEST_FILE)
        code = work(manifest, folder, Console(stderr=True, highlight=False))
    except HarnessError as error:
        try:
            refuse(folder, error)
        except OSError:
            sys.stderr.write(f"error: {error}\n")
            return 2
        return 0
    return 0 if code == STOPPED else code
