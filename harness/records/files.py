"""Files that are whole or absent, and lines that survive a crash."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from harness.errors import HarnessError

FREE_BYTES = 1 << 16
MOST_BYTES_OF_LINES = 1 << 30  # of a run's events: a million epochs
MOST_BYTES = 64 << 20  # of a file that is read into memory; the largest records that were seen have a hundredth of it
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class OddFile(ValueError):
    """What lies in the place of a record is no file, or too large for one; the message says what it is."""


def open_file(path: Path | str) -> IO[bytes]:
    """Opens a regular file to read it; a link to one is followed.

    Raises:
        OddFile: it is a directory, a FIFO, a device or a socket. None of them is waited for.
        OSError: there is none, or it cannot be read.
    """
    return os.fdopen(_open_regular(path)[0], "rb")


def require_no_odd_file(path: Path | str) -> None:
    """Checks that a path is a regular file, a link to one, or nothing; it is not opened.

    Raises:
        OddFile: it is something else.
        OSError: it cannot be looked at.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - of 10,000 records
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OddFile(_odd(mode))


def read_file(path: Path | str, most_bytes: int = MOST_BYTES) -> bytes:
    """Reads a regular file.

    Raises:
        OddFile: as `open_file`, or it is larger than `most_bytes`.
        OSError: there is none, or it cannot be read.
    """
    handle, size = _open_regular(path)
    try:
        if size > most_bytes:
            raise OddFile(f"{size} bytes: too large for a record")
        content = os.read(handle, size + 1)
        if len(content) == size:
            return content
        parts, total = [content], len(content)  # it grows, or is longer than one call reads
        while total <= most_bytes and (part := os.read(handle, max(size - total, 1 << 16))):
            parts.append(part)
            total += len(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def read_end(path: Path | str, most_bytes: int) -> bytes:
    """Reads the last bytes of a regular file.

    Raises:
        OddFile, OSError: as `open_file`.
    """
    handle, size = _open_regular(path)
    try:
        return os.pread(handle, most_bytes, max(0, size - most_bytes))
    finally:
        os.close(handle)


def read_object(path: Path | str) -> dict[str, Any]:
    """Reads a JSON object; a nested number may be anything.

    Raises:
        ValueError: it is no JSON object, or as `read_file`.
        OSError: as `read_file`.
    """
    from pydantic_core import from_json  # in a third of the time of `json`, and without its RecursionError

    content = read_file(path)
    try:
        value = from_json(content)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError("not a whole JSON object")
    return value


def _odd(mode: int) -> str:
    return f"{_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file"


def _open_regular(path: Path | str) -> tuple[int, int]:
    """Returns the descriptor of a regular file and its size in bytes."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # of a socket
            raise OddFile("a socket, not a file") from None
        raise
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise OddFile(_odd(status.st_mode))
    return handle, status.st_size


def write_atomically(
    path: Path, write: Callable[[IO[bytes]], object], before: Callable[[], object] = lambda: None
) -> None:
    """Writes a file that readers see whole or not at all, also after a power cut; its mode is the umask's.

    Args:
        path: the file; its folder exists.
        write: is given a binary file to write to.
        before: is called when all is on the disk, just before readers see it; what it raises leaves the old file.

    Raises:
        OSError: it cannot be written, or another process has called `cancel_writes`.
    """
    temporary = _temporary(path)  # not by `tempfile`, whose mode is always 0600
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        before()
        try:
            temporary.replace(path)
        except FileNotFoundError:  # it was cancelled since
            before()
            raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def cancel_writes(path: Path) -> None:
    """Makes each `write_atomically` of a file that has begun by now fail; what has ended stays.

    Raises:
        OSError: the folder cannot be written.
    """
    if not path.parent.is_dir():
        return
    own = _temporary(path)
    own.touch()  # an NFS client reads a folder anew after it has changed it
    for begun in (own, *path.parent.glob(f".{path.name}.*")):
        begun.unlink(missing_ok=True)


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


def write_json(path: Path, value: Any, before: Callable[[], object] = lambda: None) -> None:
    """Writes JSON atomically; `before` as in `write_atomically`."""
    write_atomically(path, lambda file: file.write((json.dumps(value, indent=1) + "\n").encode()), before)


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
    """Returns the whole JSON lines of a file; torn ones are left out.

    Raises:
        OddFile, OSError: as `read_file`.
    """
    return json_lines(read_file(path, MOST_BYTES_OF_LINES))


def json_lines(content: bytes) -> list[dict[str, Any]]:
    """Returns the JSON objects of the lines; torn ones are left out."""
    from pydantic_core import from_json  # in a third of the time of `json`; a report reads all epochs of all runs

    lines = []
    for line in content.splitlines():
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
