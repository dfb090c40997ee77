"""`harness run`: by a person, or by a launcher for each of its processes."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import RESULTS, app, identify_data, plan_of, require_all_of_race, stderr
from harness.cli.options import (
    ConfigFile,
    Download,
    Entity,
    Output,
    Overrides,
    Plugins,
    Project,
    RunnablePath,
    Selections,
    Small,
    Sort,
    Trackers,
    WithResumed,
    text_option,
)
from harness.errors import HarnessError
from harness.launching.accelerate_settings import under_a_launcher
from harness.weights_files import MissingWeights

if TYPE_CHECKING:
    from harness.launching.accelerate_settings import LauncherSettings
    from harness.launching.manifest import Manifest
    from harness.live.race import RaceBlock
    from harness.spec import DataSection
    from harness.suite.plan import Plan, PlannedRun
    from harness.trackers.options import Tracking
    from harness.weights_files import Weights

ALLOCATOR = "PYTORCH_CUDA_ALLOC_CONF"


@app.command()
def run(
    suite: RunnablePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    plugin: Plugins = None,
    download: Download = False,
    output: Output = RESULTS,
    config_file: ConfigFile = None,
    isolate: Annotated[bool, typer.Option("--isolate", help="A fresh process for each run.")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="One process on this machine, with micro-batches that fit its GPU.")
    ] = False,
    pack: Annotated[
        int,
        typer.Option("--pack", metavar="N", min=1, help="N runs at a time on one device; their times do not count."),
    ] = 1,
    retake: Annotated[
        int,
        typer.Option("--retake", metavar="N", min=0, help="Train disturbed runs again at the end, up to N times each."),
    ] = 0,
    renew: Annotated[
        bool, typer.Option("--renew", help="Train runs again that other code of the harness trained.")
    ] = False,
    lines: Annotated[str, text_option("--lines", metavar="FIRST-LAST", help="Runs of a manifest to train.")] = "",
    sort: Sort = "",
    with_resumed: WithResumed = False,
    tracker: Trackers = None,
    wandb_project: Project = "",
    wandb_entity: Entity = "",
) -> None:
    """Train the open runs of a suite, then show and write its tables."""
    gc.enable()  # a long life, unlike the other verbs'
    from harness.launching.manifest import Manifest
    from harness.trackers.options import Tracking

    call = Call(config_file, isolate, pack, retake, renew, download)
    _require_sense(call, suite)

    def tracking_of(manifest: Manifest | None) -> Tracking:
        of_suite = manifest.mirroring if manifest else None
        return Tracking.asked(tracker, wandb_project, wandb_entity, of_suite=of_suite)

    tracking_of(None)  # an option that is wrong is told before data are read
    if local:
        set_ = ["train.retry_out_of_memory=true", *(set_ or [])]
    asked = _asked(config_file)
    if suite.suffix == ".jsonl":
        if asked.settings:
            message = f"{suite} is a frozen manifest, and {asked.source} asks for {', '.join(asked.settings)}"
            raise HarnessError(message, "leave that to the suite, or run the suite's YAML file")
        if set_ or only or smoke or plugin or download or output != RESULTS:
            options = "--set, --only, --smoke, --plugin, --local, --download and --output"
            message = f"{suite} is a frozen manifest: {options} do not change it"
            raise HarnessError(message, "give them to `harness submit`, or run the suite's YAML file")
        manifest = Manifest.read(suite, lines)
        if not under_a_launcher():  # where rank 0 finds out, for all of them
            manifest = manifest.without_done()
        if pack > 1:
            _require_one_process(manifest.runs, "--pack")
        raise typer.Exit(_do(manifest, tracking_of(manifest), call))
    if lines:
        raise HarnessError("--lines belongs to a manifest.jsonl of `harness submit`", "select runs with --only")

    world_size = int(os.environ.get("WORLD_SIZE", "1")) if under_a_launcher() else None
    fingerprint = _as_rank_0 if world_size and world_size > 1 else None
    options = {"num_processes": world_size, "plugins": plugin, "asked": asked, "fingerprint": fingerprint}
    planned = with_weights(lambda: plan_of(suite, set_, only, smoke, config_file, **options), download)
    _require_whole_race(planned, suite, only, call)
    if local:
        _require_one_process(planned.runs, "--local")
        os.environ.setdefault(ALLOCATOR, "expandable_segments:True")  # wastes less of a small memory
    if pack > 1:
        _require_one_process(planned.runs, "--pack")
    for sentence in asked.sentences(planned.configs().values()) if _is_first() else ():
        _say(sentence)
    code = train(planned, output, tracking_of(Manifest.of(planned, output)), call)
    if code in (0, 1) and _is_first():
        from harness.report.build import DEFAULT_SORT, Options
        from harness.report.write import report_suites
        from harness.results.study import study_of_suite

        report_suites([study_of_suite(planned, [output])], stderr(), Options(sort or DEFAULT_SORT, with_resumed))
    raise typer.Exit(code)


@dataclass(frozen=True)
class Call:
    """How the runs of a call are to be done: options of `harness run`."""

    config_file: Path | None = None
    isolate: bool = False
    pack: int = 1
    retake: int = 0
    renew: bool = False
    download: bool = False


def train(planned: Plan, output: Path, tracking: Tracking, call: Call) -> int:
    """Does the open runs of a plan, with what they need from the network; returns the exit code."""
    from harness.launching.manifest import Manifest
    from harness.results.question import keep_question

    manifest = Manifest.of(planned, output)
    if call.download:
        from harness.launching.run_suite import with_downloads

        manifest = with_downloads(manifest)
        if under_a_launcher():  # else it is done below, for open runs alone
            _fetch_weights(filter(None, (run.spec.pretrained_weights() for run in manifest.runs)), told=True)
    if _is_first():
        keep_question(planned, output)
    if planned.race:
        from harness.launching.race import run_race
        from harness.live.race import RaceBlock

        def launch(runs: tuple[PlannedRun, ...]) -> int:
            some = manifest.model_copy(update={"runs": runs})
            return _do(some, tracking, call, RaceBlock.of(planned, output, manifest.runs))

        return run_race(planned, output, manifest.runs, launch, _say)
    return _do(manifest, tracking, call)


def _as_rank_0(section: DataSection) -> str:
    from harness.running.shared_data import identity_from_rank_0

    return identity_from_rank_0(section, identify_data)


def _say(sentence: str) -> None:
    stderr().print(sentence, markup=False, soft_wrap=True)


def _is_first() -> bool:
    """Tells whether this process speaks for the call: of several that a launcher has started, rank 0."""
    return not under_a_launcher() or os.environ.get("RANK", "0") == "0"


def _asked(config_file: Path | None) -> LauncherSettings:
    """Returns what Accelerate's launcher or a config of it asks for."""
    from harness.launching.accelerate_settings import LauncherSettings, of_config, of_launcher, refuse_environment

    if not under_a_launcher():
        refuse_environment(os.environ)
        return of_config(config_file) if config_file else LauncherSettings()
    if config_file:
        message = "--config_file is for `harness run`, and a launcher has started this process"
        raise HarnessError(message, f"accelerate launch --config_file {config_file} -m harness.run SUITE")
    asked = of_launcher()
    if asked.use_cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"  # which the launcher does not hand on to several ranks
    return asked


