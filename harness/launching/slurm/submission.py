"""A submission: the open runs of a plan, frozen in `results/<suite>/submissions/<UTC stamp>/`, and their jobs.

`manifest.jsonl` holds one resolved run a line; `submission.json` what they have in common, and the job arrays, of which
each is recorded as soon as SLURM has taken it.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.counted import counted
from harness.errors import HarnessError, nearest
from harness.launching.slurm.batch import Array, Resources, arrays, render, world_size
from harness.launching.slurm.cluster import QueuedTask, max_array_size, queued_tasks, submit
from harness.launching.slurm.manifest import COMMON, NAME, freeze, read_common
from harness.records.files import write_json
from harness.records.planned import read_planned
from harness.records.read import SuiteResults
from harness.records.result import FINAL
from harness.suite.file import Target
from harness.suite.mirroring import Mirroring
from harness.suite.plan import Plan, PlannedRun

TEMPLATE = Path(__file__).with_name("array.sbatch")


@dataclass(frozen=True)
class Submission:
    """A folder of a submission.

    Attributes:
        path: the folder.
        jobs: the arrays that SLURM took, by job id.
        run_ids: of the manifest's lines.
    """

    path: Path
    jobs: dict[int, Array]
    run_ids: tuple[str, ...]

    def text(self) -> str:
        """Returns lines for a person."""
        lines = [
            f"job {job}: {counted(array.tasks, 'task')} of {counted(array.runs_per_task, 'run')} at most, "
            f"{counted(array.nodes, 'node')} each"
            for job, array in self.jobs.items()
        ]
        return "\n".join([*lines, f"logs: {self.logs}"])

    @property
    def logs(self) -> Path:
        """The folder of what the tasks print."""
        return self.path / "logs"

    def runs_of(self, task: QueuedTask) -> list[str]:
        """Returns the run ids of a task."""
        return [self.run_ids[line - 1] for line in self.jobs[task.job].lines(task.task)]


def read_submissions(output: Path, suite: str) -> list[Submission]:
    """Returns all submissions of a suite, the oldest first.

    Raises:
        HarnessError: one cannot be read.
    """
    found = []
    for path in sorted((output / suite / "submissions").glob(f"*/{COMMON}")):
        value = read_common(path.parent)
        try:
            jobs = {part["job"]: Array(**part["array"]) for part in value["arrays"] if part["job"] is not None}
            found.append(Submission(path.parent, jobs, tuple(value["run_ids"])))
        except (KeyError, TypeError):
            raise HarnessError(f"{path} is not what `harness submit` writes", "move it away, or restore it") from None
    return found


@dataclass(frozen=True)
class Queue:
    """The tasks of a suite's submissions that have not ended."""

    tasks: tuple[QueuedTask, ...]
    run_ids: frozenset[str]


def read_queue(submissions: Sequence[Submission]) -> Queue:
    """Asks SLURM what of these submissions has not ended.

    Raises:
        HarnessError: the queue cannot be asked.
    """
    by_job = {job: submission for submission in submissions for job in submission.jobs}
    tasks = [task for task in queued_tasks(by_job) if task.task < by_job[task.job].jobs[task.job].tasks]
    return Queue(tuple(tasks), frozenset(run for task in tasks for run in by_job[task.job].runs_of(task)))


def counting_systems(stored: SuiteResults, system: str) -> list[str] | None:
    """Returns the ids of the systems whose results count.

    Args:
        stored: the results.
        system: a name or an id; empty: any counts, None is returned.

    Raises:
        HarnessError: there are results, and none is of that system.
    """
    if not system:
        return None
    names = {system_id: str(facts.get("name", system_id)) for system_id, facts in stored.systems.items()}
    counting = [system_id for system_id, name in names.items() if system in (system_id, name)]
    if names and not counting:
        raise HarnessError(f"--system {system}: no result is of it", nearest(system, {*names, *names.values()}))
    return counting


@dataclass(frozen=True)
class OpenRuns:
    """The runs of a plan that need a job.

    Attributes:
        runs: sorted by their world size, else in the order of the plan.
        done: how many have a final result.
        queued: how many are in the queue.
    """

    runs: tuple[PlannedRun, ...]
    done: int
    queued: int


