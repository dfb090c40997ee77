"""Follows the records of runs and sends them to one tracker, as a process of its own.

    python -m harness.trackers.follow TRACKING FILE

TRACKING is a `Tracking` as JSON; to FILE the process that trains appends the folders of the runs that it opens. The end
of standard input says that no more will come: also where the process that wrote to it was killed. The first line of
standard output is `ready`, once the tracker's client is imported; each other one is a sentence for a person.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from harness.counted import counted, is_are
from harness.errors import HarnessError
from harness.records.store import RunFolder
from harness.trackers.entries import Description
from harness.trackers.opened_runs import READY, read_opened_runs
from harness.trackers.options import DEFAULT_PROJECT, WANDB, Tracking
from harness.trackers.replay import Replay, Tracker

LOOK_EVERY_SECONDS = 2.0
NICENESS = 19


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


def main() -> None:
    """Follows until standard input ends."""
    value = json.loads(sys.argv[1])
    tracking = Tracking(**{**value, "names": tuple(value["names"]), "command": tuple(value["command"])})
    opened_runs = Path(sys.argv[2])
    words = os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)  # what a tracker's client prints

    def say(sentence: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            words.write(f"{sentence}\n")

    with tempfile.TemporaryDirectory(prefix="harness-", ignore_cleanup_errors=True) as scratch:
        open_tracker, end_client = _client(tracking, Path(scratch))
        follower = Follower(open_tracker, say, tracking)
        say(READY)
        _set_niceness(NICENESS)  # after the imports, which take their seconds while those of the runs do
        while not _has_ended():
            follower.look(read_opened_runs(opened_runs))
        _set_niceness(0)  # nobody trains any more
        follower.look(read_opened_runs(opened_runs))
        follower.close()
        # A client may wait for its server at a normal exit, for ever; but it may also have to write the last of a file.
        ending = threading.Thread(target=end_client, daemon=True)
        ending.start()
        ending.join(tracking.patience_seconds)
    os._exit(0)


def _client(
    tracking: Tracking, folder: Path
) -> tuple[Callable[[Description, RunFolder], Tracker], Callable[[], object]]:
    """Returns what makes the tracker of a run, and what ends the tracker's client."""
    if tracking.names != (WANDB,):
        from harness.trackers.through_accelerate import AccelerateRun

        return lambda description, run: AccelerateRun(description, run, tracking), lambda: None
    from harness.trackers.weights_and_biases import WandbRun, begin_client, end_client

    begin_client(tracking)
    return lambda description, run: WandbRun(description, run, tracking, folder), end_client


def _has_ended() -> bool:
    """Waits for the next look; tells whether standard input has ended."""
    readable, _, _ = select.select([sys.stdin], [], [], LOOK_EVERY_SECONDS)
    return bool(readable)


def _set_niceness(niceness: int) -> None:
    """Sets it for this process and those that it started; who may not lower it leaves it as it is."""
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(OSError, psutil.Error):
            for thread in process.threads():  # on Linux, each has its own
                os.setpriority(os.PRIO_PROCESS, thread.id, niceness)


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    main()
