"""Follows runs while they go on, by what lies on disk: their records, and the heartbeats of their ranks.

A run's record tells what it has come to, see `harness.records.follow`. How far it is between two epochs is in the
heartbeats, see `harness.launching.heartbeat`: those of a supervised launch in its folder, and for whoever watches from
elsewhere in that of the run.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.launching.heartbeat import LIVE, read_heartbeats
from harness.launching.launch_folder import OPENED_RUNS
from harness.live.events import EpochEnded, Event, RankSeen, RunEnded, RunLeft, RunStarted
from harness.records.events import STARTS
from harness.records.follow import NewOpenedRuns, OpenedRun, RunFollower


class LiveRun:
    """One run.

    Args:
        run: what is known of it when it is opened.
        heartbeats: whether to look for those in its folder.

    Attributes:
        has_ended: whether its result was told.
    """

    def __init__(self, run: OpenedRun, *, heartbeats: bool = True) -> None:
        self.has_ended = False
        self._run_id = run.run_id
        self._record = RunFollower(run.folder, run.events_bytes)
        self._heartbeats = _NewHeartbeats(run.folder.path / LIVE) if heartbeats else None

    def news(self) -> Iterator[Event]:
        """Yields what is new; lines that are not what they should be tell nothing."""
        with contextlib.suppress(OSError, ValueError):
            for event in self._record.news():
                with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                    yield from self._told(event)
        result = self._record.result
        if result and not self.has_ended:
            yield RunEnded.of(result)
        self.has_ended = result is not None
        if self._heartbeats and not result:
            yield from (seen(rank, {**beat, "run_id": self._run_id}) for rank, beat in self._heartbeats())

    def _told(self, event: Mapping[str, Any]) -> Iterator[Event]:
        if event["event"] in STARTS:
            planned = event["steps"], event["epochs"], event["samples_per_epoch"]
            yield RunStarted(self._run_id, *planned, datetime.datetime.fromisoformat(event["at"]).timestamp())
        elif event["event"] == "epoch":
            metrics = event["metrics"]
            accuracy = metrics.get("test", {}).get("accuracy")
            seconds = event["train_seconds"], event["wait_seconds"]
            yield EpochEnded(self._run_id, event["epoch"] + 1, metrics["train"]["loss"], accuracy, *seconds)


class LaunchFollower:
    """The runs of a launch, as rank 0 comes to them.

    Args:
        launch: its folder; None where there is none, and `take` is given the runs.
    """

    def __init__(self, launch: Path | None = None) -> None:
        self._new_runs = NewOpenedRuns(launch / OPENED_RUNS) if launch else None
        self._heartbeats = _NewHeartbeats(launch) if launch else None
        self._listed: set[str] = set()
        self._runs: dict[str, LiveRun] = {}

    def news(self) -> Iterator[Event]:
        """Yields what is new."""
        for opened in self._new_runs() if self._new_runs else ():
            yield from self.take(opened)
        for run in self._runs.values():
            yield from run.news()
        if self._heartbeats:
            yield from (seen(rank, beat) for rank, beat in self._heartbeats())

    def take(self, opened: OpenedRun) -> Iterator[Event]:
        """Follows a run from here on, or yields what is left to tell of one that is over."""
        if opened.run_id not in self._listed:  # else in a list that was made anew
            self._listed.add(opened.run_id)
            self._runs[opened.run_id] = LiveRun(opened, heartbeats=self._heartbeats is None)
        if opened.stage == "ended" and (run := self._runs.pop(opened.run_id, None)):
            yield from run.news()
            if not run.has_ended:
                yield RunLeft(opened.run_id)

    @property
    def run_ids(self) -> set[str]:
        """Of the runs that it has come to and not ended."""
        return set(self._runs)


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
