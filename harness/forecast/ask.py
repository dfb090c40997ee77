"""Steps configs in a process of their own, which imports torch; this one does not."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.errors import HarnessError
from harness.forecast.stepped import Stepped, read_lines
from harness.launching.launch_command import WORKER, Launcher
from harness.launching.launch_folder import new_folder
from harness.launching.manifest import MANIFEST_FILE, Manifest
from harness.measure.system import find_gpus
from harness.suite.plan import PlannedRun

FACTOR = 4.0  # a step or the building of a network may take longer than all that was asked for
SLACK_SECONDS = 120.0  # to import torch, to read data and to compile


def require_torch() -> None:
    """Looks whether torch is installed, without importing it.

    Raises:
        HarnessError: it is not, as on the login node of a cluster.
    """
    if importlib.util.find_spec("torch") is None:
        raise HarnessError("torch is not installed here, and a forecast steps each config", send_to_node())


def send_to_node() -> str:
    """Returns the command of this call, for a compute node of a SLURM cluster."""
    return f"on a compute node: srun --gpus=1 --cpus-per-task=8 harness {shlex.join(sys.argv[1:])}"


def on_login_node(launcher: Launcher) -> bool:
    """Tells whether this is a machine of a SLURM cluster outside of any job, and without a GPU."""
    outside = shutil.which("sbatch") is not None and "SLURM_JOB_ID" not in os.environ
    return outside and not launcher.is_told_to_use_cpu() and not find_gpus()


def step_all(manifest: Manifest, launcher: Launcher, seconds: float) -> tuple[dict[str, Stepped], float | None]:
    """Steps each run of a manifest.

    A process that dies, as of too little memory, is told of the config that it was at; another one does the rest.

    Args:
        manifest: a run of each config to step, of one process each.
        launcher: tells the environment of the process.
        seconds: for all of them together; torch is imported before that.

    Returns:
        What each config came to, by config_id, without those that there was no time for; and what it took until torch
        and the device were there.

    Raises:
        HarnessError: no process could step anything.
    """
    found: dict[str, Stepped] = {}
    started: float | None = None
    runs = list(manifest.runs)
    while runs and seconds > 0:
        with new_folder() as folder:
            began = time.monotonic()
            last = _step_in_process(manifest.model_copy(update={"runs": tuple(runs)}), launcher, folder, seconds)
            lines = read_lines(folder)
        took = next((line.started_seconds for line in lines if line.started_seconds is not None), None)
        started = took if started is None else started
        found |= {line.stepped.config_id: line.stepped for line in lines if line.stepped}
        at = next((line.begins for line in reversed(lines) if line.begins), "")
        if last and not at:
            raise HarnessError(f"the process that steps the configs ended: {last}", "harness doctor")
        if not last:
            break
        found.setdefault(at, Stepped(config_id=at, problem=last))
        seconds -= time.monotonic() - began - (took or 0.0)
        runs = [run for run in runs if run.config_id not in found]
    return found, started


def _step_in_process(manifest: Manifest, launcher: Launcher, folder: Path, seconds: float) -> str:
    """Steps in one process; returns why it died, empty where it did not."""
    manifest.write(folder / MANIFEST_FILE)
    errors, longest = folder / "stderr", FACTOR * seconds + SLACK_SECONDS
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(WORKER), "--step", str(folder), str(seconds), str(os.getpid()), str(time.monotonic())],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=launcher.environment(1),
        )
        with _ended(process):
            try:
                code = process.wait(timeout=longest)
            except subprocess.TimeoutExpired:
                return f"no end within {longest:.0f} s"
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return f"{name} ended its process" + (", as the kernel does without memory" if name == "SIGKILL" else "")
    said = errors.read_text(errors="replace").strip().splitlines()
    return (said[-1] if said else f"its process ended with {code}") if code else ""


@contextlib.contextmanager
def _ended(process: subprocess.Popen) -> Iterator[None]:
    """Ends a process where this one is interrupted, or has waited for too long."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def one_process_each(runs: Mapping[str, PlannedRun]) -> dict[str, PlannedRun]:
    """Returns those that train in one process: steps of several are not taken yet."""
    return {config_id: run for config_id, run in runs.items() if run.spec.train.world_size == 1}
