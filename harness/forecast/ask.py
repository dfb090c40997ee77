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
from collections.abc import Iterator
from pathlib import Path

from harness.errors import HarnessError, MachineError, see_doctor
from harness.forecast.stepped import Stepped, read_lines
from harness.launching.launch_command import Launcher
from harness.launching.launch_folder import FOLDER, new_folder
from harness.launching.manifest import MANIFEST_FILE, Manifest
from harness.launching.slurm.cluster import Allocation
from harness.measure.system import find_gpus
from harness.records.files import read_object
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
    """Steps each run of a manifest in as many processes as it trains in.

    A process that dies, as of too little memory, is told of the config that it was at; another one does the rest.

    Args:
        manifest: a run of each config to step.
        launcher: starts the processes.
        seconds: for all of them together; torch is imported before that.

    Returns:
        What each config came to, by config_id, without those that there was no time for; and what it took until torch
        and the device were there.
    """
    found: dict[str, Stepped] = {}
    started: list[float] = []
    sizes = sorted({run.spec.train.world_size for run in manifest.runs})
    for size in sizes:
        own = [run for run in manifest.runs if run.spec.train.world_size == size]
        share = seconds * len(own) / len(manifest.runs)
        found |= _step_of_size(manifest, own, launcher, size, share, started)
    return found, started[0] if started else None


def _step_of_size(
    manifest: Manifest, runs: list[PlannedRun], launcher: Launcher, size: int, seconds: float, started: list[float]
) -> dict[str, Stepped]:
    """Steps runs of one world size; the seconds that each start took are added to `started`."""
    found: dict[str, Stepped] = {}
    while runs:
        with new_folder() as folder:
            began = time.monotonic()
            manifest.model_copy(update={"runs": tuple(runs)}).write(folder / MANIFEST_FILE)
            call = (str(folder), str(seconds), str(os.getpid()), str(began))
            try:
                _require_one_machine(size)
                command = launcher.command(size, folder, "--step", *call)
            except MachineError as error:
                return found | _none_of(runs, error.message, error.hint)
            died, killed = _step_in_processes(
                command, launcher.environment(size), folder, FACTOR * seconds + SLACK_SECONDS
            )
            lines = read_lines(folder)
        started += [line.started_seconds for line in lines if line.started_seconds is not None]
        # The first line of a config: the rank that failed writes it before the others lose the connection.
        found |= {line.stepped.config_id: line.stepped for line in reversed(lines) if line.stepped}
        at = next((line.begins for line in reversed(lines) if line.begins), "")
        if died and not at:
            return found | _none_of(runs, f"the process that steps the configs ended: {died}", see_doctor())
        if not died:
            break
        if killed or at not in found:
            found[at] = Stepped(config_id=at, problem=died)
        left = [run for run in runs if run.config_id not in found]
        seconds, runs = seconds * len(left) / len(runs), left
    return found


def _none_of(runs: list[PlannedRun], problem: str, hint: str) -> dict[str, Stepped]:
    return {run.config_id: Stepped(config_id=run.config_id, problem=problem, hint=hint) for run in runs}


def _require_one_machine(size: int) -> None:
    """Checks that processes which know each other by the clock and the folders of one machine are on one."""
    allocation = Allocation.of_this_job() if size > 1 else None
    if allocation:
        message = f"trains on the {allocation.nodes} nodes of this job, and a forecast steps on one"
        raise MachineError(message, "ask for one node with as many GPUs")


def _step_in_processes(
    command: list[str], environment: dict[str, str], folder: Path, longest: float
) -> tuple[str, bool]:
    """Steps in one launch; returns why it died, empty where it did not, and whether that was by a signal."""
    errors = folder / "stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=environment | {FOLDER: str(folder)},
        )
        with _ended(process):
            try:
                code = process.wait(timeout=longest)
            except subprocess.TimeoutExpired:
                return f"no end within {longest:.0f} s", True
    for exits in folder.glob("exits-*.json"):  # of the ranks of a launcher
        code = min(read_object(exits).values(), default=code)
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            why = ", as the kernel does without memory" if name == "SIGKILL" else ""
            return f"{name} ended its process{why}", True
    said = errors.read_text(errors="replace").strip().splitlines()
    return (said[-1] if said else f"its process ended with {code}") if code else "", False


@contextlib.contextmanager
def _ended(process: subprocess.Popen) -> Iterator[None]:
    """Ends a process where this one is interrupted, or has waited for too long."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
