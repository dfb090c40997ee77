"""Which runs a mirror is to follow: the process that opens a run appends its folder to a file."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from harness.records.files import append_line, read_lines

ANNOUNCED = "HARNESS_MIRRORED_RUNS"
RUNS = "runs.jsonl"


def announce(folder: Path) -> None:
    """Says that a run was opened, where a mirror wants to know; nothing of the run depends on it."""
    if path := os.environ.get(ANNOUNCED):
        with contextlib.suppress(OSError):
            append_line(Path(path), {"folder": str(folder.absolute())})


def read_announced(path: Path) -> list[Path]:
    """Returns the folders of the runs that were opened, in order; one that was opened again is there again."""
    try:
        return [Path(line["folder"]) for line in read_lines(path)]
    except (OSError, KeyError, json.JSONDecodeError):
        return []
