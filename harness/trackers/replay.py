"""Tells a tracker what a run's folder says: as it grows, or all at once when the run is over. The code is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from harness.records.store import RunFolder
from harness.trackers.entries import INTERRUPTED, Description, Entries, Row, RunEnd, read_entries


class Tracker(Protocol):
    """One run as a tracker shows it."""

    def epoch(self, number: int, row: Row) -> None:
        """Takes an epoch, counted from 1; one that it has already is left as it is."""

    def end(self, entries: Entries, ending: RunEnd) -> None:
        """Takes how the run ended, and closes; `entries` is all that there is of it."""

    def leave(self) -> None:
        """Closes what began anew as another run."""


class Replay:
    """One run, told to one tracker.

    Args:
        folder: of the run.
        open_tracker: makes the tracker when there is something to tell.
        with_machine: see `read_entries`.

    Attributes:
        ended: whether the tracker was told of the end.
    """

    def __init__(
        self, folder: RunFolder, open_tracker: Callable[[Description], Tracker], *, with_machine: bool = False
    ) -> None:
        self.folder = folder
        self.ended = False
        self._open_tracker = open_tracker
        self._with_machine = with_machine
        self._tracker: Tracker | None = None
        self._id = ""
        self._sent = 0
        self._seen: tuple[object, ...] = ()

    def advance(self, *, to_the_end: bool = False) -> None:
        """Tells what is new.

        Args:
            to_the_end: the run does not go on for now: say so where it has no result.

        Raises:
            Exception: whatever the tracker meets.
        """
        seen = self._look()
        if self.ended or (seen == self._seen and not to_the_end):
            return
        entries = read_entries(self.folder, with_machine=self._with_machine)
        if entries is None:
            return
        if self._tracker is None or entries.description.id != self._id:  # it began anew: that is another run there
            if self._tracker:
                self._tracker.leave()
            self._tracker, self._sent, self._id = None, 0, entries.description.id
            self._tracker = self._open_tracker(entries.description)
        for number in sorted(entries.rows):
            if number > self._sent:
                self._tracker.epoch(number, entries.rows[number])
                self._sent = number
        if entries.ending or to_the_end:
            self.ended = True
            self._tracker.end(entries, entries.ending or RunEnd(INTERRUPTED, {"status": INTERRUPTED}))
        self._seen = seen

    @property
    def is_open(self) -> bool:
        """Whether there is a tracker, which can take no other run's place."""
        return self._tracker is not None

    def _look(self) -> tuple[object, ...]:
        """Returns what changes when the records do."""
        seen = []
        for name in ("events.jsonl", "result.json"):
            try:
                status = (self.folder.path / name).stat()
                seen.append((status.st_size, status.st_mtime_ns))
            except OSError:
                seen.append(None)
        return tuple(seen)
