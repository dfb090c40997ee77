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
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from harness.records.store import RunFolder
from harness.trackers.entries import Description
from harness.trackers.follower import Follower
from harness.trackers.opened_runs import READY, read_opened_runs
from harness.trackers.options import WANDB, Tracking
from harness.trackers.replay import Tracker

LOOK_EVERY_SECONDS = 2.0
NICENESS = 19


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


if __name__ == "__main__":
    main()
