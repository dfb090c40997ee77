"""What a supervisor and the processes it launched tell each other, through a folder that all of them see.

The supervisor writes `manifest.jsonl`, the runs, and `orders.json`: stop, end. Rank 0 appends to `runs.jsonl` each run
that it comes to, has opened and has ended, and writes at the end `ended.json`, or `refused.json` for bad input. Rank K
writes `rank-K.json`, its heartbeat: how far it is, and where, twice a second; `failed-K.json`, the error that ended it;
`crash-K.txt`, where it was when a signal such as SIGSEGV ended it. `exits-*.json` is of Accelerate's launcher: the exit
codes of the ranks that ended first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from harness.errors import HarnessError
from harness.records.files import write_json
from harness.records.follow import TRACKED_RUNS, OpenedRun, Stage, add_opened_run
from harness.records.result import Cause, Status
from harness.records.store import RunFolder

FOLDER = "HARNESS_LAUNCH"
SUPERVISOR = "HARNESS_SUPERVISOR"
OPENED_RUNS = "runs.jsonl"
LAUNCHER = re.compile(rb"accelerate|torchrun|torch[./]distributed")  # in a command line
LIVE = "live"  # in the folder of a run
LIVE_SECONDS = 5.0
STOPPED = 75  # the exit code of what was stopped and can be resumed


def launching_process() -> int | None:
    """Returns the process of this machine that started the ranks: a supervisor, else a launcher; None for neither."""
    host, _, number = os.environ.get(SUPERVISOR, "").rpartition(":")
    if number:
        return int(number) if host == socket.gethostname() else None
    with contextlib.suppress(OSError):
        parent = os.getppid()
        if LAUNCHER.search(Path(f"/proc/{parent}/cmdline").read_bytes()):
            return parent
    return None


@contextlib.contextmanager
def new_folder(parent: Path | None = None) -> Iterator[Path]:
    """Makes a folder of a launch or a call, and removes it at the end.

    Args:
        parent: where; None for this machine's temporary folder.

    Raises:
        HarnessError: it cannot be made.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="harness-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        message = f"cannot make a folder for the launch: {error.strerror}: {error.filename or parent}"
        raise HarnessError(message, "see to the disk, or set TMPDIR to a folder on another one") from None
    with made as name:
        yield Path(name)


def refuse(folder: Path, error: HarnessError) -> None:
    """Tells the supervisor that the input is bad: a launcher in between does not hand on a rank's exit code."""
    write_json(folder / "refused.json", {"message": error.message, "hint": error.hint})


def refusal(folder: Path) -> HarnessError | None:
    """Returns why a rank found the input bad, or None."""
    value = _read(folder / "refused.json")
    return HarnessError(**value) if value else None


def give_orders(folder: Path, stop: str = "", end: bool = False) -> None:
    """Gives the ranks of a launch their orders, instead of earlier ones.

    Args:
        folder: of the launch.
        stop: why they shall save and stop, e.g. `SIGTERM`; empty: they shall not.
        end: whether they shall end at once.
    """
    write_json(folder / "orders.json", {"stop": stop, "end": end})


def read_orders(folder: Path) -> tuple[str, bool]:
    """Returns the orders, as `give_orders` takes them; none where they cannot be read now."""
    orders = _read(folder / "orders.json") or {}
    return orders.get("stop", ""), orders.get("end", False)


def report_end(folder: Path, stopped: str) -> None:
    """Reports that the ranks came to the end of the runs, or that they stopped, and why."""
    write_json(folder / "ended.json", {"stopped": stopped})


def reported_end(folder: Path) -> str | None:
    """Returns why the ranks stopped, '' where they came to the end of the runs, or None where they did neither."""
    value = _read(folder / "ended.json")
    return str(value["stopped"]) if value else None


def report_failure(folder: Path, rank: int, status: Status, cause: Cause) -> None:
    """Reports the error that ends a rank."""
    value = {"status": status, "cause": cause.model_dump(mode="json"), "at": time.time()}
    write_json(folder / f"failed-{rank}.json", value)


def read_failures(folder: Path) -> dict[int, tuple[Status, Cause]]:
    """Returns the errors that ended ranks, by rank, the first error first."""
    found = sorted(_of_ranks(folder, "failed").items(), key=lambda item: item[1]["at"])
    return {rank: (value["status"], Cause.model_validate(value["cause"])) for rank, value in found}


def read_exits(folder: Path) -> dict[int, int]:
    """Returns the exit codes of the ranks that ended first, where a launcher stood in between; negative for signals."""
    return {int(rank): code for path in folder.glob("exits-*.json") for rank, code in (_read(path) or {}).items()}


def read_heartbeats(folder: Path) -> dict[int, dict[str, Any]]:
    """Returns how far each rank is, by rank; see `Heartbeat`."""
    return _of_ranks(folder, "rank")


def steps_done(heartbeat: Mapping[str, Any] | None) -> int | None:
    """Returns the optimizer steps of its run that a rank has done; None before the first."""
    at = heartbeat["at"] if heartbeat else None
    return at + 1 if isinstance(at, int) else None