def _fetch_missing_data(manifest: Manifest, system_id: str) -> None:
    """Fetches data that are missing, here and not in a launch, whose time is limited; asks a person where none said so.

    Raises:
        HarnessError: they are not to be fetched, nobody can be asked, or there is no network.
    """
    from harness.launching.run_suite import missing_archives

    for archive, told in missing_archives(manifest, system_id):
        folder = archive.path.parent.absolute()
        if not told and not _confirmed(f"{archive.title} is not in {folder}: download {archive.size}?"):
            raise archive.missing()
        _say(f"downloading {archive.title}, {archive.size}, to {folder}")
        archive.fetch()


def with_weights(plan: Callable[[], Plan], told: bool) -> Plan:
    """Returns a plan; pretrained weights that identify its runs by their content are fetched first.

    Raises:
        HarnessError: the suite is wrong, or weights are not to be fetched, or there is no network.
    """
    fetched: set[Path] = set()
    while True:
        try:
            return plan()
        except MissingWeights as missing:
            if missing.weights.path in fetched:
                raise
            fetched.add(missing.weights.path)
            _fetch_weights([missing.weights], told)


def _fetch_weights(wanted: Iterable[Weights], told: bool) -> None:
    """Fetches pretrained weights that are missing, as `_fetch_missing_data` does data."""
    from harness.data.weights import fetch_weights

    for weights in wanted:
        if weights.is_here():
            continue
        url = weights.published.url if weights.published else ""
        if not url or not (told or _confirmed(f"the weights of {weights.title} are not here: download {url}?")):
            raise MissingWeights(weights)
        _say(f"downloading {url}")
        fetch_weights(weights)


