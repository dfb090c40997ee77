"""A suite at one moment: which of its runs are done, failed or open, and what of it is in SLURM's queue."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.counted import counted
from harness.launching.slurm.submission import Queue, read_queue, read_submissions
from harness.launching.status import SuiteStatus, suite_status
from harness.suite.plan import Plan


@dataclass(frozen=True)
class Snapshot:
    """A suite at one moment.

    Attributes:
        status: its records.
        queue: what its submissions have in the queue.
        logs: of the newest submission; None where there is none.
    """

    status: SuiteStatus
    queue: Queue
    logs: Path | None

    @staticmethod
    def of(plan: Plan, output: Path) -> Snapshot:
        """Asks SLURM, then reads the records: what ends in between is seen as done.

        Raises:
            HarnessError: the queue cannot be asked.
        """
        submissions = read_submissions(output, plan.suite.name)
        queue = read_queue(submissions)
        return Snapshot(suite_status(plan, output), queue, submissions[-1].logs if submissions else None)

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        tasks = [vars(task) for task in self.queue.tasks]
        return {**self.status.as_json(), "queue": {"runs": len(self.queue.run_ids), "tasks": tasks}}

    def text(self) -> str:
        """Returns lines for a person."""
        if not self.queue.tasks:
            more = f"; logs: {self.logs}; `harness submit` sends what is open" if self.logs else ""
            return f"{self.status.text()}\n  queue: empty{more}"
        return f"{self.status.text()}\n  {queue_text(self.queue)}"


def queue_text(queue: Queue) -> str:
    """Returns one line on what is in the queue; empty where it is."""
    if not queue.tasks:
        return ""
    counts = Counter(
        f"{task.state.lower()} ({task.reason})" if task.state == "PENDING" else task.state.lower()
        for task in queue.tasks
    )
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items(), reverse=True))
    jobs = ", ".join(str(job) for job in sorted({task.job for task in queue.tasks}))
    return f"queue: tasks: {states}; with {counted(len(queue.run_ids), 'run')}; jobs {jobs}"
