"""Writes a checkpoint or a result, and dies by SIGKILL at one stage of it: `dying.py WHAT FOLDER STAGE`.

Stages are counted from 0: before each file is opened, made, renamed or deleted in the folder, and, for each file that
is written through to the disk, when half of it is written, before it is synced and after. With a stage that does not
come it prints how many there were.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}


AT = "2026-01-01T00:00:00+00:00"


def checkpoint(folder: Path) -> Callable[[], object]:
    """Returns what writes a checkpoint."""
    from harness.records.checkpoints import CheckpointFolder

    return lambda: CheckpointFolder(folder).commit(3, {"weights": b"3" * 1000, "state": b"{}"}, {"run_id": "r"})


def result(folder: Path) -> Callable[[], object]:
    """Returns what writes a result."""
    from harness.records.result import RunResult
    from harness.records.store import RunFolder

    values: dict[str, Any] = {"suite": "s", "label": "l", "run_id": "r", "config_id": "c", "system_id": "y", "seed": 0}
    values |= {"status": "ok", "started_at": AT, "ended_at": AT, "attempt": 1, "num_processes": 1, "spec": {}}
    facts = {"train_samples": 8, "validation_samples": 0, "test_samples": 4, "num_classes": 2}
    values["data"] = {"fingerprint": "f00d", **facts}
    found = RunResult.model_validate(values)
    found.model_dump(mode="json")  # imports and builds what it needs
    return lambda: RunFolder(folder / "r" / "y").finish(found)


def main(what: str, folder: Path, stage: int) -> None:
    write = checkpoint(folder) if what == "checkpoint" else result(folder)
    stages = 0

    def is_due() -> bool:
        nonlocal stages
        stages += 1
        return stages == stage + 1

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        inside = any(isinstance(each, str | Path) and str(folder) in str(each) for each in arguments)
        if event in EVENTS and (inside or event in ("os.remove", "os.rmdir")) and is_due():
            os.kill(os.getpid(), signal.SIGKILL)

    sync = os.fsync

    def dying_sync(handle: int) -> None:
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode) and is_due():
            os.ftruncate(handle, status.st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        if is_due():
            os.kill(os.getpid(), signal.SIGKILL)
        sync(handle)
        if is_due():
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = dying_sync
    sys.addaudithook(watch)
    write()
    print(stages)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
