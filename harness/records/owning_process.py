"""What a process writes of itself, so that others can tell later whether it is still there."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from pathlib import Path
from typing import Any

LARGEST_PID = 2**31 - 1


def this_process() -> dict[str, Any]:
    """Returns where this process runs, since when, and a token that no other process has."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": _start_of(os.getpid()),
        "machine": _machine(),
        "slurm_job": f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID"),
        "token": uuid.uuid4().hex,
    }


def is_seen_to_be_gone(told: dict[str, Any]) -> bool:
    """Tells whether the process that wrote `this_process` has ended; False where that cannot be seen from here."""
    here, pid, started = _machine(), told.get("pid"), told.get("process_started")
    if not (here and told.get("machine") == here and isinstance(pid, int) and isinstance(started, int)):
        return False
    return 0 < pid <= LARGEST_PID and not _is_alive(pid, started)


def _machine() -> str:
    """Returns what names this boot, and the process ids seen here, as containers have their own; '' where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_of(pid: int) -> int | None:
    """Returns when a process started, in ticks since the boot: no setting of the clock moves it.

    None for one that is dead, though not yet reaped: its last thread too, as a killed one may still end a write.

    Raises:
        OSError: there is none, or it is hidden.
    """
    state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    threads, started = int(rest[16]), int(rest[18])
    return None if state in "ZX" and threads <= 1 else started


def _is_alive(pid: int, started: int) -> bool:
    try:
        return _start_of(pid) == started
    except OSError:
        pass
    with contextlib.suppress(PermissionError):  # another user's, which may be hidden in /proc
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
