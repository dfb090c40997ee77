"""Brings up what W&B has not: the records of a suite's runs, told once more by the code that tells them live."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.counted import counted
from harness.errors import HarnessError
from harness.records.claims import owner
from harness.records.store import RunFolder
from harness.trackers.account import WandbProblem, read_sent, require_key
from harness.trackers.entries import read_entries
from harness.trackers.mirror import RunMirror
from harness.trackers.options import Tracking


@dataclass(frozen=True)
class Synced:
    """How many runs were brought up now, were there already, and are being done."""

    brought: int
    there: int
    at_work: int
    place: str = ""
    left_out: int = 0

    def text(self) -> str:
        """Returns it as a sentence."""
        place = f" to {self.place}" if self.brought else ""
        parts = [f"{counted(self.brought, 'run')} brought up{place}"]
        parts += [f"{self.there} there already"] if self.there else []
        parts += [f"{self.at_work} at work, left to their own tracker process"] if self.at_work else []
        parts += [f"{self.left_out} left out"] if self.left_out else []
        return "; ".join(parts)


def sync(suite_folder: Path, tracking: Tracking, say: Callable[[str], None]) -> Synced:
    """Brings up the runs of a suite that W&B has not, or not as they are now.

    Args:
        say: is given a sentence on each run that was brought up, and on each record that does not count.

    Raises:
        HarnessError: there are no runs, no key, or W&B does not take one; those before it are there, and remembered.
    """
    folders = [RunFolder(path.parent) for path in sorted(suite_folder.glob("*/*/events.jsonl"))]
    if not folders:
        raise HarnessError(f"{suite_folder} has no runs", "run the suite first, or name another --output")
    require_key(os.environ, Path.home())
    waiting, at_work, left_out = [], 0, 0
    for folder in folders:
        if owner(folder.path):
            at_work += 1
            continue
        try:
            if _is_missing(folder, tracking):
                waiting.append(folder)
        except (OSError, ValueError) as error:
            say(f"left out {folder.path}: {error}")
            left_out += 1
    place = _bring_up(waiting, tracking, say) if waiting else ""
    return Synced(len(waiting), len(folders) - at_work - left_out - len(waiting), at_work, place, left_out)


def _is_missing(folder: RunFolder, tracking: Tracking) -> bool:
    """Tells whether W&B has not answered yet that it has this run, as it is now, in this place."""
    entries, known = read_entries(folder), read_sent(folder)
    if entries is None:
        return False
    if (known.get("id"), known.get("digest")) != (entries.id, entries.digest()):
        return True
    return known.get("project") != tracking.project or bool(tracking.entity and known.get("entity") != tracking.entity)


def _bring_up(folders: list[RunFolder], tracking: Tracking, say: Callable[[str], None]) -> str:
    from harness.trackers.weights_and_biases import WandbRun, server_address

    place = ""
    for done, folder in enumerate(folders):
        mirror = RunMirror(folder, lambda entries, folder: WandbRun(entries, folder, tracking))
        try:
            mirror.advance(to_the_end=True)
        except WandbProblem as problem:
            left = f"; brought up: {done} of {counted(len(folders), 'run')}" if done else ""
            raise WandbProblem(problem.message, problem.hint + left) from None
        assert isinstance(mirror.tracker, WandbRun)
        place = f"{server_address()}, {mirror.tracker.path}"
        say(f"brought up {folder.path.parent.name} {folder.path.name}")
    return place
