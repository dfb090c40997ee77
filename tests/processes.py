"""Processes that tests start, and waiting for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil


def processes_in(folder: Path) -> list[psutil.Process]:
    """Returns the running processes that were started in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def seconds_without_a_core() -> float:
    """Returns how long this thread was ready and had to wait for a core; 0 where the kernel does not tell.

    What a busy machine adds between two readings of a clock, and no error of the clock.
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def wait_for(condition: Callable[[], object], seconds: float, every: float = 0.1) -> bool:
    """Waits until a condition holds; tells whether it did."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