def _of_ranks(folder: Path, name: str) -> dict[int, dict[str, Any]]:
    """Returns what is in the files `NAME-K.json`, by rank; those that cannot be read now are left out."""
    found = {int(path.stem.partition("-")[2]): _read(path) for path in sorted(folder.glob(f"{name}-*.json"))}
    return {rank: value for rank, value in found.items() if value}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        # Read, not looked for: a network file system may say for long that a new file is not there.
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


class Heartbeat:
    """How far a rank is: `rank-K.json`, in two folders. The main thread says it, other threads write it.

    `run_id`; `at`, the step that is done, counted from 0, or a phase; how many `files` were read; the `gauges` of the
    GPU. In the folder of the launch also `beats`, a count, and `stack`, where the main thread is, for the supervisor,
    which looks for hangs. And every few seconds in `live/` of the run's own folder, on what may be a slow network disk,
    for who watches from another machine.

    Args:
        folder: of the launch; None where there is no supervisor.

    Attributes:
        on_run: is given, on rank 0, how far it is with a run.
    """

    def __init__(self, folder: Path | None, rank: int) -> None:
        self.folder = folder
        self.rank = rank
        self.on_run: Callable[[OpenedRun], object] = lambda run: None
        self._at: int | str = ""
        self._files = 0
        self._gauges: Mapping[str, float] = {}
        self._run: OpenedRun | None = None
        self._live: Path | None = None  # where this process has written into the folder of the run
        self._beats = 0
        self._next_live = 0.0
        self._told: set[str] = set()

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the open run that are done; None before the first."""
        return steps_done({"at": self._at})

    def run_begins(self, run_id: str, folder: RunFolder) -> None:
        """Names the run whose data are read now: what ends this process from here on is recorded as its end."""
        self._run, self._gauges, self._next_live = OpenedRun(run_id, folder, folder.events_bytes()), {}, 0.0
        self._tell_run("begun")
        self.beat("data")

    def run_opened(self) -> None:
        """Says that the run is this launch's, and that its folder is open."""
        self._tell_run("opened")
        self.beat("start")

    def run_ended(self) -> None:
        """Says that the run's result is written: what ends this process now is not the end of that run."""
        self._tell_run("ended")
        if self._live:
            with contextlib.suppress(OSError):
                (self._live / self._name).unlink(missing_ok=True)
                self._live.rmdir()  # it may not be empty
            self._live = None

    def beat(self, at: int | str) -> None:
        """Says how far this rank is."""
        self._at = at

    def has_read(self, files: int) -> None:
        """Says that reading data goes on: that may take hours, and is no hang."""
        self._files = files

    def write(self) -> None:
        """Writes into the folder of the launch; called again and again, in another thread than the training's."""
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        if self.folder and self._at != "" and main:
            self._beats += 1
            with self._going_on(f"the folder of the launch, {self.folder}"):
                self._write_to(self.folder, beats=self._beats, stack=_stack(main))

    def sample(self, gauges: Mapping[str, float]) -> None:
        """Takes what was read of this rank's GPU, about once a second, in another thread than the training's."""
        self._gauges = gauges
        if self._run and (now := time.monotonic()) >= self._next_live:
            self._next_live = now + LIVE_SECONDS
            self._live = self._run.folder.path / LIVE
            with contextlib.suppress(OSError):  # it is for display alone
                self._live.mkdir(exist_ok=True)
                self._write_to(self._live)

    @property
    def _name(self) -> str:
        return f"rank-{self.rank}.json"

    def _write_to(self, folder: Path, **more: Any) -> None:
        run_id = self._run.run_id if self._run else ""
        value = {"run_id": run_id, "at": self._at, "gauges": self._gauges, "files": self._files, **more}
        # Not atomically: a file that is replaced each second costs a network disk much, and a torn one little.
        (folder / self._name).write_text(json.dumps(value))

    def _tell_run(self, stage: Stage) -> None:
        if self._run is None or self.rank > 0:
            return
        self._run = dataclasses.replace(self._run, stage=stage)
        self.on_run(self._run)
        if self.folder:
            with self._going_on(f"the folder of the launch, {self.folder}"):
                add_opened_run(self.folder / OPENED_RUNS, self._run)
        if tracked := os.environ.get(TRACKED_RUNS):
            with self._going_on(f"the trackers' list of runs, {tracked}"):
                add_opened_run(Path(tracked), self._run)

    @contextlib.contextmanager
    def _going_on(self, place: str) -> Iterator[None]:
        """Says once what could not be written for those who watch: that is no reason to end a training."""
        try:
            yield
        except OSError as error:
            if place not in self._told:
                self._told.add(place)
                sys.stderr.write(f"rank {self.rank}: cannot write to {place}: {error.strerror}; training goes on\n")


def _stack(frame: FrameType | None) -> list[tuple[str, int, str]]:
    """Returns file, line and function of each frame, the innermost last."""
    found = []
    while frame:
        found.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return found[::-1]
