"""The queue and the records of a suite, together: once, or on a terminal until nothing is queued."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.errors import HarnessError
from harness.scheduling.slurm.submission import Queue, read_queue, read_submissions
from harness.scheduling.status import SuiteStatus, suite_status
from harness.suite import Plan

REFRESH_SECONDS = 5.0


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
        counts = Counter(
            f"{task.state.lower()} ({task.reason})" if task.state == "PENDING" else task.state.lower()
            for task in self.queue.tasks
        )
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items(), reverse=True))
        jobs = ", ".join(str(job) for job in sorted({task.job for task in self.queue.tasks}))
        return f"{self.status.text()}\n  queue: tasks: {states}; with {len(self.queue.run_ids)} runs; jobs {jobs}"


def watch_queue(plan: Plan, output: Path, console: Console) -> None:
    """Shows a suite until nothing is queued; where there is no terminal, once.

    Raises:
        HarnessError: the queue cannot be asked.
    """
    snapshot = Snapshot.of(plan, output)
    if not console.is_terminal:
        console.print(snapshot.text(), markup=False, highlight=False, soft_wrap=True)
        return
    with (
        Live(Text(snapshot.text()), console=console, auto_refresh=False) as live,
        contextlib.suppress(KeyboardInterrupt),
    ):
        while snapshot.queue.tasks:
            time.sleep(REFRESH_SECONDS)
            try:
                snapshot = Snapshot.of(plan, output)
                text = snapshot.text()
            except HarnessError as error:  # a busy controller: it answers again
                text = f"{snapshot.text()}\n  as it was before: {error.message}"
            live.update(Text(text), refresh=True)