def open_runs(plan: Plan, stored: SuiteResults, systems: Collection[str] | None, queue: Queue) -> OpenRuns:
    """Leaves out what is done, on these systems or, for None, on any, and what is in the queue."""
    done = {r.run_id for r in stored.results if r.status in FINAL and (systems is None or r.system_id in systems)}
    wanted = [run for run in plan.runs if run.run_id not in done]
    runs = sorted((run for run in wanted if run.run_id not in queue.run_ids), key=world_size)
    return OpenRuns(tuple(runs), len(plan.runs) - len(wanted), len(wanted) - len(runs))


@dataclass(frozen=True)
class Draft:
    """A submission that is not made yet.

    Attributes:
        suite: its name.
        target, warm_up_seconds: of the suite, if it has them.
        mirroring: what the suite asks of trackers.
        output: the results root.
        open: the runs that need a job.
        arrays: that they are divided into.
        resources: for each.
        systems: whose results count; None: any.
        arguments: of the command, for the record.
    """

    suite: str
    target: Target | None
    warm_up_seconds: float | None
    mirroring: Mirroring
    output: Path
    open: OpenRuns
    arrays: tuple[Array, ...]
    resources: Resources
    systems: list[str] | None
    arguments: dict[str, Any]

    @staticmethod
    def of(plan: Plan, output: Path, resources: Resources, *, system: str, arguments: dict[str, Any]) -> Draft:
        """Divides the open runs of a plan into arrays.

        Raises:
            HarnessError: there is no such system, the queue cannot be asked, or a run does not fit the nodes.
        """
        name = plan.suite.name
        queue = read_queue(read_submissions(output, name))
        # After the queue: what ends in between is seen as done.
        stored = read_planned(output, name, {run.run_id for run in plan.runs})
        systems = counting_systems(stored, system)
        found = open_runs(plan, stored, systems, queue)
        parts = tuple(arrays(found.runs, resources, max_array_size()))
        file = plan.suite.file
        of_suite = name, file.target, file.warm_up_seconds, file.mirroring
        return Draft(*of_suite, output, found, parts, resources, systems, arguments)

    def summary(self) -> str:
        """Returns a line for a person."""
        found = self.open
        out = {"done": found.done, "in the queue": found.queued}
        left_out = ", ".join(f"{number} {where}" for where, number in out.items() if number)
        total = counted(len(found.runs) + found.done + found.queued, "run")
        return f"{self.suite}: {total}{f'; left out: {left_out}' if left_out else ''}; to submit: {len(found.runs)}"

    def scripts(self, folder: Path, python: str) -> list[str]:
        """Returns a batch script for each array, for a submission in this folder."""
        template, manifest = TEMPLATE.read_text(encoding="utf-8"), (folder / NAME).resolve()
        return [
            render(template, array, self.resources, name=self.suite, manifest=manifest, python=python)
            for array in self.arrays
        ]

    def folder(self) -> Path:
        """Returns a folder for a submission at this second."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        return self.output / self.suite / "submissions" / stamp

    def submit(self, python: str) -> Submission:
        """Freezes the runs and submits their arrays.

        Raises:
            HarnessError: SLURM refuses one; those before it are recorded.
        """
        folder = self.folder()
        try:
            (folder / "logs").mkdir(parents=True)
        except OSError as error:
            again = (
                "try again in a second" if isinstance(error, FileExistsError) else "choose another with --output DIR"
            )
            raise HarnessError(f"cannot make the folder of logs {folder}/logs: {error.strerror}", again) from None
        freeze(self.open.runs, folder)
        jobs: list[int] = []
        self._record(folder, jobs)
        for number, text in enumerate(self.scripts(folder, python)):
            script = folder / f"array-{number}.sbatch"
            script.write_text(text, encoding="utf-8")
            jobs.append(submit(script))
            self._record(folder, jobs)
        run_ids = tuple(run.run_id for run in self.open.runs)
        return Submission(folder, dict(zip(jobs, self.arrays, strict=True)), run_ids)

    def _record(self, folder: Path, jobs: list[int]) -> None:
        value = {
            "suite": self.suite,
            "target": self.target.model_dump() if self.target else None,
            "warm_up_seconds": self.warm_up_seconds,
            "mirroring": self.mirroring.model_dump(mode="json"),
            "output": str(self.output.resolve()),
            "systems": self.systems,
            "arguments": self.arguments,
            "resources": {key: value for key, value in vars(self.resources).items() if key != "setup"},
            "arrays": [
                {"job": job, "array": dataclasses.asdict(array)}
                for job, array in itertools.zip_longest(jobs, self.arrays)
            ],
            "run_ids": [run.run_id for run in self.open.runs],
        }
        write_json(folder / COMMON, value)
