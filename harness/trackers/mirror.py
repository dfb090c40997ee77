"""Tells a tracker what the records of runs say: as they grow, or all at once when a run is over, by the same code."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from harness.counted import counted, is_are
from harness.errors import HarnessError
from harness.records.follow import RunFollower
from harness.records.store import RunFolder
from harness.trackers.entries import Entries, Row, entries_of
from harness.trackers.options import DEFAULT_PROJECT, WANDB, Tracking


class Tracker(Protocol):
    """One run as a tracker shows it."""

    def epoch(self, number: int, row: Row) -> None:
        """Takes an epoch, counted from 1; one that it has already is left as it is."""

    def end(self, entries: Entries) -> None:
        """Takes how the run ended, and all that there is of it, and closes."""


OpenTracker = Callable[[Entries, RunFolder], Tracker]


class RunMirror:
    """One run, told to one tracker.

    Attributes:
        tracker: which can take no other run's place; None where there is none.
        is_missed: whether the tracker failed, and what it has of the run is not all.
    """

    def __init__(self, folder: RunFolder, open_tracker: OpenTracker) -> None:
        self.folder = folder
        self.tracker: Tracker | None = None
        self.is_missed = False
        self._open_tracker = open_tracker
        self._run: RunFollower | None = RunFollower(folder)
        self._is_due = False
        self._told: Entries | None = None  # last
        self._sent = 0

    @property
    def ended(self) -> bool:
        """Whether the tracker was told of the end."""
        return self._run is None

    def advance(self, *, to_the_end: bool = False) -> None:
        """Tells what is new.

        Args:
            to_the_end: the run does not go on for now: say so where it has no result.

        Raises:
            Exception: whatever the tracker meets; what it was to be told is told at the next call.
        """
        if self._run is None:
            return
        self._is_due |= bool(self._run.news() or self._run.result)
        if not (self._is_due or to_the_end):
            return
        entries = entries_of(self._run)
        if entries is None:
            return
        if self.tracker and self._told and entries.id != self._told.id:  # it began anew: that is another run there
            before, self.tracker = self.tracker, None
            before.end(self._told)
        if self.tracker is None:
            self.tracker, self._sent = self._open_tracker(entries, self.folder), 0
        self._told = entries
        for number in sorted(entries.rows):
            if number > self._sent:
                self.tracker.epoch(number, entries.rows[number])
                self._sent = number
        if entries.ending or to_the_end:
            self.tracker.end(entries)
            self._run = None  # a call may have 10,000 runs: none keeps its events
        self._is_due = False


class Mirror:
    """Sends runs to one tracker as their records grow, whatever becomes of the tracker."""

    def __init__(self, open_tracker: OpenTracker, say: Callable[[str], None], tracking: Tracking) -> None:
        self._open_tracker = open_tracker
        self._say = say
        self._tracking = tracking
        self._runs: dict[Path, RunMirror] = {}
        self._problems: set[str] = set()
        self._not_before = 0.0

    def add(self, path: Path) -> None:
        """Sends the run of a folder from now on; also one that was opened again after its end was told."""
        known = self._runs.get(path)
        if known is None or known.ended or known.is_missed:
            self._runs[path] = RunMirror(RunFolder(path), self._open_tracker)

    def look(self) -> None:
        """Sends what is new."""
        for run in self._open():
            self._try(run)

    def close(self) -> None:
        """Tells the last of it, and says what is missing."""
        self._not_before = 0.0
        for run in self._open():
            self._try(run, to_the_end=True)
            if self._not_before:  # the server does not answer: the others would wait as long in vain
                break
        if missing := sum(not run.ended for run in self._runs.values()):
            missed = f"{missing} of {counted(len(self._runs), 'run')} {is_are(missing)}"
            self._say(f"{missed} missing there{self._how_to_mend()}")

    def _open(self) -> list[RunMirror]:
        return [run for run in self._runs.values() if not (run.ended or run.is_missed)]

    def _try(self, run: RunMirror, *, to_the_end: bool = False) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            run.advance(to_the_end=to_the_end)
        except Exception as error:  # whatever a tracker does, the others and the runs go on
            run.is_missed = run.tracker is not None  # else it is tried once more
            self._not_before = time.monotonic() + self._tracking.patience_seconds
            message = error.message if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            message = message.partition("\n")[0]
            if message not in self._problems:  # once, not for each run
                self._problems.add(message)
                self._say(f"{message}; the runs go on, and their records are whole")

    def _how_to_mend(self) -> str:
        tracking = self._tracking
        if tracking.names != (WANDB,):
            return ""
        suite = next(iter(self._runs)).parent.parent
        shown = suite.relative_to(Path.cwd()) if suite.is_relative_to(Path.cwd()) else suite
        project = f" --wandb-project {shlex.quote(tracking.project)}" if tracking.project != DEFAULT_PROJECT else ""
        entity = f" --wandb-entity {shlex.quote(tracking.entity)}" if tracking.entity else ""
        return f"; send them: harness wandb sync {shown}{project}{entity}"
