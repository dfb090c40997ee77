"""The processes of a machine, as `/proc` lists them: which of them belong to a launch, and what those have used.

Only what is new is looked at, as the list of a large machine has thousands of processes.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FORGET_EVERY_SECONDS = 60.0  # numbers of processes come again, and a process may become another program
KERNEL = 2  # the process that starts the threads of Linux itself
SUPERVISOR = re.compile(rb"(?:^|\0)HARNESS_SUPERVISOR=[^\0]*:(\d+)(?:\0|$)")
TRACKER_PROCESS = b"\0HARNESS_TRACKER_PROCESS="  # in the environment of what sends records to a tracker
RANK = re.compile(rb"\0(?:-m\0harness|\S*harness/(?:run|worker)\.py|\S*bin/harness)\0(?:run\0)?")


class Times(NamedTuple):
    """Processor seconds of a process, and of children that have ended and were waited for."""

    own: float
    of_ended: float


class Processes:
    """Processes that belong to some others: these themselves, and all that they started, as of the last look.

    Args:
        roots: these others.

    Attributes:
        other_launches: of the harness on this machine, that were seen: the process that supervises each.
    """

    def __init__(self, roots: Collection[int]) -> None:
        self._roots = set(roots)
        self._parents: dict[int, int] = {}  # of ours
        self._foreign: set[int] = set()
        self._forgot_at = time.monotonic()
        self.other_launches: set[int] = set()

    def look(self) -> None:
        """Finds what was started and what has ended since; another thread may look, too."""
        if forgets := time.monotonic() - self._forgot_at > FORGET_EVERY_SECONDS:
            self._forgot_at = time.monotonic()
        present = {int(name) for name in os.listdir(PROC) if name.isdigit()}  # noqa: PTH208 - called often
        foreign = set() if forgets else self._foreign & present
        parents = {pid: parent for pid, parent in self._parents.items() if pid in present}
        found = {pid: parent for pid in present - foreign - parents.keys() if (parent := _parent(pid)) is not None}
        while more := {pid: parent for pid, parent in found.items() if self._is_ours(pid, parent, parents)}:
            parents |= more
            found = {pid: parent for pid, parent in found.items() if pid not in more}
        launches = {_launch_of(pid) for pid, parent in found.items() if parent != KERNEL}
        self._parents, self._foreign = parents, foreign | found.keys()
        self.other_launches = self.other_launches | {pid for pid in launches if pid and pid not in self.all()}

    def _is_ours(self, pid: int, parent: int, ours: Collection[int]) -> bool:
        return pid in self._roots or ((parent in self._roots or parent in ours) and not _is_tracker(pid))

    def belonging_to(self, roots: Collection[int]) -> set[int]:
        """Returns those that belong to some of ours, with these."""
        found = set(roots)
        while more := {pid for pid, parent in self._parents.items() if parent in found} - found:
            found |= more
        return found

    def all(self) -> set[int]:
        """Returns all of ours."""
        return self._roots | self._parents.keys()


def times_of(pid: int) -> Times:
    """Returns the processor time of a process: exact for this one, else in ticks of 10 ms; none where it has ended.

    Raises:
        LookupError: not even this process is shown.
    """
    fields = _stat(pid)
    if fields is None and pid == os.getpid():
        raise LookupError("/proc does not show this process")
    if fields is None:
        return Times(0.0, 0.0)
    user, system, ended_user, ended_system = (int(field) / TICK for field in fields[11:15])
    return Times(time.process_time() if pid == os.getpid() else user + system, ended_user + ended_system)


def resident_bytes(pid: int) -> int:
    """Returns the resident memory of a process; 0 where it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(read(PROC / str(pid) / "statm").split()[1]) * PAGE_BYTES
    return 0


def read(file: Path | str) -> bytes:
    """Returns what the kernel says in a file; `Path.read_bytes` takes three times as long."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _stat(pid: int) -> list[bytes] | None:
    """Returns the fields of `stat` from the state on (field 3 of proc(5)); None where the process has ended."""
    try:
        return read(f"{PROC}/{pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _is_tracker(pid: int) -> bool:
    """Tells whether a process sends records to a tracker, and so is no part of a run, whoever started it."""
    with contextlib.suppress(OSError):
        return TRACKER_PROCESS in b"\0" + read(f"{PROC}/{pid}/environ")
    return False


def _launch_of(pid: int) -> int | None:
    """Returns the process that supervises the launch which a process belongs to; None where it belongs to none.

    The environment is read where it may be, else the command line has to do.
    """
    with contextlib.suppress(OSError):
        if found := SUPERVISOR.search(read(f"{PROC}/{pid}/environ")):
            return int(found[1])
        if RANK.search(read(f"{PROC}/{pid}/cmdline")):
            return pid
    return None
