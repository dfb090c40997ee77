"""The processes of a launch on this machine, and their end."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil
from rich.console import Console

from harness.launching.launch_folder import FOLDER, Orders, give_orders

OBEY_SECONDS = 3.0
GRACE_SECONDS = 5.0
LAST_WORDS_SECONDS = 2.0


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


def start_launch(
    command: list[str], environment: dict[str, str], console: Console | None
) -> tuple[subprocess.Popen[bytes], Callable[[], None]]:
    """Starts a launch, in a session of its own.

    Args:
        command, environment: of the process.
        console: on which something is drawn that words in between would tear: it prints them. None for none.

    Returns:
        The process, and what waits, when it has ended, until its last words are printed.
    """
    if console is None:
        return subprocess.Popen(command, env=environment, start_new_session=True), lambda: None
    pipe, alike = subprocess.PIPE, sys.stdout.isatty()  # what is no terminal gets its words unmixed
    child = subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,
        stdout=pipe if alike else None,
        stderr=subprocess.STDOUT if alike else pipe,
    )
    words = child.stdout or child.stderr
    assert words
    thread = threading.Thread(target=_print, args=(words, console), daemon=True, name="words of the ranks")
    thread.start()
    return child, lambda: thread.join(timeout=LAST_WORDS_SECONDS)


def _print(words: IO[bytes], console: Console) -> None:
    with words:
        for line in words:
            text = line.decode(errors="replace").rstrip().rpartition("\r")[2]  # of a bar, how it stands at last
            console.print(text, highlight=False, markup=False, soft_wrap=True)


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
