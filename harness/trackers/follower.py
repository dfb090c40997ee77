"""Sends runs to one tracker as their records grow, whatever becomes of the tracker."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

from harness.counted import counted, is_are
from harness.errors import HarnessError
from harness.records.store import RunFolder
from harness.trackers.entries import Description
from harness.trackers.options import DEFAULT_PROJECT, WANDB, Tracking
from harness.trackers.replay import Replay, Tracker


class Follower:
    """Sends runs to one tracker as their records grow.

    Args:
        open_tracker: makes the tracker of a run.
        say: is given sentences for a person.
        tracking: what was asked for.
    """

    def __init__(
        self,
        open_tracker: Callable[[Description, RunFolder], Tracker],
        say: Callable[[str], None],
        tracking: Tracking,
    ) -> None:
        self._open_tracker = open_tracker
        self._say = say
        self._tracking = tracking
        self._replays: dict[Path, Replay] = {}
        self._looked_at = 0
        self._missed: dict[Path, None] = {}
        self._problems: set[str] = set()
        self._not_before = 0.0

    def look(self, opened: list[Path]) -> None:
        """Sends what is new.

        Args:
            opened: folders of runs in the order in which they were opened, since the beginning.
        """
        for path in opened[self._looked_at :]:
            if path not in self._replays or self._replays[path].ended or path in self._missed:
                self._replays[path] = self._replay(path)
        self._looked_at = len(opened)
        for replay in self._open():
            self._try(replay)

    def close(self) -> None:
        """Tells the last of it, and says what is missing."""
        self._not_before = 0.0
        for replay in self._open():
            self._try(replay, to_the_end=True)
            if self._not_before:  # the server does not answer: the others would wait as long in vain
                break
        missing = len(self._missed) + len(self._open())
        if missing:
            missed = f"{missing} of {counted(len(self._replays), 'run')} {is_are(missing)}"
            self._say(f"{missed} missing there{self._how_to_mend()}")

    def _replay(self, path: Path) -> Replay:
        self._missed.pop(path, None)
        folder = RunFolder(path)
        return Replay(
            folder,
            lambda description: self._open_tracker(description, folder),
            with_machine=self._tracking.machine,
        )

    def _open(self) -> list[Replay]:
        return [replay for path, replay in self._replays.items() if not replay.ended and path not in self._missed]

    def _try(self, replay: Replay, *, to_the_end: bool = False) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            replay.advance(to_the_end=to_the_end)
        except Exception as error:  # whatever a tracker does, the others and the runs go on
            if replay.is_open:  # else it is tried once more, when there is more to tell
                self._missed[replay.folder.path] = None
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
        folders = [path.parent.parent for path in self._replays]
        project = f" --wandb-project {shlex.quote(tracking.project)}" if tracking.project != DEFAULT_PROJECT else ""
        entity = f" --wandb-entity {shlex.quote(tracking.entity)}" if tracking.entity else ""
        return f"; send them: harness wandb sync {_shown(folders[0])}{project}{entity}"


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
