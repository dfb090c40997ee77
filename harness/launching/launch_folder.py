"""What a supervisor and the processes it launched tell each other, through a folder that all of them see.

The supervisor writes `manifest.jsonl`, the runs, and `orders.json`: stop, show where you are, end. Rank 0 appends to
`runs.jsonl` each run that it comes to, has opened and has ended, and writes at the end `ended.json`, or `refused.json`
where the input is bad. Rank K writes `rank-K.json`, its heartbeat: how far it is, about once a second; `look-K.json`,
where it is, when it is asked (all three by `harness.launching.heartbeat`); `failed-K.json`, the error that ended it;
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
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records.files import write_json
from harness.records.result import Cause, Status

FOLDER = "HARNESS_LAUNCH"
SUPERVISOR = "HARNESS_SUPERVISOR"
OPENED_RUNS = "runs.jsonl"
LAUNCHER = re.compile(rb"accelerate|torchrun|torch[./]distributed")  # in a command line
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
    found = sorted(read_of_ranks(folder, "failed").items(), key=lambda item: item[1]["at"])
    return {rank: (value["status"], Cause.model_validate(value["cause"])) for rank, value in found}


def read_looks(folder: Path) -> dict[int, StackSample]:
    """Returns where the ranks are that have answered the order to look."""
    return {rank: StackSample(**value) for rank, value in read_of_ranks(folder, "look").items()}


def read_exits(folder: Path) -> dict[int, int]:
    """Returns the exit codes of the ranks that ended first, where a launcher stood in between; negative for signals."""
    return {int(rank): code for path in folder.glob("exits-*.json") for rank, code in (_read(path) or {}).items()}


def read_of_ranks(folder: Path, name: str) -> dict[int, dict[str, Any]]:
    """Returns what is in the files `NAME-K.json`, by rank; those that cannot be read now are left out."""
    found = {int(path.stem.partition("-")[2]): _read(path) for path in sorted(folder.glob(f"{name}-*.json"))}
    return {rank: value for rank, value in found.items() if value}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        # Read, not looked for: a network file system may say for long that a new file is not there.
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
