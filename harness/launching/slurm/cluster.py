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
ANSWER = "harness|"  # begins each line that squeue is asked for: a login banner may stand before them


@dataclass(frozen=True)
class QueuedTask:
    """A task of an array that has not ended.

    Attributes:
        state: e.g. `RUNNING`, `PENDING`, `COMPLETING`.
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
    answer = _ask("sbatch", "--parsable", str(script))
    found = re.findall(r"^(\d+)(?:;\S+)?\s*$", answer, re.MULTILINE)  # the last one: a login banner comes first
    if not found:
        raise HarnessError(
            f"sbatch answered without a job id: {_shown(answer)}",
            "see with squeue whether it took the job; scancel it before you submit again",
        )
    return int(found[-1])


def queued_tasks(jobs: Collection[int]) -> list[QueuedTask]:
    """Returns the tasks of these jobs that have not ended.

    Raises:
        HarnessError: the queue cannot be asked, or its answer cannot be read.
    """
    if not jobs:
        return []
    wanted = "--jobs=" + ",".join(map(str, sorted(jobs)))
    try:
        text = _ask("squeue", "--noheader", "--array", f"--format={ANSWER}%F|%K|%T|%r", wanted)
    except HarnessError as error:
        if "Invalid job id" in error.message:  # asked for one job alone that SLURM has forgotten
            return []
        raise
    rows = [line.removeprefix(ANSWER) for line in text.splitlines() if line.startswith(ANSWER)]
    return [task for row in rows if (task := _task(row)) and task.job in jobs]


def _task(row: str) -> QueuedTask | None:
    """Returns the task of a line of squeue; None for a job that is no array."""
    match = re.fullmatch(r"(\d+)\|(\d+|N/A)\|(\w+)\|(.*)", row)
    if not match:
        raise HarnessError(f"squeue answered in an unknown form: {_shown(row)}", "try again later")
    job, task, state, reason = match.groups()
    return QueuedTask(int(job), int(task), state, reason) if task.isdigit() else None


def max_array_size() -> int:
    """Returns how many tasks an array may have; SLURM's default where no cluster answers.

    Raises:
        HarnessError: the cluster takes no arrays, or its answer does not tell.
    """
    try:
        answer = _ask("scontrol", "show", "config")
    except HarnessError:
        return MAX_ARRAY_SIZE
    match = re.search(r"^MaxArraySize\s*=\s*([1-9]\d*)\s*$", answer, re.MULTILINE)
    if not match:
        message = f"scontrol show config answered without a MaxArraySize above 0: {_shown(answer)}"
        raise HarnessError(message, "where it is 0, ask those who run the cluster to allow job arrays")
    return int(match[1])


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
            HarnessError: SLURM cannot be asked, or its answer cannot be read.
        """
        names = _ask("scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", "")).split()
        if len(names) < self.nodes:
            message = f"scontrol show hostnames named {len(names)} of the {self.nodes} nodes of this job"
            raise HarnessError(message, "try again later")
        first = names[-self.nodes]  # a login banner comes before them
        match = re.search(r"\bNodeAddr=(\S+)", _ask("scontrol", "show", "node", "--oneliner", first))
        return match[1] if match else first


def _shown(answer: str) -> str:
    """Returns an answer in one line, cut where it is long."""
    words = " ".join(answer.split())
    return repr(words if len(words) <= 120 else f"{words[:120]}...") if words else "nothing"


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    except OSError as error:
        raise HarnessError(f"cannot call {command[0]}: {error.strerror}", "call it where SLURM is installed") from None
    except subprocess.TimeoutExpired:
        raise HarnessError(f"{command[0]} did not answer for 60 s", "try again later") from None
    if done.returncode:
        words = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise HarnessError(f"{command[0]}: {words}", "the words are SLURM's own")
    return done.stdout
