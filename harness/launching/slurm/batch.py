"""A batch script from a plan and what was asked of the cluster: no file, no command, no clock in between."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.counted import counted
from harness.errors import HarnessError
from harness.suite.plan import PlannedRun


@dataclass(frozen=True)
class Resources:
    """What is asked of the cluster, in SLURM's own words; empty means SLURM's default.

    No value has a newline: a line of `#SBATCH` ends there, and what follows would be run.

    Attributes:
        gpus_per_node: `COUNT` or `TYPE:COUNT`; a run of fewer processes gets fewer.
        processes_per_node: of a run; by default one for each GPU, and without GPUs all on one node.
        cpus_per_task: CPUs on each node.
        memory: on each node.
        max_tasks: tasks of one array that run at the same time; None for no limit.
        runs_per_task: runs that one task does, one after the other.
        stop_early_seconds: before the time limit a task saves, stops and queues again.
        max_restarts: of one task, by time limits and preemption.
        sbatch: lines passed through, e.g. `--mail-type=END`; they have the last word.
        setup: shell lines that run before the harness.

    Raises:
        HarnessError: a value that sbatch would not take, or a time limit too short to stop early.
    """

    partition: str = ""
    account: str = ""
    time: str = ""
    constraint: str = ""
    memory: str = ""
    gpus_per_node: str = ""
    processes_per_node: int | None = None
    cpus_per_task: int | None = None
    max_tasks: int | None = None
    runs_per_task: int = 1
    stop_early_seconds: int = 300
    max_restarts: int = 50
    sbatch: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("partition", "account", "time", "constraint", "memory", "gpus_per_node"):
            _require_one_line(f"--{name.replace('_', '-')}", getattr(self, name))
        if self.gpus_per_node and not re.fullmatch(r"([\w.-]+:)?[1-9]\d*", self.gpus_per_node):
            raise HarnessError(f"--gpus-per-node {self.gpus_per_node}", "a count, or TYPE:COUNT, e.g. a100:4")
        if self.processes_per_node and 0 < self.gpu_count < self.processes_per_node:
            message = f"{self.processes_per_node} processes on a node with {counted(self.gpu_count, 'GPU')}"
            raise HarnessError(message, "each process needs a GPU of its own")
        for line in self.sbatch:
            _require_one_line("--sbatch", line)
            if not line.startswith("-"):
                raise HarnessError(f"--sbatch {line!r} is no option of sbatch", 'e.g. --sbatch "--mail-type=END"')
        if self.time and self.stop_early_seconds > _seconds(self.time) / 2:
            message = f"with --time {self.time} a task would stop after less than half of its time"
            raise HarnessError(f"{message}: {self.stop_early_seconds} s early", "set --stop-early SECONDS")

    @property
    def gpu_count(self) -> int:
        """GPUs on a node; 0 where none are asked for."""
        return int(self.gpus_per_node.rpartition(":")[2] or 0)

    def gpus(self, processes: int) -> str:
        """Returns the GPUs to ask for on a node that takes so many processes of a run."""
        kind, colon, _ = self.gpus_per_node.rpartition(":")
        return f"{kind}{colon}{min(processes, self.gpu_count)}"


@dataclass(frozen=True)
class Array:
    """One job array: consecutive lines of a manifest, of one world size.

    Attributes:
        first_line, last_line: of the manifest, counted from 1.
        runs_per_task: lines that a task takes.
        num_processes: of each run.
        nodes: of each task.
    """

    first_line: int
    last_line: int
    runs_per_task: int
    num_processes: int
    nodes: int

    @property
    def tasks(self) -> int:
        """How many there are; they are numbered from 0."""
        return math.ceil((self.last_line - self.first_line + 1) / self.runs_per_task)

    def lines(self, task: int) -> range:
        """Returns the lines of a task."""
        first = self.first_line + task * self.runs_per_task
        return range(first, min(first + self.runs_per_task - 1, self.last_line) + 1)


def arrays(runs: Sequence[PlannedRun], resources: Resources, max_array_size: int) -> Iterator[Array]:
    """Divides runs, sorted by their world size, into arrays that SLURM takes.

    Raises:
        HarnessError: a world size that does not divide into its nodes.
    """
    sizes = [run.spec.train.world_size for run in runs]
    most = max_array_size * resources.runs_per_task
    for size in sorted(set(sizes)):
        nodes = math.ceil(size / (resources.processes_per_node or resources.gpu_count or size))
        if size % nodes:
            message = f"{size} processes do not divide into {nodes} equal nodes"
            raise HarnessError(message, "set train.num_processes or --processes-per-node")
        first, last = 1 + sizes.index(size), sizes.index(size) + sizes.count(size)
        for line in range(first, last + 1, most):
            yield Array(line, min(line + most - 1, last), resources.runs_per_task, size, nodes)


def render(template: str, array: Array, resources: Resources, *, name: str, manifest: Path, python: str) -> str:
    """Returns the text of a batch script.

    Args:
        manifest: absolute path; logs go beside it.
        python: the interpreter, absolute.

    Raises:
        HarnessError: the name or the path has a newline, or another character that cannot be printed.
    """
    log = str(manifest.parent / "logs").replace("%", "%%") + "/%A_%a.log"
    limit = f"%{resources.max_tasks}" if resources.max_tasks else ""
    values = {
        "job-name": name,
        "array": f"0-{array.tasks - 1}{limit}",
        "nodes": array.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": resources.cpus_per_task,
        "gpus-per-node": resources.gpus_per_node and resources.gpus(array.num_processes // array.nodes),
        "mem": resources.memory,
        "time": resources.time,
        "partition": resources.partition,
        "account": resources.account,
        "constraint": resources.constraint,
        "output": log,
        "signal": f"B:USR1@{resources.stop_early_seconds}",
    }
    _require_one_line("--job-name", name)
    if not log.isprintable():
        message = f"the path {log!r} has a character that cannot be printed"
        raise HarnessError(message, "name a folder without it with --output DIR")
    options = [f"--{key}={shlex.quote(str(value))}" for key, value in values.items() if value]
    parts = {
        "sbatch": "\n".join(f"#SBATCH {line}" for line in [*options, *resources.sbatch]),
        "manifest": shlex.quote(str(manifest)),
        "first_line": str(array.first_line),
        "last_line": str(array.last_line),
        "runs_per_task": str(array.runs_per_task),
        "max_restarts": str(resources.max_restarts),
        "python": shlex.quote(python),
        "last_task": str(array.tasks - 1),
        "task": shlex.quote(str(Path(__file__).with_name("task.sh"))),
        "script": shlex.quote(str(Path(__file__).parents[2] / "run.py")),
        "setup": "\n".join(resources.setup),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _require_one_line(option: str, value: str) -> None:
    if not value.isprintable():
        message = f"{option} {value!r} has a character that cannot be printed"
        raise HarnessError(message, "a line of #SBATCH ends at a newline: leave it out")


def _seconds(time: str) -> float:
    """Returns a time limit in seconds: of minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    if time.upper() in ("INFINITE", "UNLIMITED"):
        return math.inf
    if not re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", time):
        raise HarnessError(f"--time {time}", "minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS")
    days, dash, clock = time.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    units = (3600, 60, 1) if dash or len(parts) == 3 else (60, 1)
    seconds = 86400 * int(days or 0) + sum(part * unit for part, unit in zip(parts, units, strict=False))
    return seconds or math.inf
