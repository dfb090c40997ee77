"""The ranks of a launch, as their supervisor sees them: their processes, what they are told, who is silent or hangs."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import psutil

from harness.errors import HarnessError
from harness.launching.failure_causes import cause_of_hang
from harness.launching.launch_folder import (
    FOLDER,
    OPENED_RUNS,
    give_orders,
    read_failures,
    read_heartbeats,
    refusal,
    reported_end,
)
from harness.launching.manifest import MANIFEST_FILE, Manifest
from harness.records.follow import NewOpenedRuns, OpenedRun
from harness.records.result import Cause

POLL_SECONDS = 0.2
START_SECONDS = 300.0  # until the first run: importing torch from a busy network disk is slow
LINGER_SECONDS = 5.0  # once a rank has written its error, the others may wait for it in a collective, for ever
SILENT_SECONDS = 5.0  # without a heartbeat, of which there are two each second: not even its threads run
LONGEST_GAP_SECONDS = 1.0
SUSPENDED_SECONDS = 10.0
OBEY_SECONDS = 3.0
GRACE_SECONDS = 5.0
LAST_WORDS_SECONDS = 2.0


class WatchedTime:
    """A clock that counts only the time in which this process looked at it.

    A process that was suspended (SIGSTOP, a frozen container) saw nothing meanwhile: that time is no silence of others.
    So of a gap between two calls at most LONGEST_GAP_SECONDS count.

    Attributes:
        woke: the time at which the last gap of more than SUSPENDED_SECONDS ended; the ranks may have been suspended
            too, and have all their time again.
    """

    def __init__(self) -> None:
        self.woke = 0.0
        self._seconds = 0.0
        self._last = time.monotonic()

    def __call__(self) -> float:
        """Returns the seconds so far; call it at each poll."""
        now = time.monotonic()
        gap, self._last = now - self._last, now
        self._seconds += min(gap, LONGEST_GAP_SECONDS)
        if gap > SUSPENDED_SECONDS:
            self.woke = self._seconds
        return self._seconds


class Ranks:
    """The ranks of a launch.

    Args:
        manifest: of the launch: runs of one world size.

    Attributes:
        opened: the run that they came to last.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.opened: OpenedRun | None = None
        self.folder = folder
        self._new_runs = NewOpenedRuns(folder / OPENED_RUNS)
        first = manifest.runs[0].spec.train
        self._world = first.world_size
        self._timeouts = {run.run_id: run.spec.train.timeout_seconds for run in manifest.runs}
        self._start_seconds = max(first.timeout_seconds, START_SECONDS)
        self._stop = ""
        try:
            manifest.write(folder / MANIFEST_FILE)
            give_orders(folder)
        except OSError as error:
            message = f"cannot write to the folder of the launch, {folder}: {error.strerror}"
            raise HarnessError(message, "see to the disk, or set TMPDIR to a folder on another one") from None
        self._clock = WatchedTime()
        self._heartbeats: dict[int, dict[str, Any]] = {}
        self._heard: dict[int, float] = {}  # when each rank was heard last, and when one of them had done something
        self._changed = 0.0
        self._ended: float | None = None

    def new_runs(self) -> list[OpenedRun]:
        """Returns how far they have come with runs since the last call."""
        new = self._new_runs()
        self.opened = new[-1] if new else self.opened
        return new

    def stop(self, reason: str) -> None:
        """Asks them to save and stop; does nothing where they were asked before."""
        if self._stop:
            return
        self._stop = reason
        if not self._orders_reach_them():  # the disk is full, say
            for process in processes_of(self.folder):
                try:
                    process.send_signal(signal.SIGTERM)
                except psutil.Error:
                    continue

    def are_ending(self) -> bool:
        """Tells whether a rank has said for some time that it ends, so that the launch should have ended too."""
        if not (read_failures(self.folder) or refusal(self.folder) or reported_end(self.folder) is not None):
            return False
        now = self._clock()
        self._ended = self._ended or now
        return now - self._ended > LINGER_SECONDS

    def hang(self) -> Cause | None:
        """Returns who hangs where no rank has given a sign of life for the `timeout_seconds` of the open run."""
        now = self._clock()
        for rank, beat in read_heartbeats(self.folder).items():
            before = self._heartbeats.get(rank, {})
            self._heartbeats[rank] = beat
            if beat["beats"] != before.get("beats"):
                self._heard[rank] = now
            if any(beat[name] != before.get(name) for name in ("run_id", "at", "files")):
                self._changed = now
        limit = self._timeouts[self.opened.run_id] if self.opened else self._start_seconds
        if now - max(self._changed, self._clock.woke) <= limit:
            return None
        if not self._orders_reach_them():  # nor would their heartbeats reach this process
            self._changed = now
            return None
        silent = {rank for rank, heard in self._heard.items() if now - heard > SILENT_SECONDS}
        return cause_of_hang(self._heartbeats, silent, self._world, limit)

    def _orders_reach_them(self) -> bool:
        """Writes the orders; tells whether that was possible."""
        try:
            give_orders(self.folder, self._stop)
        except OSError:
            return False
        return True


def processes_of(folder: Path) -> list[psutil.Process]:
    """Returns the running processes of a launch: all that have its folder in their environment.

    Also those that a launcher started in sessions of their own, or left to init when it died.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(FOLDER) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def start_launch(
    command: list[str], environment: dict[str, str], note: Callable[[str], object] | None
) -> tuple[subprocess.Popen[bytes], Callable[[], None]]:
    """Starts a launch, in a session of its own.

    Args:
        command, environment: of the process.
        note: prints the words, where something is drawn that they would tear. None: they print themselves.

    Returns:
        The process, and what waits, when it has ended, until its last words are printed.
    """
    if note is None:
        return subprocess.Popen(command, env=environment, start_new_session=True), lambda: None
    pipe, alike = subprocess.PIPE, sys.stdout.isatty()  # what is no terminal gets its words unmixed
    child = subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,
        stdout=pipe if alike else None,
        stderr=subprocess.STDOUT if alike else pipe,
    )
    words = child.stdout or child.stderr
    assert words
    thread = threading.Thread(target=_print, args=(words, note), daemon=True, name="words of the ranks")
    thread.start()
    return child, lambda: thread.join(timeout=LAST_WORDS_SECONDS)


def _print(words: IO[bytes], note: Callable[[str], object]) -> None:
    with words:
        for line in words:
            note(line.decode(errors="replace").rstrip().rpartition("\r")[2])  # of a bar, how it stands at last


def end_launch(child: subprocess.Popen[bytes], folder: Path) -> None:
    """Ends a launch, and waits until none of its processes is left: by an order, by SIGTERM, by SIGKILL."""
    with contextlib.suppress(OSError):  # a full disk is no reason to leave them alone
        give_orders(folder, end=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(OBEY_SECONDS)
    for process in (left := processes_of(folder)):
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(left, GRACE_SECONDS)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, GRACE_SECONDS)
    child.wait()
