"""Whether this machine can run a suite: what its runs would meet at their start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.counted import counted
from harness.errors import HarnessError
from harness.launching.launch_command import Launcher
from harness.launching.manifest import MANIFEST_FILE, Manifest
from harness.launching.run_suite import open_runs
from harness.measure.finding import Finding
from harness.measure.system import find_gpus
from harness.trackers.account import why_offline
from harness.trackers.options import WANDB, Tracking

MOST_SECONDS = 600.0


class SuiteExamination(NamedTuple):
    """What the open runs of a suite would meet here.

    Attributes:
        name: of the suite.
        runs: all of them.
        done: those of them that are done on this system.
        findings: in the order in which they are shown.
    """

    name: str
    runs: int
    done: int
    findings: tuple[Finding, ...]


def examine_suite(manifest: Manifest, launcher: Launcher, system_id: str) -> SuiteExamination:
    """Returns what the runs of a suite would meet on this machine; nothing is trained, and nothing is fetched."""
    left = open_runs(manifest, system_id)
    every = len(manifest.runs)
    if not left:
        done = Finding("runs", "ok", "all are done on this system")
        return SuiteExamination(manifest.suite, every, every, (done,))
    manifest = manifest.model_copy(update={"runs": tuple(left)})
    with tempfile.TemporaryDirectory(prefix="harness-") as name:
        findings = [
            *_processes(manifest, launcher, Path(name)),
            *_ask_a_process(manifest, launcher, Path(name)),
            *_trackers(manifest),
        ]
    return SuiteExamination(manifest.suite, every, every - len(left), tuple(findings))


def _processes(manifest: Manifest, launcher: Launcher, folder: Path) -> Iterator[Finding]:
    gpus, cpus = find_gpus(), len(os.sched_getaffinity(0))
    here = counted(cpus, "CPU") if launcher.uses_cpu() else counted(len(gpus), "GPU")
    for size in sorted({run.spec.train.world_size for run in manifest.runs}):
        asked = f"{counted(size, 'process', 'processes')} a run, and {here} here"
        try:
            launcher.command(size, folder)
        except HarnessError as error:
            yield Finding("processes", "stop", error.message, error.hint)
            continue
        if launcher.uses_cpu() and size > cpus:
            yield Finding("processes", "warning", f"{asked}: they wait for each other", "set train.num_processes")
        else:
            yield Finding("processes", "ok", asked)


def _ask_a_process(manifest: Manifest, launcher: Launcher, folder: Path) -> Iterator[Finding]:
    """Yields what `harness.running.readiness` says, and how it ended where it did not end well."""
    path = folder / MANIFEST_FILE
    manifest.write(path)
    most = max(run.spec.train.world_size for run in manifest.runs)
    environment = {**launcher.environment(1), "LOCAL_WORLD_SIZE": str(most)}
    command = [sys.executable, "-m", "harness.running.readiness", str(path)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, env=environment)
        out, problem = ran.stdout, _how_it_ended(ran.returncode, ran.stderr)
    except subprocess.TimeoutExpired as error:
        out = (error.stdout or b"").decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        problem = f"no answer within {MOST_SECONDS:g} s"
    for line in out.splitlines():
        try:
            yield Finding(*json.loads(line))
        except (ValueError, TypeError):
            continue  # what a package prints
    if problem:
        yield Finding("start", "stop", problem, "`harness run SUITE --smoke` shows where")


def _how_it_ended(code: int, stderr: str) -> str:
    if not code:
        return ""
    last = (stderr.strip().splitlines() or [""])[-1]
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return f"a process that looked at what the runs need {ended}{last and ': '}{last}"


def _trackers(manifest: Manifest) -> Iterator[Finding]:
    try:
        names = Tracking.asked(of_suite=manifest.mirroring).names
    except HarnessError as error:
        yield Finding("trackers", "stop", error.message, error.hint)
        return
    for name in names:
        why = why_offline(os.environ, Path.home()) if name == WANDB else ""
        if why:
            says = f"{name}: {why}: runs are written to this disk alone"
            yield Finding("trackers", "warning", says, "wandb login, and later `harness wandb sync SUITE`")
        else:
            yield Finding("trackers", "ok", f"{name} is installed" + (", and has a key" if name == WANDB else ""))
