"""Many processes that want runs at once: python contender.py LOG DYING PAUSE_SECONDS FOLDER...

A process for each folder claims until it owned the run once. A lock that the kernel keeps proves that nobody else did
at the time. The first DYING of them are killed while they own the run. Exits with the number of those that failed.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.records import claims

HOLD_SECONDS = 0.004


def main(log: Path, dying: int, pause_seconds: float, folders: list[Path]) -> int:
    """Forks, starts all at once, and returns how many did not end as they should."""
    if pause_seconds:
        for module, name in ((claims.os, "link"), (claims, "_newest"), (claims, "_clean"), (Path, "replace")):
            setattr(module, name, pausing(getattr(module, name), pause_seconds))
    start, give = os.pipe()
    children = []
    for index, folder in enumerate(folders):
        child = os.fork()
        if not child:
            os.close(give)
            random.seed()
            os.read(start, 1)
            contend(folder, log, dies=index < dying)
            os._exit(0)
        children.append(child)
    os.close(give)
    endings = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return sum(code != (-signal.SIGKILL if index < dying else 0) for index, code in enumerate(endings))


def contend(folder: Path, log: Path, *, dies: bool) -> None:
    """Claims until it owned the run once."""
    while (held := claims.claim(folder)) is None:
        time.sleep(random.uniform(0, 0.05))
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where there are two owners
        write(log, f"owned {held.generation} {os.getpid()}\n")
        time.sleep(HOLD_SECONDS)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        write(log, f"{'held' if held.is_held() else 'lost'} {held.generation}\n")
    held.release()


def pausing(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """Returns the function with a random pause before it, now and then a long one."""

    def call(*arguments: Any, **options: Any) -> Any:
        time.sleep(random.uniform(0, seconds) * random.choice((0, 0, 1, 1, 10)))
        return function(*arguments, **options)

    return call


def write(path: Path, text: str) -> None:
    """Appends in one call, which processes do at once without mixing their lines."""
    with path.open("ab", buffering=0) as file:
        file.write(text.encode())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), [Path(name) for name in sys.argv[4:]]))
