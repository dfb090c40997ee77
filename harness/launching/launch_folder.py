"""What a supervisor and the processes it launched tell each other, through a folder that all of them see.

The supervisor writes `manifest.jsonl`, the runs, and `orders.json`: stop, show where you are, end. Rank 0 appends to
`runs.jsonl` each run that it comes to, has opened and has ended, and writes at the end `ended.json`, or `refused.json`
where the input is bad. Rank K writes `rank-K.json`, its heartbeat: how far it is, about once a second; `look-K.json`,
where it is, when it is asked; `failed-K.json`, the error that ended it;
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
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
BEAT_SECONDS = 1.0
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


@dataclass(frozen=True)
class Orders:
    """What the supervisor wants of the ranks.

    Attributes:
        stop: why they shall save and stop, e.g. `SIGTERM`; empty: they shall not.
        look: whether they shall write where they are.
        end: whether they shall end at once.
    """

    stop: str = ""
    look: bool = False
    end: bool = False


@dataclass(frozen=True)
class StackSample:
    """Where a rank's main thread is.

    Attributes:
        steps: optimizer steps done; None before the first.
        stack: file, line and function of each frame, the innermost last.
    """

    steps: int | None
    stack: Sequence[Sequence[Any]]


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


def give_orders(folder: Path, orders: Orders) -> None:
    """Gives the ranks of a launch their orders, instead of earlier ones."""
    write_json(folder / "orders.json", dataclasses.asdict(orders))


def read_orders(folder: Path) -> Orders:
    """Returns the orders; none where they cannot be read now."""
    return Orders(**(_read(folder / "orders.json") or {}))


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


def read_looks(folder: Path) -> dict[int, StackSample]:
    """Returns where the ranks are that have answered the order to look."""
    return {rank: StackSample(**value) for rank, value in _of_ranks(folder, "look").items()}


def read_exits(folder: Path) -> dict[int, int]:
    """Returns the exit codes of the ranks that ended first, where a launcher stood in between; negative for signals."""
    return {int(rank): code for path in folder.glob("exits-*.json") for rank, code in (_read(path) or {}).items()}


def read_heartbeats(folder: Path) -> dict[int, dict[str, Any]]:
    """Returns how far each rank is, by rank: `run_id`, `at`, the `gauges` of its GPU and how many `files` it read."""
    return _of_ranks(folder, "rank")


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
    """How far a rank is: `rank-K.json`, the same in two folders.

    In that of the launch, which is on a disk of this machine where all ranks are on it: the supervisor looks for hangs
    there, so the main thread writes it, about once a second. And in `live/` of the run's own folder, for who watches
    from another machine: on what may be a slow network disk, so another thread writes it, every few seconds.

    Args:
        folder: of the launch; None where there is no supervisor.
        rank: of this process.

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
        self._next_beat = self._next_live = 0.0
        self._told: set[str] = set()

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the open run that are done; None before the first."""
        return self._at + 1 if isinstance(self._at, int) else None

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
        """Says that this rank is alive; `at` is the step that is done, counted from 0, or a phase."""
        self._at = at
        now = time.monotonic()
        if self.folder and (now >= self._next_beat or isinstance(at, str)):
            self._next_beat = now + BEAT_SECONDS
            with self._going_on(f"the folder of the launch, {self.folder}"):
                self._write(self.folder)

    def has_read(self, files: int) -> None:
        """Says, about once a second, that reading data goes on: that may take hours, and is no hang."""
        self._files = files
        if time.monotonic() >= self._next_beat:
            self.beat("data")

    def sample(self, gauges: Mapping[str, float]) -> None:
        """Takes what was read of this rank's GPU, about once a second, in another thread than the training's."""
        self._gauges = gauges
        if self._run and (now := time.monotonic()) >= self._next_live:
            self._next_live = now + LIVE_SECONDS
            self._live = self._run.folder.path / LIVE
            with contextlib.suppress(OSError):  # it is for display alone
                self._live.mkdir(exist_ok=True)
                self._write(self._live)

    def look(self) -> None:
        """Writes where the main thread is, as the supervisor has ordered."""
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        if self.folder and main:
            stack = [[frame.filename, frame.lineno, frame.name] for frame in traceback.extract_stack(main)]
            write_json(self.folder / f"look-{self.rank}.json", {"steps": self.steps, "stack": stack})

    @property
    def _name(self) -> str:
        return f"rank-{self.rank}.json"

    def _write(self, folder: Path) -> None:
        run_id = self._run.run_id if self._run else ""
        # Not atomically: a file that is replaced each second costs a network disk much, and a torn one little.
        (folder / self._name).write_text(
            json.dumps({"run_id": run_id, "at": self._at, "gauges": self._gauges, "files": self._files})
        )

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
