"""Launches the runs of a plan, watches them, records what killed a launch, and launches again for what is left."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from harness.measure.system import describe_system
from harness.records.result import Cause, RunResult, Status
from harness.records.store import RunFolder, now
from harness.scheduling.commands import Launcher
from harness.scheduling.launch import (
    FOLDER,
    SUPERVISOR,
    Manifest,
    has_stopped,
    order_stop,
    read_open_run,
    read_pulses,
    refusal,
)
from harness.suite import PlannedRun

POLL_SECONDS = 0.2
GRACE_SECONDS = 10.0
START_SECONDS = 300.0  # until the first sign of life: importing torch from a busy network disk is slow
STOPPED = 75
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@dataclass(frozen=True)
class Ending:
    """How a launch ended."""

    returncode: int
    cause: Cause | None = None
    stopped: bool = False


class Supervisor:
    """Runs a manifest on this machine.

    Args:
        manifest: the runs.
        launcher: starts processes.
        arguments: of the script, to be seen in a list of processes; the runs come from the manifest.
        console: for what a person reads, on stderr.
    """

    def __init__(
        self,
        manifest: Manifest,
        launcher: Launcher,
        arguments: list[str],
        console: Console,
    ) -> None:
        self._manifest = manifest
        self._launcher = launcher
        self._system_id = describe_system(use_cpu=launcher.uses_cpu())["system_id"]
        self._arguments = arguments
        self._console = console
        self._stop_requested = ""
        self._stop_now = False

    def run(self, *, isolate: bool = False) -> int:
        """Runs what is open.

        Args:
            isolate: a fresh process for each run.

        Returns:
            0 all well, 1 some runs failed, 2 bad input, 75 stopped.
        """
        open_runs = [run for run in self._manifest.runs if not self._folder_of(run).is_done()]
        total, done = len(self._manifest.runs), len(self._manifest.runs) - len(open_runs)
        skipped = f"; {done} are done on this system: skipped" if done else ""
        self._console.print(f"{self._manifest.suite}: {total} runs{skipped}")
        previous = {number: signal.signal(number, self._request_stop) for number in STOP_SIGNALS}
        try:
            for batch in _batches(open_runs, isolate):
                code = self._run_batch(batch)
                if code:
                    return code
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        results = [self._folder_of(run).result() for run in self._manifest.runs]
        return 0 if all(result is not None and result.status == "ok" for result in results) else 1

    def _run_batch(self, runs: list[PlannedRun]) -> int:
        """Launches until each run was attempted; returns 2 or 75 where that ends the suite, else 0."""
        while runs:
            with tempfile.TemporaryDirectory(prefix="harness-") as name:
                folder = Path(name)
                ending = self._launch(folder, runs)
                if ending.stopped or ending.returncode == STOPPED or has_stopped(folder):
                    self._console.print("stopped: what was done is kept, the same command goes on from here")
                    return STOPPED
                if refused := refusal(folder):
                    raise refused
                if ending.returncode == 2:
                    return 2
                opened = read_open_run(folder)
                open_folder = RunFolder(Path(opened["folder"])) if opened else None
                attempted = self._attempted(runs, opened["run_id"] if opened else None)
                if ending.returncode and open_folder and not (open_folder.path / "result.json").exists():
                    run = next(run for run in runs if opened and run.run_id == opened["run_id"])
                    self._record_death(run, open_folder, ending)
                if not attempted:
                    self._console.print(f"error: the launch ended with code {ending.returncode} before a run began")
                    self._console.print("hint: its own words stand above")
                    return 1
                runs = [run for run in runs if run.run_id not in attempted]
        return 0

    def _folder_of(self, run: PlannedRun) -> RunFolder:
        return self._manifest.folder(run, self._system_id)

    def _has_ended(self, run: PlannedRun) -> bool:
        return (self._folder_of(run).path / "result.json").exists()

    def _attempted(self, runs: list[PlannedRun], opened: str | None) -> set[str]:
        """Returns the runs up to the one that was opened last: ranks walk them in order."""
        ids = [run.run_id for run in runs]
        return set(ids[: ids.index(opened) + 1]) if opened in ids else set()

    def _launch(self, folder: Path, runs: list[PlannedRun]) -> Ending:
        world = runs[0].spec.train.num_processes or 1
        total, launched = len(self._manifest.runs), {run.run_id for run in runs}
        ended = sum(run.run_id not in launched and self._has_ended(run) for run in self._manifest.runs)
        dataclasses.replace(self._manifest, runs=tuple(runs), done=ended, total=total).write(folder)
        command = self._launcher.command(world, folder, self._arguments)
        order_stop(folder, "")
        supervisor = f"{socket.gethostname()}:{os.getpid()}"
        environment = self._launcher.environment(world) | {FOLDER: str(folder), SUPERVISOR: supervisor}
        timeout = max(run.spec.train.timeout_seconds for run in runs)
        child = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            return self._watch(child, folder, timeout)
        finally:
            _end_all(child)

    def _watch(self, child: subprocess.Popen[bytes], folder: Path, timeout_seconds: float) -> Ending:
        last_words: dict[int, str] = {}
        last_change = time.monotonic()
        ordered = False
        while child.poll() is None:
            if self._stop_now:
                return Ending(STOPPED, stopped=True)
            if self._stop_requested and not ordered:
                ordered = True
                order_stop(folder, self._stop_requested)
                self._console.print(f"{self._stop_requested}: saving; once more stops at once", markup=False)
            words = read_pulses(folder)
            if words != last_words:
                last_words, last_change = words, time.monotonic()
            limit = timeout_seconds if words else max(timeout_seconds, START_SECONDS)
            if time.monotonic() - last_change > limit:
                message = f"no step for {limit:g} s; last: {_describe(last_words)}"
                return Ending(1, Cause(kind="hang", message=message))
            time.sleep(POLL_SECONDS)
        # Stopped while it started, before it listened: nothing is lost.
        return Ending(child.returncode, stopped=bool(self._stop_requested) and child.returncode != 0)

    def _record_death(self, run: PlannedRun, folder: RunFolder, ending: Ending) -> None:
        status: Status = "timeout" if ending.cause and ending.cause.kind == "hang" else "failed"
        cause = ending.cause or _cause_of_death(ending.returncode)
        attempt = folder.attempt()
        result = RunResult(
            suite=self._manifest.suite,
            label=run.spec.label,
            run_id=run.run_id,
            config_id=run.config_id,
            system_id=folder.path.name,
            seed=run.spec.seed,
            status=status,
            cause=cause,
            started_at=attempt.started_at,
            ended_at=now(),
            attempt=attempt.number,
            num_processes=run.spec.train.num_processes or 1,
            spec=run.spec.model_dump(mode="json"),
        )
        folder.finish(result)
        self._console.print(f"✗ {run.spec.label} · seed {run.spec.seed} · {status}: {cause.message}", markup=False)

    def _request_stop(self, number: int, _frame: object) -> None:
        self._stop_now = self._stop_requested == "SIGINT" and number == signal.SIGINT
        self._stop_requested = self._stop_requested or signal.Signals(number).name


def _batches(runs: list[PlannedRun], isolate: bool) -> list[list[PlannedRun]]:
    """One launch for each world size, or, isolated, for each run; in the plan's order."""
    if isolate:
        return [[run] for run in runs]
    by_world = sorted(runs, key=lambda run: run.spec.train.num_processes or 1)
    return [list(group) for _, group in itertools.groupby(by_world, key=lambda run: run.spec.train.num_processes)]


def _cause_of_death(returncode: int) -> Cause:
    if returncode < 0:
        name = signal.Signals(-returncode).name
        return Cause(kind=name, message=f"the process was killed by {name}")
    return Cause(kind="exit", message=f"the launch ended with code {returncode} and left no result")


def _describe(words: dict[int, str]) -> str:
    return "; ".join(f"rank {rank} {text}" for rank, text in sorted(words.items())) or "no rank has begun"


def _end_all(child: subprocess.Popen[bytes]) -> None:
    """Ends a launch and every process below it, also those that a launcher started in sessions of their own."""
    try:
        family = psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for process in family:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(family, GRACE_SECONDS)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, GRACE_SECONDS)
