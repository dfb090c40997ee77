"""Follows runs while they go on, by what lies on disk: their records, and the heartbeats of their ranks.

A run's `events.jsonl` and `result.json` tell what it has come to. How far it is between two epochs is in the
heartbeats: once a second in the folder of a supervised launch, and for whoever watches from elsewhere every few seconds
in `live/rank-K.json` in the folder of the run, which is gone when the run has ended.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.launching.launch_folder import OPENED_RUNS, OpenedRun, opened_runs, read_heartbeats
from harness.live.events import EpochEnded, Event, RankSeen, RunEnded, RunLeft, RunStarted
from harness.records.events import EVENTS, STARTS
from harness.records.files import json_lines, open_file
from harness.records.store import RunFolder

HEARTBEATS = "live"


class _NewLines:
    """The whole JSON lines that a file has got since the last look."""

    def __init__(self, path: Path, start: int = 0) -> None:
        self._path = path
        self._read = start

    def __call__(self) -> list[dict[str, Any]]:
        content = b""
        with contextlib.suppress(OSError, ValueError), open_file(self._path) as file:
            if file.seek(0, os.SEEK_END) < self._read:  # it was made again
                self._read = 0
            file.seek(self._read)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]  # the last line may still be written
        self._read += len(whole)
        return json_lines(whole)


class RunFollower:
    """One run.

    Args:
        folder: of the run.
        run_id, name: of the run; see `harness.suite.plan.PlannedRun.name`.
        start: bytes of its events that are of earlier attempts.
        heartbeats: whether to look for those in its folder.

    Attributes:
        has_ended: whether its result was told.
    """

    def __init__(self, folder: RunFolder, run_id: str, name: str, start: int = 0, *, heartbeats: bool = True) -> None:
        self.has_ended = False
        self._folder, self._run_id, self._name = folder, run_id, name
        self._lines = _NewLines(folder.path / EVENTS, start)
        self._heartbeats = _NewHeartbeats(folder.path / HEARTBEATS) if heartbeats else None
        self._generation = 0
        self._result_is_due = False

    def news(self) -> Iterator[Event]:
        """Yields what is new; lines that are not what they should be, or of a former owner, tell nothing."""
        for line in self._lines():
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                yield from self._event(line)
        if self._result_is_due and (result := self._folder.result()):  # it is written after the event
            self._result_is_due, self.has_ended = False, True
            yield RunEnded.of(result, self._name)
        elif self._heartbeats and not self.has_ended:
            yield from (seen(rank, {**beat, "run_id": self._run_id}) for rank, beat in self._heartbeats())

    def _event(self, line: Mapping[str, Any]) -> Iterator[Event]:
        generation, kind = line.get("generation", 0), line["event"]
        if generation < self._generation:
            return
        self._generation = generation
        if kind in STARTS:
            self._result_is_due = self.has_ended = False
            planned = line["steps"], line["epochs"], line["samples_per_epoch"]
            at = datetime.datetime.fromisoformat(line["at"]).timestamp()
            yield RunStarted(self._run_id, self._name, *planned, at)
        elif kind == "epoch":
            metrics = line["metrics"]
            accuracy = metrics.get("test", {}).get("accuracy")
            seconds = line["train_seconds"], line["wait_seconds"]
            yield EpochEnded(self._run_id, line["epoch"] + 1, metrics["train"]["loss"], accuracy, *seconds)
        elif kind == "run_ended":
            self._result_is_due = True


class LaunchFollower:
    """The runs of a supervised launch, as rank 0 comes to them.

    Args:
        launch: its folder.
        names: of the runs, by run_id.
    """

    def __init__(self, launch: Path, names: Mapping[str, str]) -> None:
        self._names = names
        self._lines = _NewLines(launch / OPENED_RUNS)
        self._heartbeats = _NewHeartbeats(launch)
        self._listed: set[str] = set()
        self._runs: dict[str, RunFollower] = {}

    def news(self) -> Iterator[Event]:
        """Yields what is new."""
        for line in self._lines():
            if "folder" in line:
                [opened] = opened_runs([line])
                if opened.run_id not in self._listed:  # again where the folder was made anew
                    self._runs[opened.run_id] = self._follower(opened)
                self._listed.add(opened.run_id)
            elif self._runs:
                yield from self._run_is_over()
        for run in self._runs.values():
            yield from run.news()
        yield from (seen(rank, beat) for rank, beat in self._heartbeats())

    @property
    def run_ids(self) -> set[str]:
        """Of the runs that it has come to and not ended."""
        return set(self._runs)

    def _follower(self, opened: OpenedRun) -> RunFollower:
        name = self._names.get(opened.run_id, opened.run_id)
        return RunFollower(opened.folder, opened.run_id, name, opened.events_bytes, heartbeats=False)

    def _run_is_over(self) -> Iterator[Event]:
        """The last run: its result is written, or the run was left to another process."""
        run_id, run = self._runs.popitem()
        yield from run.news()
        if not run.has_ended:
            yield RunLeft(run_id)


class _NewHeartbeats:
    """The heartbeats in a folder that have changed since the last look, by rank."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before: dict[int, dict[str, Any]] = {}

    def __call__(self) -> list[tuple[int, dict[str, Any]]]:
        now = read_heartbeats(self._folder)
        new = [(rank, beat) for rank, beat in now.items() if beat != self._before.get(rank)]
        self._before = now
        return new


def seen(rank: int, beat: Mapping[str, Any]) -> RankSeen:
    """Returns how far a rank is, from its heartbeat."""
    at = beat.get("at")
    step, phase = (at + 1, "") if isinstance(at, int) else (None, str(at))
    return RankSeen(str(beat.get("run_id")), rank, step, phase, **beat.get("gauges", {}))


def write_heartbeat(run: Path, rank: int, beat: Mapping[str, Any]) -> None:
    """Writes how far a rank of a run is, into the folder of the run."""
    # Not atomically: see `Heartbeat.beat`. A run goes on where this cannot be written.
    with contextlib.suppress(OSError):
        folder = run / HEARTBEATS
        folder.mkdir(exist_ok=True)
        (folder / f"rank-{rank}.json").write_text(json.dumps(beat))


def remove_heartbeat(run: Path, rank: int) -> None:
    """Removes a rank's heartbeat, and their folder with the last one."""
    with contextlib.suppress(OSError):
        (run / HEARTBEATS / f"rank-{rank}.json").unlink(missing_ok=True)
        os.rmdir(run / HEARTBEATS)  # noqa: PTH106 - it may not be empty
