"""Starts the processes that mirror runs beside those that train, and waits for them at the end, not for ever."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import psutil

from harness.records.files import write_json
from harness.trackers.account import why_offline
from harness.trackers.announced import ANNOUNCED, RUNS
from harness.trackers.options import WANDB, Tracking

START_SECONDS = 5.0
END_SECONDS = 5.0
LOCAL = 10
# What tells a process that it is one of several, or has a GPU: a mirror is neither.
_OF_A_LAUNCH = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "GROUP_", "ROLE_", "TORCHELASTIC_", "ACCELERATE_", "FORK_")


@dataclass(frozen=True)
class _Started:
    """A mirror that runs: its process, the end of a pipe that keeps it alive, and who listens to it until it ends."""

    name: str
    pid: int
    lifeline: int
    listener: threading.Thread


@contextlib.contextmanager
def mirrored(tracking: Tracking, parent: Path | None, say: Callable[[str], None]) -> Iterator[list[int]]:
    """Mirrors the runs that are opened in this context, by this process or those that it starts; gives the processes.

    Nothing that a tracker does, or does not, ends the context early or raises.

    Args:
        tracking: which trackers.
        parent: where the folder goes through which runs are announced; all ranks see it. None for this machine's own.
        say: is given sentences for a person.
    """
    if not tracking.names:
        yield []
        return
    tracking = _told_if_offline(tracking, say)
    started: list[_Started] = []
    with tempfile.TemporaryDirectory(prefix="harness-", dir=parent, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.environ[ANNOUNCED] = str(folder / RUNS)
        try:
            for each in tracking.names:
                try:
                    started.append(_start(folder, tracking.only(each), say))
                except (OSError, ValueError) as error:
                    say(f"{each}: cannot be started ({error}); the runs go on")
            yield [mirror.pid for mirror in started]
        finally:
            del os.environ[ANNOUNCED]
            _end(started, tracking.patience_seconds, say)


def _told_if_offline(tracking: Tracking, say: Callable[[str], None]) -> Tracking:
    if WANDB not in tracking.names:
        return tracking
    why = why_offline(os.environ, Path.home())
    if os.environ.get("WANDB_MODE") == "disabled":
        say("wandb: WANDB_MODE is disabled, so runs are not mirrored there")
        return dataclasses.replace(tracking, names=tuple(name for name in tracking.names if name != WANDB))
    if why:
        say(f"wandb: {why}, so runs are kept on this disk; `harness wandb sync` brings them up later")
    return dataclasses.replace(tracking, offline=bool(why))


def _start(folder: Path, tracking: Tracking, say: Callable[[str], None]) -> _Started:
    """Starts the mirror of one tracker.

    Raises:
        OSError, ValueError: it does not start.
    """
    [name] = tracking.names
    write_json(folder / f"{name}.json", dataclasses.asdict(tracking))
    command = [sys.executable, "-m", "harness.trackers.mirror", str(folder), name]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_OF_A_LAUNCH)}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(_import_path())}
    read_lifeline, lifeline = os.pipe()
    words, write_words = os.pipe()
    try:
        child = subprocess.Popen(command, stdin=read_lifeline, stdout=write_words, env=environment)
    except OSError:
        os.close(lifeline)
        os.close(words)
        raise
    finally:
        os.close(read_lifeline)
        os.close(write_words)
    child.wait()  # the mirror itself is its child, of no process here
    said = os.fdopen(words)
    told = said.readline() if select.select([said], [], [], START_SECONDS)[0] else ""
    try:
        pid = int(told)
    except ValueError:  # it goes where its lifeline ends
        os.close(lifeline)
        said.close()
        raise
    listener = threading.Thread(target=_hand_on, args=(said, name, say), daemon=True)
    listener.start()
    return _Started(name, pid, lifeline, listener)


def _hand_on(said: TextIO, name: str, say: Callable[[str], None]) -> None:
    """Says each line of a mirror until it has ended, so that it does not write into what others draw."""
    with said:
        for line in said:
            say(f"{name}: {line.rstrip()}")


def _end(started: list[_Started], patience_seconds: float, say: Callable[[str], None]) -> None:
    """Lets the mirrors tell the last of it; one that takes too long is ended, which costs no record."""
    for mirror in started:
        os.close(mirror.lifeline)
    began = time.monotonic()
    for mirror in started:
        # A busy machine lets a mirror wait long; without a server, what it writes need not be cut short.
        patience = patience_seconds * (1 if mirror.name == WANDB else LOCAL)
        end = began + patience
        mirror.listener.join(max(0.0, end - time.monotonic()))
        if mirror.listener.is_alive():
            mend = "; bring up what is missing: harness wandb sync" if mirror.name == WANDB else ""
            say(f"{mirror.name}: not done after {patience:g} s, and left{mend}")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(mirror.pid, signal.SIGKILL)
        _wait_until_gone(mirror.pid)


def _wait_until_gone(pid: int) -> None:
    """Waits a moment for a process to end, with which its claims on runs do; the pipe to it ends before that."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        end = time.monotonic() + END_SECONDS
        while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
            time.sleep(0.01)


def _import_path() -> list[str]:
    return [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
