"""How events travel: rank 0 tells those of its launch, and each rank leaves a file in the folder of its run.

`live.jsonl` in the folder of a launch is for the supervisor, which draws, so that no process that trains has to.
`live/rank-K.json` in the folder of a run is for `harness status --watch`, on whichever machine; it is gone when the
run has ended.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.launching.launch_folder import read_heartbeats
from harness.live.events import Event, Note, RankSeen, RunStarted, as_json, from_json
from harness.records.files import read_file

MESSAGES = "live.jsonl"
FOLDER = "live"


class Messenger:
    """Rank 0's side of a supervised launch: what it is told goes to the supervisor."""

    def __init__(self, launch: Path) -> None:
        self._path = launch / MESSAGES

    def tell(self, event: Event) -> None:
        """Appends an event; a full disk keeps nobody from training."""
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(as_json(event)) + "\n")

    def note(self, text: str) -> None:
        """Appends a sentence."""
        self.tell(Note(text))

    def close(self) -> None:
        """Nothing is held."""


class Launched:
    """The supervisor's side: what the ranks of a launch told since it looked last.

    Attributes:
        run_ids: of the runs that it told of.
    """

    def __init__(self, launch: Path) -> None:
        self.run_ids: set[str] = set()
        self._folder = launch
        self._read = 0
        self._heartbeats: dict[int, dict[str, Any]] = {}

    def news(self) -> Iterator[Event]:
        """Yields what is new: rank 0's messages, then how far each rank is."""
        for event in self._news():
            if not isinstance(event, Note):
                self.run_ids.add(event.run_id)
            yield event

    def _news(self) -> Iterator[Event]:
        try:
            with (self._folder / MESSAGES).open("rb") as file:
                file.seek(self._read)
                content = file.read()
        except OSError:
            content = b""
        whole = content[: content.rfind(b"\n") + 1]  # the last line may still be written
        self._read += len(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                yield from_json(json.loads(line))
        for rank, heartbeat in read_heartbeats(self._folder).items():
            if heartbeat != self._heartbeats.get(rank):
                self._heartbeats[rank] = heartbeat
                yield seen(rank, heartbeat)


def seen(rank: int, heartbeat: dict[str, Any]) -> RankSeen:
    """Returns how far a rank is, from its heartbeat."""
    at = heartbeat.get("at")
    step, phase = (at + 1, "") if isinstance(at, int) else (None, str(at))
    return RankSeen(str(heartbeat.get("run_id")), rank, step, phase, **heartbeat.get("gauges", {}))


def leave_file(run: Path, rank: RankSeen, started: RunStarted) -> None:
    """Writes how far a rank of a run is."""
    # Not atomically: see `Heartbeat.beat`. A run goes on where this cannot be written.
    with contextlib.suppress(OSError):
        folder = run / FOLDER
        folder.mkdir(exist_ok=True)
        (folder / f"rank-{rank.rank}.json").write_text(json.dumps([as_json(started), as_json(rank)]))


def remove_file(run: Path, rank: int) -> None:
    """Removes a rank's file, and the folder with the last one."""
    with contextlib.suppress(OSError):
        (run / FOLDER / f"rank-{rank}.json").unlink(missing_ok=True)
        (run / FOLDER).rmdir()


def read_files(run: Path) -> Iterator[Event]:
    """Yields what the ranks of a run left."""
    for path in sorted((run / FOLDER).glob("rank-*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            for value in json.loads(read_file(path)):
                yield from_json(value)
