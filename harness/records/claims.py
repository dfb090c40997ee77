"""One owner for each run: claims that hold between processes, nodes and on NFS, without locks.

A claim is a file `claims/GENERATION.json` in the folder of a run. It appears whole, and only one process can make it.
Who made the highest generation owns the run. It is free again when its file says that it was released, when its process
is gone, or when its heartbeat, the file's mtime, has stopped; to take it over is to make the next generation. A former
owner that resumes finds a higher generation than its own, and writes nothing more.

A process that was suspended longer than its claim lives finds out at its next step: there it asks whether it still owns
the run, and the disk is looked at if it was not for a while. What it wrote in between carries its generation, by which
readers tell it from the owner's.

The highest generation is never deleted. So whoever acted on an old look at the folder, and made a number that had been
in use before, finds a higher one when it looks again.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import math
import os
import re
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from harness.errors import HarnessError
from harness.records.owning_process import is_seen_to_be_gone, this_process

CLAIMS = "claims"
HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 90.0
WATCH_SECONDS = 25.0  # that a stale heartbeat must not change before its run is taken over: the clock may have been set
CONFIRM_SECONDS = 20.0  # that a look at the disk is believed for: in less than WATCH_SECONDS nobody takes a run over
LITTER_SECONDS = 3600.0
_BOOT_TIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
MOST_BYTES = 1 << 16  # of a claim, which takes a few hundred
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # of file systems without hard links


@dataclass(frozen=True)
class NewestClaim:
    """The newest claim on a run.

    Attributes:
        generation: 0 where there is none.
        record: what its maker wrote; empty where that cannot be read.
        heartbeat: mtime in seconds, by the file system's clock.
    """

    generation: int = 0
    record: dict[str, Any] = field(default_factory=dict)
    heartbeat: float = 0.0


class Claim:
    """A run that this process owns, until it releases it or is taken for dead; use `claim` to get one.

    Attributes:
        generation: its number.
        other_task: the SLURM job that owned the run before, where that is another task of this array; else empty.
    """

    def __init__(self, claims: Path, generation: int, record: dict[str, Any], before: dict[str, Any]) -> None:
        self.generation = generation
        self.other_task = _other_task(record, before)
        self._claims = claims
        self._record = record
        self._path = claims / f"{generation}.json"
        self._ended = threading.Event()
        self._confirmed_at = _clock()
        self._heartbeat = threading.Thread(target=self._write_heartbeats, daemon=True, name=f"claim on {claims.parent}")
        self._heartbeat.start()

    def is_held(self) -> bool:
        """Tells whether this process still owns the run: ask before a result is written. False stays False.

        Raises:
            OSError: the folder cannot be read.
        """
        if self._ended.is_set():
            return False
        looked_at = _clock()
        with contextlib.suppress(OSError), _temporary(self._claims, self._record):
            pass  # an NFS client reads a folder anew after it has changed it
        found = _newest(self._claims)
        if not found.generation and self._claims.exists():
            os.listdir(self._claims)  # noqa: PTH208 - a disk that does not answer looks empty to a glob
        if found.record.get("token") != self._record["token"]:
            self._ended.set()
            return False
        self._confirmed_at = looked_at
        return True

    def seems_held(self) -> bool:
        """Tells the same at each step, for nothing: the disk is looked at where it was not for CONFIRM_SECONDS.

        So it was where this process was suspended. A disk that cannot be read takes nothing away.
        """
        if _clock() - self._confirmed_at < CONFIRM_SECONDS:
            return not self._ended.is_set()
        try:
            return self.is_held()
        except OSError:
            self._confirmed_at = _clock() - CONFIRM_SECONDS / 2  # the next steps do not wait for that disk
            return True

    def release(self) -> None:
        """Sets the run free; does nothing where it was released or lost before."""
        # Where this fails, say on a full disk, the claim is stale when this process ends, or after STALE_SECONDS.
        with contextlib.suppress(OSError):
            if self.is_held():
                self._stop_heartbeat()
                with _temporary(self._claims, {**self._record, "released_at": _now()}) as path:
                    path.replace(self._path)
        self._stop_heartbeat()

    def _stop_heartbeat(self) -> None:
        self._ended.set()
        self._heartbeat.join(HEARTBEAT_SECONDS)

    def _write_heartbeats(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                if self.is_held():
                    os.utime(self._path)  # the server's time, on NFS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def claim(
    folder: Path,
    above: int = 0,
    *,
    others: Iterable[Path] = (),
    note: Callable[[str], object] = lambda text: None,
) -> Claim | None:
    """Makes this process the owner of a run.

    A run whose owner's heartbeat is stale is taken over when this process has seen it unchanged for WATCH_SECONDS.

    Args:
        folder: of the run; it is made where it does not exist.
        above: the generation is higher than this one, too: what records tell that lie without their claims.
        others: folders of runs that may be claimed next: stale heartbeats of theirs are watched at the same time.
        note: takes a sentence before this call waits.

    Returns:
        The claim, or None where another process owns the run, or was faster; see `owner`. Whether the run is done is to
        be asked again then: who owned it before may have ended it.

    Raises:
        HarnessError: the folder cannot be written.
    """
    claims = folder / CLAIMS
    try:
        claims.mkdir(parents=True, exist_ok=True)
        return _claim(claims, above, others, note)
    except OSError as error:
        raise HarnessError(f"cannot write to {folder}: {error.strerror}", "choose another with --output DIR") from None


def owner(folder: Path) -> str | None:
    """Returns e.g. `host n1, pid 123, SLURM job 7, since 2026-01-01T00:00:00+00:00`, or None where nobody owns a run.

    It only reads, and so does not notice that the owner's heartbeat has stopped.
    """
    found = owning_claim(folder)
    if found is None:
        return None
    unnamed = f"{_unnamed(folder / CLAIMS, found)} (hint: delete that file if no process does this run)"
    return _named(found) or unnamed


def owning_claim(folder: Path) -> NewestClaim | None:
    """Returns the claim by which a process owns a run, or None where nobody does; as `owner`, it only reads."""
    found = _newest(folder / CLAIMS)
    return None if _is_given_up(found) else found


def _unnamed(claims: Path, found: NewestClaim) -> str:
    return f"a process that {claims.absolute() / str(found.generation)}.json does not name"


def _named(found: NewestClaim) -> str:
    """Returns who made a claim; an empty text where its record does not say."""
    told = {name: str(value)[:64] for name, value in found.record.items() if value is not None}
    if not {"host", "pid", "claimed_at"} <= told.keys():
        return ""
    job = f", SLURM job {told['slurm_job']}" if told.get("slurm_job") else ""
    words = f"host {told['host']}, pid {told['pid']}{job}, since {told['claimed_at']}"
    return words if words.isprintable() else ascii(words)


def _claim(claims: Path, above: int, others: Iterable[Path], note: Callable[[str], object]) -> Claim | None:
    record = {**this_process(), "claimed_at": _now()}
    with _temporary(claims, record) as path:
        os.utime(path)
        now = path.stat().st_mtime  # by the file system's own clock: nodes may disagree
        found = _newest(claims)
        if not _is_given_up(found):
            if not _is_stale(found, now):
                return None
            _watch(claims, found, now, others, note)
            if _newest(claims) != found:
                return None
        generation = max(found.generation, above) + 1
        with contextlib.suppress(FileExistsError):
            _publish(path, claims / f"{generation}.json")
    # The folder says who won, not the link's answer: that may be to a repeated NFS request, and the generation may be
    # one that others have made, left behind and deleted since this process looked.
    if _newest(claims).record.get("token") != record["token"]:
        return None
    _clean(claims, generation, now)
    return Claim(claims, generation, record, found.record)


def _publish(path: Path, target: Path) -> None:
    """Gives a file another name, unless there is one of it already: FileExistsError."""
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with target.open("xb") as file:  # exclusive as well, but for a moment it is empty
            file.write(path.read_bytes())


def _generation(path: Path) -> int:
    """Returns the generation that a file claims; 0 for one whose name no claim has."""
    return int(path.stem) if re.fullmatch(r"[1-9][0-9]{,99}\.json", path.name) else 0


def _newest(claims: Path) -> NewestClaim:
    while True:
        generation = max(map(_generation, claims.glob("*.json")), default=0)
        if not generation:
            return NewestClaim()
        path = claims / f"{generation}.json"
        content = b""
        try:
            there = path.lstat()
            heartbeat = there.st_mtime
            # No process makes a link that leads nowhere, a folder or a pipe. Another user's file may be hidden.
            with contextlib.suppress(PermissionError):
                if stat.S_ISREG(there.st_mode):
                    with path.open("rb") as file:
                        content, heartbeat = file.read(MOST_BYTES), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:  # there is a newer one now
            time.sleep(0.001)
            continue
        try:
            record = json.loads(content)
        except (ValueError, RecursionError):
            record = None
        return NewestClaim(generation, record if isinstance(record, dict) else {}, heartbeat)


def _is_given_up(found: NewestClaim) -> bool:
    """Tells whether there is no claim, or it was released, or its process is seen to be gone."""
    told = found.record
    if not found.generation or "released_at" in told:
        return True
    return is_seen_to_be_gone(told)  # where that cannot be seen, only the heartbeat tells


def _is_stale(found: NewestClaim, now: float) -> bool:
    return abs(now - found.heartbeat) > STALE_SECONDS


_stale_since: dict[Path, tuple[NewestClaim, float]] = {}
"""Stale claims that this process has seen, and when it first saw each as it is."""


def _watched_seconds(claims: Path, found: NewestClaim) -> float:
    """Returns for how long this process has known a stale claim as it is now; from the first look on, which this is."""
    now = time.monotonic()  # not `_clock`: while this machine is suspended, the owner may be, too
    seen, since = _stale_since.get(claims, (None, now))
    if seen != found:
        _stale_since[claims] = found, (since := now)
    return now - since


def _watch(claims: Path, found: NewestClaim, now: float, others: Iterable[Path], note: Callable[[str], object]) -> None:
    """Waits until a stale claim was watched for WATCH_SECONDS; the first wait begins to watch those of others, too."""
    left = WATCH_SECONDS - _watched_seconds(claims, found)
    if left <= 0:
        return
    who = _named(found) or _unnamed(claims, found)
    note(f"waiting up to {math.ceil(left)} s: the owner, {who}, gives no sign of life")
    end = time.monotonic() + left
    for folder in others:
        if time.monotonic() >= end:  # a slow disk
            return
        with contextlib.suppress(OSError):
            other = _newest(folder / CLAIMS)
            if not _is_given_up(other) and _is_stale(other, now):
                _watched_seconds(folder / CLAIMS, other)
    time.sleep(max(0.0, end - time.monotonic()))


def _clean(claims: Path, generation: int, now: float) -> None:
    """Deletes older generations, and what processes left that were killed while they claimed."""
    for path in claims.iterdir():
        with contextlib.suppress(OSError):
            of_file = _generation(path)
            if of_file < generation if of_file else now - path.lstat().st_mtime > LITTER_SECONDS:
                path.unlink()


@contextlib.contextmanager
def _temporary(claims: Path, record: dict[str, Any]) -> Iterator[Path]:
    path = claims / f".{uuid.uuid4().hex}"
    try:
        path.write_text(json.dumps(record) + "\n")
        yield path
    finally:
        path.unlink(missing_ok=True)


def _other_task(record: dict[str, Any], before: dict[str, Any]) -> str:
    array, _, task = str(record.get("slurm_job")).partition("_")
    array_before, _, task_before = str(before.get("slurm_job")).partition("_")
    is_other = bool(task) and array_before == array and task_before.isdigit() and task_before != task
    return f"{array}_{task_before}" if is_other else ""


def _clock() -> float:
    """Returns seconds that also pass while the machine is suspended."""
    return time.clock_gettime(_BOOT_TIME)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
