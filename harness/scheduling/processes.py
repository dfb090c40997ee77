"""The processes of a launch on this machine, and their end."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import psutil

from harness.scheduling.launch import FOLDER, Orders, give_orders

OBEY_SECONDS = 3.0
GRACE_SECONDS = 5.0


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


def end_launch(child: subprocess.Popen[bytes], folder: Path) -> None:
    """Ends a launch, and waits until none of its processes is left: by an order, by SIGTERM, by SIGKILL."""
    with contextlib.suppress(OSError):  # a full disk is no reason to leave them alone
        give_orders(folder, Orders(end=True))
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
