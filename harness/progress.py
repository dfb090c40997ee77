"""What a person sees while a suite runs: two bars on a terminal, one line a run elsewhere. All of it on stderr."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from harness.records.result import RunResult


class Display(Protocol):
    """Follows a suite on one process."""

    def run_started(self, title: str, steps: int) -> None:
        """A run of so many steps begins."""
        ...

    def step(self, done: int, note: str = "") -> None:
        """So many steps of the run are done."""
        ...

    def run_ended(self, result: RunResult) -> None:
        """The run's result is on disk."""
        ...

    def note(self, text: str) -> None:
        """Shows a sentence."""
        ...

    def close(self) -> None:
        """Gives the terminal back."""
        ...


class Silent:
    """Shows nothing: on every rank but the first."""

    def run_started(self, title: str, steps: int) -> None:
        """Shows nothing."""

    def step(self, done: int, note: str = "") -> None:
        """Shows nothing."""

    def run_ended(self, result: RunResult) -> None:
        """Shows nothing."""

    def note(self, text: str) -> None:
        """Shows nothing."""

    def close(self) -> None:
        """Shows nothing."""


class Lines:
    """One plain line a run, for logs and pipes."""

    def __init__(self, console: Console, done: int, total: int) -> None:
        self._console = console
        self._done = done
        self._total = total

    def run_started(self, title: str, steps: int) -> None:
        """Shows nothing: the line comes with the result."""

    def step(self, done: int, note: str = "") -> None:
        """Shows nothing."""

    def run_ended(self, result: RunResult) -> None:
        """Prints the run's line."""
        self._done += result.status != "preempted"
        self._console.print(
            f"{self._done}/{self._total}  {summary(result)}", highlight=False, markup=False, soft_wrap=True
        )

    def note(self, text: str) -> None:
        """Prints a line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is held."""


class Bars:
    """A bar for the suite and one for the run, each with the time left, above them a line for each finished run."""

    def __init__(self, console: Console, suite: str, done: int, total: int) -> None:
        self._lines = Lines(console, done, total)
        self._done = done
        self._run_steps = 1
        self._bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[count]}", table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=console,
            refresh_per_second=5,
        )
        self._suite = self._bars.add_task(f"suite {suite}", total=total, completed=done, count=f"{done}/{total} runs")
        self._run = self._bars.add_task("", total=1, count="", visible=False)
        self._total = total
        self._bars.start()

    def run_started(self, title: str, steps: int) -> None:
        """Begins a new bar for the run."""
        self._run_steps = max(steps, 1)
        self._bars.reset(self._run, description=f"run {title}", total=steps, count="", visible=True)

    def step(self, done: int, note: str = "") -> None:
        """Moves both bars."""
        self._bars.update(self._run, completed=done, count=note)
        self._bars.update(self._suite, completed=self._done + done / self._run_steps)

    def run_ended(self, result: RunResult) -> None:
        """Prints the run's line above the bars."""
        self._done += result.status != "preempted"
        self._lines.run_ended(result)
        self._bars.update(self._suite, completed=self._done, count=f"{self._done}/{self._total} runs")

    def note(self, text: str) -> None:
        """Prints a line above the bars."""
        self._lines.note(text)

    def close(self) -> None:
        """Leaves the bars as they stand."""
        self._bars.update(self._run, visible=False)
        self._bars.stop()


def display_for(console: Console, suite: str, done: int, total: int) -> Display:
    """Returns bars on a terminal, lines elsewhere."""
    return Bars(console, suite, done, total) if console.is_terminal else Lines(console, done, total)


def summary(result: RunResult) -> str:
    """Returns one line on a finished run."""
    title = f"{result.label} · seed {result.seed}"
    if result.status == "preempted":
        return f"■ {title} · {result.cause.message if result.cause else 'stopped'}"
    if result.status != "ok":
        return f"✗ {title} · {result.status}: {result.cause.message if result.cause else 'no cause recorded'}"
    accuracy = f"{result.metrics['test'].accuracy:.2%}"
    return f"✓ {title} · test accuracy {accuracy} · train {result.clock.train_seconds:.2f} s"
