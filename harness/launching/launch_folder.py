"""What a supervisor and the processes it launched tell each other, through a folder that all of them see.

The supervisor writes `manifest.jsonl`, the runs, and `orders.json`: stop, show where you are, end. Rank 0 appends to
`runs.jsonl` each run that it comes to and that it has ended, and writes at the end `ended.json`, or `refused.json`
where the input is bad. Rank K writes `rank-K.json`, its heartbeat: how far it is, about once a second; `look-K.json`,
where it is, when it is asked; `failed-K.json`, the error that ended it; `crash-K.txt`, where it was when a signal such
as SIGSEGV ended it. `exits-*.json` is of Accelerate's launcher: the exit codes of the ranks that ended first.
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records.files import append_line, json_lines, read_end, write_json
from harness.records.result import Cause, Status
from harness.records.store import RunFolder
from harness.suite.plan import PlannedRun

FOLDER = "HARNESS_LAUNCH"
SUPERVISOR = "HARNESS_SUPERVISOR"
OPENED_RUNS = "runs.jsonl"
TAIL_BYTES = 1 << 13  # several of its longest lines
LAUNCHER = re.compile(rb"accelerate|torchrun|torch[./]distributed")  # in a command line
BEAT_SECONDS = 1.0
STOPPED = 75  # the exit code of what was stopped and can be resumed


@dataclass(frozen=True)
class OpenedRun:
    """The run that rank 0 came to last.

    Attributes:
        run_id: of the run.
        folder: where it is recorded; it need not exist before the run was opened.
        events_bytes: of the run's events when rank 0 came to it; what is before is of earlier attempts.
        ended: whether its result is written.
    """

    run_id: str
    folder: RunFolder
    events_bytes: int = 0
    ended: bool = False


class Heartbeat:
    """A rank's side: tells the supervisor, at most once a second, how far it is.

    Args:
        folder: of the launch; None where there is no supervisor.
        rank: of this process.

    Attributes:
        steps: optimizer steps of the open run that are done; None before the first.
        gauges: what was read of this rank's GPU last, for who watches.
    """

    def __init__(self, folder: Path | None, rank: int) -> None:
        self.folder = folder
        self.rank = rank
        self.steps: int | None = None
        self.gauges: dict[str, float] = {}
        self._run: tuple[PlannedRun, Path] | None = None
        self._next = 0.0
        self._told = False

    def run_begins(self, run: PlannedRun, run_folder: Path) -> None:
        """Names the run whose data are read now: what ends this process from here on is recorded as its end."""
        self._run, self.steps = (run, run_folder), None
        self._write_open(ended=False)
        self.beat("data", force=True)

    def run_opened(self, run: PlannedRun, run_folder: Path) -> None:
        """Says that the run's folder was opened."""
        self._run = run, run_folder
        self.beat("start", force=True)

    def run_ended(self) -> None:
        """Says that the run's result is written: what ends this process now is not the end of that run."""
        self._write_open(ended=True)

    def beat(self, at: object, *, force: bool = False) -> None:
        """Says that this rank is alive; `at` is a step or a phase."""
        now = time.monotonic()
        if self.folder and (force or now >= self._next):
            self._next = now + BEAT_SECONDS
            run_id = self._run[0].run_id if self._run else ""
            # Not atomically: a file that is replaced each second costs a network disk much, and a torn one little.
            beat = {"run_id": run_id, "at": at, "gauges": self.gauges}
            with self._going_on():
                (self.folder / f"rank-{self.rank}.json").write_text(json.dumps(beat))

    def look(self, number: int) -> None:
        """Writes where the main thread is: the answer to the supervisor's look of this number."""
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        if self.folder and main:
            stack = [[frame.filename, frame.lineno, frame.name] for frame in traceback.extract_stack(main)]
            value = {"number": number, "steps": self.steps, "stack": stack, "cpu_seconds": time.process_time()}
            write_json(self.folder / f"look-{self.rank}.json", value)

    def _write_open(self, *, ended: bool) -> None:
        if self.folder and self._run and self.rank == 0:
            run, path = self._run
            with self._going_on():
                folder = RunFolder(path)
                add_opened_run(self.folder, OpenedRun(run.run_id, folder, folder.events_bytes(), ended))

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """Says once what could not be written for the supervisor: that is no reason to end a training."""
        try:
            yield
        except OSError as error:
            if not self._told:
                self._told = True
                what = f"cannot write to the folder of the launch, {self.folder}: {error.strerror}"
                sys.stderr.write(f"rank {self.rank}: {what}; training goes on\n")


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
        look: the number of the look that they shall answer with where they are; 0 for none yet.
        end: whether they shall end at once.
    """

    stop: str = ""
    look: int = 0
    end: bool = False


@dataclass(frozen=True)
class StackSample:
    """Where a rank's main thread is.

    Attributes:
        steps: optimizer steps done; None before the first.
        stack: file, line and function of each frame, the innermost last.
        cpu_seconds: that all threads of the process have taken.
        number: of the look that it answers.
    """

    steps: int | None
    stack: Sequence[Sequence[Any]]
    cpu_seconds: float = 0.0
    number: int = 0


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


def opened_runs(lines: Iterable[Mapping[str, Any]]) -> list[OpenedRun]:
    """Returns the runs of lines of `runs.jsonl`, in order; a run that rank 0 came to again is there again."""
    found: list[OpenedRun] = []
    for line in lines:
        if "folder" in line:
            found.append(OpenedRun(line["run_id"], RunFolder(Path(line["folder"])), line["events_bytes"]))
        elif found:
            found[-1] = dataclasses.replace(found[-1], ended=True)
    return found


def read_open_run(folder: Path) -> OpenedRun | None:
    """Returns the run that rank 0 came to last."""
    with contextlib.suppress(OSError):
        lines = json_lines(read_end(folder / OPENED_RUNS, TAIL_BYTES))  # asked often, of a file that may be long
        return next(iter(opened_runs(lines)[-1:]), None)
    return None


def add_opened_run(folder: Path, opened: OpenedRun) -> None:
    """Appends a run that rank 0 comes to, or, of the last one, that it has ended."""
    line = {"run_id": opened.run_id, "folder": str(opened.folder.path), "events_bytes": opened.events_bytes}
    append_line(folder / OPENED_RUNS, {"ended": True} if opened.ended else line)


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
    found = sorted(_read_ranks(folder, "failed").items(), key=lambda item: item[1]["at"])
    return {rank: (value["status"], Cause.model_validate(value["cause"])) for rank, value in found}


def read_heartbeats(folder: Path) -> dict[int, dict[str, Any]]:
    """Returns how far each rank is, `run_id` and `at`."""
    return _read_ranks(folder, "rank")


def read_looks(folder: Path, number: int) -> dict[int, StackSample]:
    """Returns where the ranks are that answered the look of this number."""
    found = {rank: StackSample(**value) for rank, value in _read_ranks(folder, "look").items()}
    return {rank: sample for rank, sample in found.items() if sample.number == number}


def read_exits(folder: Path) -> dict[int, int]:
    """Returns the exit codes of the ranks that ended first, where a launcher stood in between; negative for signals."""
    return {int(rank): code for path in folder.glob("exits-*.json") for rank, code in (_read(path) or {}).items()}


def _read_ranks(folder: Path, name: str) -> dict[int, dict[str, Any]]:
    found = {int(path.stem.partition("-")[2]): _read(path) for path in sorted(folder.glob(f"{name}-*.json"))}
    return {rank: value for rank, value in found.items() if value}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        # Read, not looked for: a network file system may say for long that a new file is not there.
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
