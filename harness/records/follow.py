"""Follows runs while they go on: which a process comes to, and what their records have come to since the last look."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.records.events import EVENTS, STARTS, EventFilter
from harness.records.files import MOST_BYTES_OF_LINES, OddFile, append_line, json_lines, open_file
from harness.records.result import RunResult
from harness.records.store import RunFolder

Stage = Literal["begun", "opened", "ended"]
TRACKED_RUNS = "HARNESS_OPENED_RUNS"  # in the environment: the list that the tracker processes of a call read


class _NewLines:
    """The whole lines that a file has got since the last look.

    Attributes:
        made_anew: whether the file was found to be another one at the last look, and was read from its beginning.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.made_anew = False
        self._path = path
        self._read = start

    def __call__(self) -> bytes:
        self.made_anew = False
        try:
            file = open_file(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        with file:
            size = file.seek(0, os.SEEK_END)
            self.made_anew = size < self._read
            self._read = 0 if self.made_anew else self._read
            if size - self._read > MOST_BYTES_OF_LINES:
                raise OddFile(f"{size} bytes: too large for a record")
            file.seek(self._read)
            content = file.read(size - self._read)
        whole = content[: content.rfind(b"\n") + 1]  # the last line may still be written
        self._read += len(whole)
        return whole


class RunFollower:
    """The record of one run.

    Args:
        folder: of the run.
        start: bytes of its events that are of earlier attempts, and are not told.

    Attributes:
        events: all that were read and count, see `harness.records.events`.
        result: None until the run that was begun has ended, and again when it is begun anew.
        problem: why there is none, where a `result.json` does not count.
    """

    def __init__(self, folder: RunFolder, start: int = 0) -> None:
        self.folder = folder
        self.events: list[dict[str, Any]] = []
        self.result: RunResult | None = None
        self.problem = ""
        self._lines = _NewLines(folder.path / EVENTS, start)
        self._filter = EventFilter()
        self._has_begun = False

    def news(self) -> list[dict[str, Any]]:
        """Reads on, and returns the events that are new.

        Raises:
            OddFile, OSError: they cannot be read.
        """
        lines = self._lines()
        if self._lines.made_anew:
            self.events, self._filter = [], EventFilter()
        new = self._filter(lines.splitlines())
        self.events += new
        if any(event["event"] in STARTS for event in new):
            self._has_begun, self.result = True, None
        if self._has_begun and self.result is None:  # before, it would be that of an earlier attempt
            self.result, self.problem = self.folder.read()
        return new


@dataclass(frozen=True)
class OpenedRun:
    """A run that a launch comes to, on rank 0.

    Attributes:
        folder: where it is recorded; it need not exist before the run was opened.
        events_bytes: of its events when rank 0 came to it; what is before is of earlier attempts.
        stage: `begun`: its data are read; `opened`: it is this launch's, and its folder is open; `ended`: its result is
            written, or it was left to another process.
    """

    run_id: str
    folder: RunFolder
    events_bytes: int = 0
    stage: Stage = "begun"


def add_opened_run(path: Path, run: OpenedRun) -> None:
    """Appends how far a launch is with a run to a list.

    Raises:
        OSError: it cannot be written.
    """
    append_line(path, {**vars(run), "folder": str(run.folder.path)})


class NewOpenedRuns:
    """What a list of runs has got since the last look, in order."""

    def __init__(self, path: Path) -> None:
        self._lines = _NewLines(path)

    def __call__(self) -> list[OpenedRun]:
        found = []
        with contextlib.suppress(OSError, ValueError):
            for line in json_lines(self._lines()):
                with contextlib.suppress(KeyError, TypeError):
                    found.append(OpenedRun(**{**line, "folder": RunFolder(Path(line["folder"]))}))
        return found