def _confirmed(question: str) -> bool:
    """Asks a person; False where there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return typer.confirm(question, default=True, err=True)
    except typer.Abort:  # Ctrl-C, or the end of stdin
        return False


def _require_sense(call: Call, suite: Path) -> None:
    """Refuses options that contradict each other, the launcher of this process, or a frozen manifest."""
    if call.retake and call.pack > 1:
        message = "--retake is for times that count, and times of packed runs do not"
        raise HarnessError(message, "leave out --pack or --retake")
    starting = {"--pack": call.pack - 1, "--retake": call.retake, "--renew": call.renew}
    for option in (option for option, given in starting.items() if given):
        value = {"--pack": f" {call.pack}", "--retake": f" {call.retake}"}.get(option, "")
        if under_a_launcher():
            message = f"{option} starts processes itself, and a launcher has started this one"
            raise HarnessError(message, f"harness run {suite} {option}{value}")
        if option != "--pack" and suite.suffix == ".jsonl":
            message = f"{option} trains runs again that are done, and {suite} is a frozen manifest: its runs that are "
            raise HarnessError(
                f"{message}done are left out", f"harness run SUITE {option}{value}, with the suite's YAML file"
            )


def _require_whole_race(planned: Plan, suite: Path, only: list[str] | None, call: Call) -> None:
    """Refuses what would change a race while it goes on."""
    require_all_of_race(planned, suite, only, "run")
    if planned.race is None:
        return
    if under_a_launcher():
        message = "a race is launched once for each of its looks, and a launcher has started this process"
        raise HarnessError(message, f"harness run {suite}, with --config_file for a config of Accelerate's")
    if call.renew:
        message = "--renew trains runs again that a race has decided from"
        raise HarnessError(message, "raise `looks` or change `margin`: that begins a new race")
    if call.pack > 1 and planned.race.kind != "best":
        message = f"--pack takes the times from a race for the {planned.race.kind}, which decides by them"
        raise HarnessError(message, "leave it out")


def _require_one_process(runs: Iterable[PlannedRun], option: str) -> None:
    for run in runs:
        if run.spec.train.num_processes != 1:
            message = f"{option} is one process a run, and '{run.spec.label}' asks for {run.spec.train.num_processes}"
            raise HarnessError(
                message, "leave it out, or --set train.num_processes=1: these are other runs, with other ids"
            )


def _do(manifest: Manifest, tracking: Tracking, call: Call, race: RaceBlock | None = None) -> int:
    """Does the runs of a manifest, here under a launcher, else by processes of their own; returns the exit code."""
    from harness.records.files import require_writable
    from harness.trackers.tracker_process import tracked

    console, folder = stderr(), manifest.output / manifest.suite
    if under_a_launcher():
        from harness.running.worker import work

        here = tracking if _is_first() else dataclasses.replace(tracking, names=())
        with tracked(here, None, _say):
            return work(manifest, None, console)

    from harness.launching.launch_command import Launcher
    from harness.launching.run_suite import missing_weights, run_suite
    from harness.live.state import SuiteState
    from harness.live.view import View
    from harness.measure.system import describe_system

    require_writable(folder)
    launcher = Launcher(call.config_file, shared_folder=folder.resolve(), packed=call.pack, isolate=call.isolate)
    system = describe_system(use_cpu=launcher.uses_cpu())
    _fetch_missing_data(manifest, system["system_id"])
    _fetch_weights(missing_weights(manifest, system["system_id"]), told=call.download)
    view = View(console, SuiteState(manifest.suite, manifest.runs, race=race))
    with contextlib.closing(view):
        view.start()
        with tracked(tracking, launcher.launch_folder_parent(), view.note):
            return run_suite(manifest, launcher, system, view, retake=call.retake, renew=call.renew)
