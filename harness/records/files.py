"""Files that are whole or absent, and lines that survive a crash."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from harness.errors import HarnessError

FREE_BYTES = 1 << 16


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a file that readers see whole or not at all, also after a power cut; its mode is the umask's.

    Args:
        path: the file; its folder exists.
        write: is given a binary file to write to.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # not by `tempfile`, whose mode is always 0600
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_synced(path: Path, content: bytes) -> None:
    """Writes a new file through to the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes what was renamed in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically."""
    write_atomically(path, lambda file: file.write((json.dumps(value, indent=1) + "\n").encode()))


def append_line(path: Path, value: Any) -> None:
    """Appends one JSON line; a torn line that a crash left behind is closed first."""
    line = json.dumps(value, separators=(",", ":")) + "\n"
    with path.open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the whole JSON lines of a file; torn ones are left out."""
    from pydantic_core import from_json  # in a third of the time of `json`; a report reads all epochs of all runs

    lines = []
    for line in path.read_bytes().splitlines():
        try:
            value = from_json(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines


@contextlib.contextmanager
def recording(folder: Path) -> Iterator[None]:
    """Wraps what writes a part of a run's record.

    Raises:
        HarnessError: it cannot be written: the disk is full, say. What was there is whole, and the run stays open.
    """
    try:
        yield
    except OSError as error:
        hint = "see to the disk: the same command goes on from here, or anew with --output DIR"
        raise HarnessError(f"cannot write to {folder}: {error.strerror or error}", hint) from None


def require_writable(folder: Path) -> None:
    """Makes the folder and writes a file into it, as large as the records of a run are at least.

    Raises:
        HarnessError: it cannot be made or written, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(FREE_BYTES))
    except OSError as error:
        raise HarnessError(f"cannot write to {folder}: {error.strerror}", "choose another with --output DIR") from None
