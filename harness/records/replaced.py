"""Records that a run left before it was trained again: `replaced/1`, `replaced/2`, ... in its folder.

Each holds what the run had left when it was set aside, and its events until then. The run's own `events.jsonl` stays
and goes on, so that attempts are counted over all of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.records.claims import CLAIMS
from harness.records.files import sync_folder

REPLACED = "replaced"
EVENTS = "events.jsonl"
# What is no part of a record: who owns the run, who watches it, where it was sent.
_STAYS = {CLAIMS, REPLACED, "live", "trackers"}


def times_replaced(folder: Path) -> int:
    """Returns how many records of a run were set aside."""
    try:
        return sum(name.isdigit() for name in os.listdir(folder / REPLACED))  # noqa: PTH208 - names are all it takes
    except (FileNotFoundError, NotADirectoryError):
        return 0


def keep(folder: Path, number: int) -> None:
    """Copies the record of a run to `replaced/NUMBER`, whole or not at all; one that is there is left as it is.

    Only the owner of the run may.

    Raises:
        OSError: it cannot be written.
    """
    parent = folder / REPLACED
    target, unfinished = parent / str(number), parent / f".{number}"
    if target.exists():  # this process, or an owner before it, came no further
        return
    parent.mkdir(exist_ok=True)
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir()
    for path in _own(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, unfinished / path.name, symlinks=True, copy_function=_link)
        else:
            _link(path, unfinished / path.name)
    if (folder / EVENTS).is_file():
        shutil.copy2(folder / EVENTS, unfinished / EVENTS)  # which grows: no link
    sync_folder(unfinished)
    unfinished.rename(target)
    sync_folder(parent)


def clear(folder: Path) -> None:
    """Removes from the folder of a run what `keep` has copied; the result first, as all else is said to be its.

    Raises:
        OSError: it cannot be removed.
    """
    (folder / "result.json").unlink(missing_ok=True)
    for path in _own(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _own(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name not in _STAYS and path.name != EVENTS and not path.name.startswith("."):
            yield path


def _link(source: str | Path, target: str | Path) -> None:
    """Gives a file a second name, as records are never written in place; where that cannot be, copies it."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
