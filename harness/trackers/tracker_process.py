"""The tracker processes beside `harness run`: one for each tracker, started with the call and gone when it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.trackers.account import why_offline
from harness.trackers.opened_runs import OPENED_RUNS, READY
from harness.trackers.options import WANDB, Tracking

START_SECONDS = 120.0  # until its client is imported, from a busy network disk, too
LOCAL = 10
TRACKER_PROCESS = "HARNESS_TRACKER_PROCESS"  # in its environment; see `harness.measure.processes`
# What tells a process that it is one of several, or has a GPU: a tracker is neither.
_OF_A_LAUNCH = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "GROUP_", "ROLE_", "TORCHELASTIC_", "ACCELERATE_", "FORK_")


@contextlib.contextmanager
def tracked(tracking: Tracking, parent: Path | None, say: Callable[[str], None]) -> Iterator[list[int]]:
    """Sends the runs that this process, or those that it starts, open in this context to trackers.

    Nothing that a tracker does, or does not, waits here before the end, ends the context early, or raises.

    Args:
        tracking: which trackers.
        parent: where the folder goes through which opened runs are told; all ranks see it. None: this machine's own.
        say: is given sentences for a person, in a thread.

    Yields:
        The ids of the processes.
    """
    if not tracking.names:
        yield []
        return
    tracking = _told_if_offline(tracking, say)
    started: list[TrackerProcess] = []
    with tempfile.TemporaryDirectory(prefix="harness-", dir=parent, ignore_cleanup_errors=True) as name:
        opened_runs = Path(name) / "runs.jsonl"
        os.environ[OPENED_RUNS] = str(opened_runs)
        try:
            for each in tracking.names:
                try:
                    started.append(TrackerProcess(tracking.only(each), opened_runs, say))
                except OSError as error:
                    say(f"{each}: cannot be started ({error}); the runs go on")
            yield [process.pid for process in started]
        finally:
            del os.environ[OPENED_RUNS]
            for process in started:
                process.close_input()
            began = time.monotonic()
            for process in started:
                process.end(began)


def _told_if_offline(tracking: Tracking, say: Callable[[str], None]) -> Tracking:
    if WANDB not in tracking.names:
        return tracking
    why = why_offline(os.environ, Path.home())
    if os.environ.get("WANDB_MODE") == "disabled":
        say("wandb: WANDB_MODE is disabled, so runs are not sent there")
        return dataclasses.replace(tracking, names=tuple(name for name in tracking.names if name != WANDB))
    if why:
        say(f"wandb: {why}, so runs are kept on this disk; `harness wandb sync` sends them later")
    return dataclasses.replace(tracking, offline=bool(why))


class TrackerProcess:
    """`harness.trackers.follow` for one tracker, in a session of its own: Ctrl-C is for the runs.

    It ends by itself where its standard input ends, also where this process was killed.

    Args:
        tracking: names the tracker.
        opened_runs: the file that names the runs.
        say: is given what it says.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, tracking: Tracking, opened_runs: Path, say: Callable[[str], None]) -> None:
        [self._name] = tracking.names
        self._say = say
        # A busy machine lets a tracker wait long; without a server, what it writes need not be cut short.
        self._patience = tracking.patience_seconds * (1 if self._name == WANDB else LOCAL)
        self._mend = "; send what is missing: harness wandb sync" if self._name == WANDB else ""
        told = json.dumps(dataclasses.asdict(tracking))
        import_path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(_OF_A_LAUNCH)}
        environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", TRACKER_PROCESS: self._name}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "harness.trackers.follow", told, str(opened_runs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment | {"PYTHONPATH": os.pathsep.join(import_path)},
            text=True,
            start_new_session=True,
        )
        self.pid = self._child.pid
        self._limit = threading.Timer(START_SECONDS, self._give_up)
        self._listener = threading.Thread(target=self._listen, daemon=True, name=f"words of {self._name}")
        self._limit.daemon = True
        self._limit.start()
        self._listener.start()

    def _listen(self) -> None:
        """Says each of its lines, so that it does not write into what others draw."""
        assert self._child.stdout
        with self._child.stdout as lines:
            for line in lines:
                if line.rstrip() == READY:
                    self._limit.cancel()
                else:
                    self._say(f"{self._name}: {line.rstrip()}")

    def _give_up(self) -> None:
        self._say(f"{self._name}: not started after {START_SECONDS:g} s, and ended{self._mend}; the runs go on")
        self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def close_input(self) -> None:
        """Tells it that no more runs will come."""
        self._limit.cancel()
        assert self._child.stdin
        with contextlib.suppress(OSError):
            self._child.stdin.close()

    def end(self, began: float) -> None:
        """Waits until it has sent the last of it; one that takes too long is ended, which costs no record.

        Args:
            began: when the wait for all of them began, on the monotonic clock.
        """
        try:
            self._child.wait(max(0.0, began + self._patience - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._say(f"{self._name}: not done after {self._patience:g} s, and ended{self._mend}")
            self._kill()
            self._child.wait()
        self._listener.join(timeout=1.0)
