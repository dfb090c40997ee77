"""A submission: the open runs of a plan, frozen in `results/<suite>/submissions/<UTC stamp>/`, and their jobs.

`manifest.jsonl` holds the runs, `array-N.sbatch` what was asked for, `submission.json` the job arrays, of which each is
recorded as soon as SLURM has taken it.
"""

from __future__ import annotations

import datetime
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.counted import counted
from harness.errors import HarnessError
from harness.launching.manifest import MANIFEST_FILE, Manifest
from harness.launching.slurm.batch import Array, Resources, arrays, render
from harness.launching.slurm.cluster import QueuedTask, max_array_size, queued_tasks, submit
from harness.records.files import read_lines, read_object, write_json
from harness.records.planned import read_planned
from harness.records.result import FINAL
from harness.suite.plan import Plan

TEMPLATE = Path(__file__).with_name("array.sbatch")
SUBMISSIONS = "submissions"  # the folder of them in that of a suite
SUBMISSION_FILE = "submission.json"


@dataclass(frozen=True)
class Submission:
    """A folder of a submission.

    Attributes:
        jobs: the arrays that SLURM took, by job id.
    """

    path: Path
    jobs: dict[int, Array]

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

    def run_ids(self, tasks: Sequence[QueuedTask]) -> set[str]:
        """Returns the run ids of tasks.

        Raises:
            HarnessError: the manifest cannot be read.
        """
        places = [place for task in tasks for place in self.jobs[task.job].lines(task.task)]
        try:
            _, *runs = read_lines(self.path / MANIFEST_FILE)
            return {runs[place - 1]["run_id"] for place in places}
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise _unreadable(self.path / MANIFEST_FILE, error) from None


def read_submissions(output: Path, suite: str) -> list[Submission]:
    """Returns all submissions of a suite, the oldest first.

    Raises:
        HarnessError: one cannot be read.
    """
    found = []
    for path in sorted((output / suite / SUBMISSIONS).glob(f"*/{SUBMISSION_FILE}")):
        try:
            jobs = {int(job): Array(**array) for job, array in read_object(path)["jobs"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unreadable(path, error) from None
        found.append(Submission(path.parent, jobs))
    return found


def _unreadable(path: Path, error: Exception) -> HarnessError:
    return HarnessError(f"cannot read {path}: {error}", "`harness submit` has written it: restore it, or move it away")


@dataclass(frozen=True)
class Queue:
    """The tasks of a suite's submissions that have not ended."""

    tasks: tuple[QueuedTask, ...] = ()
    run_ids: frozenset[str] = frozenset()
    logs: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {"runs": len(self.run_ids), "tasks": [vars(task) for task in self.tasks]}

    def text(self) -> str:
        """Returns one line for a person."""
        if not self.tasks:
            return "queue: empty" + (f"; logs: {self.logs}; `harness submit` sends what is open" if self.logs else "")
        counts = Counter(
            f"{task.state.lower()} ({task.reason})" if task.state == "PENDING" else task.state.lower()
            for task in self.tasks
        )
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items(), reverse=True))
        jobs = ", ".join(str(job) for job in sorted({task.job for task in self.tasks}))
        return f"queue: tasks: {states}; with {counted(len(self.run_ids), 'run')}; jobs {jobs}"


def read_queue(output: Path, suite: str) -> Queue:
    """Asks SLURM what of a suite's submissions has not ended.

    Raises:
        HarnessError: the queue cannot be asked, or a submission or a manifest of what is in it cannot be read.
    """
    submissions = read_submissions(output, suite)
    by_job = {job: submission for submission in submissions for job in submission.jobs}
    tasks = [task for task in queued_tasks(by_job) if task.task < by_job[task.job].jobs[task.job].tasks]
    run_ids: set[str] = set()
    for submission in submissions:
        if own := [task for task in tasks if task.job in submission.jobs]:
            run_ids |= submission.run_ids(own)
    return Queue(tuple(tasks), frozenset(run_ids), submissions[-1].logs if submissions else None)


@dataclass(frozen=True)
class Draft:
    """A submission that is not made yet.

    Attributes:
        manifest: the runs that need a job.
    """

    manifest: Manifest
    folder: Path
    summary: str
    arrays: tuple[Array, ...]
    resources: Resources

    @staticmethod
    def of(plan: Plan, output: Path, resources: Resources) -> Draft:
        """Divides the open runs of a plan into arrays.

        Raises:
            HarnessError: the queue cannot be asked, or a run does not fit the nodes.
        """
        name = plan.suite.name
        queue = read_queue(output, name)
        # After the queue: what ends in between is seen as done.
        stored = read_planned(output, name, {run.run_id for run in plan.runs})
        done = {result.run_id for result in stored.results if result.status in FINAL}
        left = [run for run in plan.runs if run.run_id not in done]
        runs = [run for run in left if run.run_id not in queue.run_ids]
        runs.sort(key=lambda run: run.spec.train.world_size)
        others = {"done": len(plan.runs) - len(left), "in the queue": len(left) - len(runs)}
        left_out = ", ".join(f"{number} {where}" for where, number in others.items() if number)
        total = counted(len(plan.runs), "run")
        return Draft(
            Manifest.of(plan, output.resolve()).model_copy(update={"runs": tuple(runs), "any_system": True}),
            output / name / SUBMISSIONS / datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ"),
            f"{name}: {total}{f'; left out: {left_out}' if left_out else ''}; to submit: {len(runs)}",
            tuple(arrays(runs, resources, max_array_size())),
            resources,
        )

    def scripts(self) -> list[str]:
        """Returns a batch script for each array; its tasks run the Python that runs this."""
        template, manifest = TEMPLATE.read_text(encoding="utf-8"), (self.folder / MANIFEST_FILE).resolve()
        return [
            render(template, array, self.resources, name=self.manifest.suite, manifest=manifest, python=sys.executable)
            for array in self.arrays
        ]

    def submit(self) -> Submission:
        """Freezes the runs and submits their arrays.

        Raises:
            HarnessError: SLURM refuses one; those before it are recorded.
        """
        logs = self.folder / "logs"
        try:
            logs.mkdir(parents=True)
        except OSError as error:
            message = f"cannot make the folder of logs {logs}: {error.strerror}"
            raise HarnessError(message, "choose another with --output DIR, or try again in a second") from None
        self.manifest.write(self.folder / MANIFEST_FILE)
        submission = Submission(self.folder, {})
        for number, (array, text) in enumerate(zip(self.arrays, self.scripts(), strict=True)):
            script = self.folder / f"array-{number}.sbatch"
            script.write_text(text, encoding="utf-8")
            submission.jobs[submit(script)] = array
            jobs = {str(job): vars(taken) for job, taken in submission.jobs.items()}
            write_json(self.folder / SUBMISSION_FILE, {"jobs": jobs})
        return submission
