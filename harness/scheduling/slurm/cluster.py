"""What is asked of a SLURM cluster, by its own commands."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError

MAX_ARRAY_SIZE = 1001  # SLURM's default


@dataclass(frozen=True)
class QueuedTask:
    """A task of an array that has not ended.

    Attributes:
        job: of the array.
        task: its number in the array.
        state: e.g. `RUNNING`, `PENDING`, `COMPLETING`.
        reason: why it is pending.
    """

    job: int
    task: int
    state: str
    reason: str


def submit(script: Path) -> int:
    """Submits a batch script and returns the job id.

    Raises:
        HarnessError: with sbatch's own words.
    """
    return int(_ask("sbatch", "--parsable", str(script)).partition(";")[0])


def queued_tasks(jobs: Collection[int]) -> list[QueuedTask]:
    """Returns the tasks of these jobs that have not ended.

    Raises:
        HarnessError: the queue cannot be asked.
    """
    if not jobs:
        return []
    wanted = "--jobs=" + ",".join(map(str, sorted(jobs)))
    try:
        text = _ask("squeue", "--noheader", "--array", "--format=%F|%K|%T|%r", wanted)
    except HarnessError as error:
        if "Invalid job id" in error.message:  # asked for one job alone that SLURM has forgotten
            return []
        raise
    rows = (line.split("|", 3) for line in text.splitlines())
    return [QueuedTask(int(job), int(task), state, reason) for job, task, state, reason in rows if task.isdigit()]


def max_array_size() -> int:
    """Returns how many tasks an array may have; SLURM's default where no cluster answers."""
    try:
        match = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), re.MULTILINE)
    except HarnessError:
        match = None
    return int(match[1]) if match else MAX_ARRAY_SIZE


@dataclass(frozen=True)
class Allocation:
    """The nodes of the job that this process belongs to."""

    job: int
    nodes: int

    @staticmethod
    def of_this_job() -> Allocation | None:
        """Returns the allocation, or None outside of a job of several nodes."""
        nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
        return Allocation(int(os.environ["SLURM_JOB_ID"]), nodes) if nodes > 1 else None

    @property
    def port(self) -> int:
        """A port for the ranks to meet at: another one for each job, below those that the kernel gives away."""
        return 15000 + self.job % 15000

    def first_address(self) -> str:
        """Returns the address of the first node.

        Raises:
            HarnessError: SLURM cannot be asked.
        """
        first = _ask("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()[0]
        match = re.search(r"\bNodeAddr=(\S+)", _ask("scontrol", "show", "node", "--oneliner", first))
        return match[1] if match else first


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise HarnessError(f"there is no command '{command[0]}'", "call it where SLURM is installed") from None
    except subprocess.TimeoutExpired:
        raise HarnessError(f"{command[0]} did not answer for 60 s", "try again later") from None
    if done.returncode:
        words = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise HarnessError(f"{command[0]}: {words}", "the words are SLURM's own")
    return done.stdout
