"""How a tracker process hears of runs: the process that opens one appends its folder to a file."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from harness.records.files import append_line, read_lines

OPENED_RUNS = "HARNESS_OPENED_RUNS"
READY = "ready"  # said by a tracker process, once its client is imported


def add_opened_run(folder: Path) -> None:
    """Names a run that was opened, where a tracker wants to know; nothing of the run depends on it."""
    if path := os.environ.get(OPENED_RUNS):
        with contextlib.suppress(OSError):
            append_line(Path(path), {"folder": str(folder.absolute())})


def read_opened_runs(path: Path) -> list[Path]:
    """Returns the folders of the runs that were opened, in order; one that was opened again is there again."""
    try:
        return [Path(line["folder"]) for line in read_lines(path)]
    except (OSError, KeyError, json.JSONDecodeError):
        return []
