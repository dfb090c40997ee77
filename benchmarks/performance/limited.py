"""A process with a time limit, and all that it starts."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from typing import Any

import psutil


def run_limited(command: Sequence[str], seconds: float, **options: Any) -> int | None:
    """Runs a process to its end, and returns its exit code; None if it ran out of so many seconds.

    What it has started is ended, too, in whatever session: launches of the harness would train on.

    Args:
        command: of the process.
        seconds: that it may take.
        options: of `subprocess.Popen`.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        process.wait()
