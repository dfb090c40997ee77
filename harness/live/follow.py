"""Follows runs while they go on, by what lies on disk: their records, and the heartbeats of their ranks.

A run's record tells what it has come to, see `harness.records.follow`. How far it is between two epochs is in the
heartbeats, see `harness.launching.launch_folder`: those of a supervised launch in its folder, and for whoever watches
from elsewhere in that of the run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.launching.launch_folder import LIVE, OPENED_RUNS, read_heartbeats
from harness.live.current_run import RankSeen
from harness.live.state import RunEnded, SuiteState
from harness.records.follow import NewOpenedRuns, OpenedRun, RunFollower


class LiveRun:
    """One run.

    Args:
        run: what is known of it when it is opened.
        state: of its suite.
        heartbeats: whether to look for those in its folder.

    Attributes:
        has_ended: whether its result was told.
    """

    def __init__(self, run: OpenedRun, state: SuiteState, *, heartbeats: bool = True) -> None:
        self.has_ended = False
        self._run_id, self._state = run.run_id, state
        self._record = RunFollower(run.folder, run.events_bytes)
        self._heartbeats = _NewHeartbeats(run.folder.path / LIVE) if heartbeats else None

    def look(self) -> Iterator[RunEnded]:
        """Brings the state up to what is new, and yields the end, once; what is not as it should be tells nothing."""
        with contextlib.suppress(OSError, ValueError):
            for event in self._record.news():
                with contextlib.suppress(KeyError, TypeError, AttributeError):
                    self._state.take(self._run_id, event)
        result = self._record.result
        if result and not self.has_ended:
            yield RunEnded.of(result)
        self.has_ended = result is not None
        if self._heartbeats and not result:
            for rank, beat in self._heartbeats():
                self._state.see(self._run_id, rank, RankSeen.of(beat, time.time()))


class LaunchFollower:
    """The runs of a launch, as rank 0 comes to them.

    Args:
        state: of the suite.
        launch: its folder; None where there is none, and `take` is given the runs.
    """

    def __init__(self, state: SuiteState, launch: Path | None = None) -> None:
        self._state = state
        self._new_runs = NewOpenedRuns(launch / OPENED_RUNS) if launch else None
        self._heartbeats = _NewHeartbeats(launch) if launch else None
        self._runs: dict[str, LiveRun] = {}

    def look(self) -> Iterator[RunEnded]:
        """Brings the state up to what is new, and yields the ends of runs."""
        for opened in self._new_runs() if self._new_runs else ():
            yield from self.take(opened)
        for run in self._runs.values():
            yield from run.look()
        for rank, beat in self._heartbeats() if self._heartbeats else ():
            self._state.see(str(beat.get("run_id")), rank, RankSeen.of(beat, time.time()))

    def take(self, opened: OpenedRun) -> Iterator[RunEnded]:
        """Follows a run from here on; of one that is over, yields its end, or forgets it where it is another's."""
        if opened.stage != "ended":
            if opened.run_id not in self._runs:
                run = LiveRun(opened, self._state, heartbeats=self._heartbeats is None)
                self._runs[opened.run_id] = run
        elif run := self._runs.pop(opened.run_id, None):
            yield from run.look()
            self._state.current.pop(opened.run_id, None)

    def forget(self) -> None:
        """Forgets the runs that have not ended: their launch has."""
        for run_id in self._runs:
            self._state.current.pop(run_id, None)


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
