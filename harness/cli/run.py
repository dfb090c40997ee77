"""`harness run`: by a person, by a supervisor for each of its processes, or by a launcher."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import RESULTS, app, plan_of, show_report, stderr
from harness.cli.options import (
    ConfigFile,
    Entity,
    Machine,
    Output,
    Overrides,
    Predictions,
    Project,
    RunnablePath,
    Selections,
    Small,
    Sort,
    Trackers,
    WithResumed,
)
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.scheduling.manifest import Manifest
    from harness.suite.plan import PlannedRun
    from harness.trackers.options import Tracking

ALLOCATOR = "PYTORCH_CUDA_ALLOC_CONF"


@app.command()
def run(
    suite: RunnablePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    output: Output = RESULTS,
    config_file: ConfigFile = None,
    isolate: Annotated[bool, typer.Option("--isolate", help="A fresh process for each run.")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="One process on this machine, with micro-batches that fit its GPU.")
    ] = False,
    pack: Annotated[
        int,
        typer.Option("--pack", metavar="N", min=1, help="N runs at a time on one device: no time counts."),
    ] = 1,
    retake: Annotated[
        int,
        typer.Option(
            "--retake", metavar="N", min=0, help="Train runs that were disturbed again at the end, up to N times each."
        ),
    ] = 0,
    renew: Annotated[
        bool, typer.Option("--renew", help="Train again what is done, but was trained by other code of the harness.")
    ] = False,
    lines: Annotated[str, typer.Option("--lines", metavar="FIRST-LAST", help="Of a manifest: the runs to do.")] = "",
    sort: Sort = "",
    with_resumed: WithResumed = False,
    tracker: Trackers = None,
    wandb_project: Project = "",
    wandb_entity: Entity = "",
    wandb_predictions: Predictions = False,
    wandb_machine: Machine = False,
) -> None:
    """Run what is open of a suite, then show and write its tables."""
    gc.enable()  # a long life, unlike the other verbs'
    from harness.records.planned import read_planned
    from harness.scheduling.launch import launch_folder
    from harness.scheduling.manifest import Manifest
    from harness.trackers.options import Tracking

    if folder := launch_folder():
        _work_for_supervisor(folder)
    if pack > 1 and _under_a_launcher():
        message = "--pack starts several processes itself, and a launcher has started this one"
        raise HarnessError(message, f"harness run {suite} --pack {pack}")
    _require_times_to_retake(suite, retake, pack)
    if renew and (_under_a_launcher() or suite.suffix == ".jsonl"):
        message = "--renew chooses among runs that are done: a launcher's process and a frozen manifest have none"
        raise HarnessError(message, "harness run SUITE --renew, with the suite's YAML file")

    def tracking_of(manifest: Manifest | None) -> Tracking:
        of_suite = manifest.mirroring if manifest else None
        told = {"predictions": wandb_predictions, "machine": wandb_machine, "of_suite": of_suite}
        return Tracking.asked(tracker, wandb_project, wandb_entity, **told)

    tracking_of(None)  # an option that is wrong is told before data are read
    if local:
        set_ = ["train.retry_out_of_memory=true", *(set_ or [])]
    if suite.suffix == ".jsonl":
        if set_ or only or smoke or output != RESULTS:
            message = f"{suite} is a frozen manifest: --set, --only, --smoke, --local and --output do not change it"
            raise HarnessError(message, "give them to `harness submit`, or run the suite's YAML file")
        from harness.scheduling.slurm.manifest import read_manifest

        manifest = read_manifest(suite, lines)
        if pack > 1:
            _require_one_process(manifest.runs, "--pack")
        raise typer.Exit(
            _do(
                manifest,
                config_file,
                [str(suite), "--lines", lines],
                tracking_of(manifest),
                isolate,
                pack,
                retake,
                renew,
            )
        )
    if lines:
        raise HarnessError("--lines belongs to a manifest.jsonl of `harness submit`", "select runs with --only")

    world_size = int(os.environ.get("WORLD_SIZE", "1")) if _under_a_launcher() else None
    planned = plan_of(suite, set_, only, smoke, None if world_size else config_file, num_processes=world_size)
    if local:
        _require_one_process(planned.runs, "--local")
        os.environ.setdefault(ALLOCATOR, "expandable_segments:True")  # wastes less of a small memory
    if pack > 1:
        _require_one_process(planned.runs, "--pack")
    arguments = [str(suite), "--output", str(output)]
    manifest = Manifest.of(planned, output)
    code = _do(manifest, config_file, arguments, tracking_of(manifest), isolate, pack, retake, renew)
    is_main = not _under_a_launcher() or os.environ.get("RANK", "0") == "0"
    if code in (0, 1) and is_main:
        from harness.report.options import DEFAULT_SORT, Options

        options = Options(sort or DEFAULT_SORT, with_resumed)
        stored = read_planned(output, planned.suite.name, {run.run_id for run in planned.runs})
        show_report([planned], stored, output, options)
    raise typer.Exit(code)


def _require_times_to_retake(suite: Path, retake: int, pack: int) -> None:
    if not retake:
        return
    if pack > 1:
        message = "--retake is for times that count, and those of runs that are packed never do"
        raise HarnessError(message, "leave out --pack or --retake")
    if _under_a_launcher():
        message = "--retake starts the runs again itself, and a launcher has started this process"
        raise HarnessError(message, f"harness run {suite} --retake {retake}")


def _require_one_process(runs: Iterable[PlannedRun], option: str) -> None:
    for run in runs:
        if run.spec.train.num_processes != 1:
            message = f"{option} is one process a run, and '{run.spec.label}' asks for {run.spec.train.num_processes}"
            raise HarnessError(
                message, "leave it out, or --set train.num_processes=1: other runs, with ids of their own"
            )


def _work_for_supervisor(folder: Path) -> None:
    """Does the runs of a launch; a launcher in between would print a traceback for an exit code that is not 0."""
    from harness.running.worker import work
    from harness.scheduling.launch import STOPPED, refuse
    from harness.scheduling.manifest import Manifest

    try:
        try:
            manifest = Manifest.read(folder)
        except OSError as error:
            message = f"cannot read the runs of the launch in {folder}: {error.strerror}"
            raise HarnessError(message, "the same command tries again") from None
        code = work(manifest, folder, stderr())
    except HarnessError as error:
        try:
            refuse(folder, error)  # the supervisor prints it, once for all ranks
        except OSError:
            raise error from None
        code = 0
    raise typer.Exit(0 if code == STOPPED else code)


def _do(
    manifest: Manifest,
    config_file: Path | None,
    arguments: list[str],
    tracking: Tracking,
    isolate: bool,
    pack: int,
    retake: int,
    renew: bool,
) -> int:
    """Does the runs of a manifest, here under a launcher, else by processes of their own; returns the exit code."""
    from harness.records.files import require_writable
    from harness.trackers.beside import mirrored

    console, folder = stderr(), manifest.output / manifest.suite

    def say(sentence: str) -> None:
        console.print(sentence, markup=False, soft_wrap=True)

    if _under_a_launcher():
        from harness.running.worker import work

        here = tracking if os.environ.get("RANK", "0") == "0" else dataclasses.replace(tracking, names=())
        with mirrored(here, None, say):
            return work(manifest, None, console)

    from harness.live.state import SuiteState
    from harness.live.view import view_for
    from harness.measure.system import describe_system
    from harness.scheduling.call import do_open_runs
    from harness.scheduling.commands import Launcher

    require_writable(folder)
    launcher = Launcher(config_file, shared_folder=folder.resolve(), packed=pack)
    system = describe_system(use_cpu=launcher.uses_cpu())
    view = view_for(console, SuiteState.of(manifest.suite, manifest.runs))
    with contextlib.closing(view):
        view.start()
        with mirrored(tracking, launcher.launch_folder_parent(), view.note):
            return do_open_runs(
                manifest, launcher, system, arguments, console, view, isolate=isolate, retake=retake, renew=renew
            )


def _under_a_launcher() -> bool:
    """Tells whether `accelerate launch` or `torchrun` started this process."""
    return "ACCELERATE_MIXED_PRECISION" in os.environ or "LOCAL_RANK" in os.environ
