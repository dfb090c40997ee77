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
from typing import TYPE_CHECKING, Any

from harness.launching.launch_folder import LIVE, read_heartbeats
from harness.live.current_run import RankSeen
from harness.live.state import RunEnded, SuiteState
from harness.records.claims import owner
from harness.records.follow import OpenedRun, RunFollower
from harness.records.read import names_in
from harness.records.result import FINAL
from harness.records.store import RunFolder
from harness.suite.plan import Plan, PlannedRun

if TYPE_CHECKING:
    from harness.live.race import RaceBlock

IDLE_LOOKS = 3  # at which no run goes on, before a suite is taken for stopped: the next one may be about to begin


class LiveRun:
    """One run.

    Args:
        launch: the folder of its launch, where its ranks write their heartbeats; None for the run's own.

    Attributes:
        has_ended: whether its result was told.
    """

    def __init__(self, run: OpenedRun, state: SuiteState, launch: Path | None = None) -> None:
        self.has_ended = False
        self.launch = launch
        self._run_id, self._state = run.run_id, state
        self._record = RunFollower(run.folder, run.events_bytes)
        self._heartbeats = launch or run.folder.path / LIVE
        self._seen: dict[int, list[Any]] = {}

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
        for rank, beat in read_heartbeats(self._heartbeats).items() if not result else ():
            told = [beat.get(name) for name in ("run_id", "at", "gauges")]
            if told != self._seen.get(rank) and beat.get("run_id") == self._run_id:
                self._state.see(self._run_id, rank, RankSeen.of(beat, time.time()))
            self._seen[rank] = told


class Watched:
    """A suite that other processes run, on whichever machines: a state for each system that has begun a run of it.

    Attributes:
        states: by system_id.
    """

    def __init__(self, plan: Plan, output: Path) -> None:
        self._plan = plan
        self._suite = output / plan.suite.name
        self._done: set[tuple[str, str]] = set()
        self._followed: dict[tuple[str, str], LiveRun] = {}
        self._idle_looks = 0
        self._output = output
        self._race: RaceBlock | None = None
        self.states: dict[str, SuiteState] = {}

    def look(self) -> list[SuiteState]:
        """Reads what is new.

        Raises:
            HarnessError: a file of a race cannot be read.
        """
        if self._plan.race:
            from harness.live.race import RaceBlock  # ranks import this file, and a race is no concern of theirs

            self._race = RaceBlock.of(self._plan, self._output, self._plan.runs)
        for run in self._runs():
            for system_id in names_in(self._suite / run.run_id):
                if (run.run_id, system_id) not in self._done:
                    self._look_at(run.run_id, system_id)
        several = len(self.states) > 1
        for state in self.states.values():
            state.system = state.system if several else ""
            state.race, state.planned = self._race, {run.run_id: run for run in self._runs()}
        self._idle_looks = 0 if any(state.current for state in self.states.values()) else self._idle_looks + 1
        return list(self.states.values()) or [self._state()]

    def goes_on(self) -> bool:
        """Tells whether a run goes on, or some are open and the next one may be about to begin."""
        counts = [state.counts() for state in self.states.values()]
        return any(each["running"] or (each["open"] and self._idle_looks < IDLE_LOOKS) for each in counts)

    def _runs(self) -> tuple[PlannedRun, ...]:
        """Returns the runs that are there or may still be."""
        return self._race.possible if self._race else self._plan.runs

    def _state(self, system_id: str = "") -> SuiteState:
        return SuiteState(self._plan.suite.name, self._runs(), system_id, self._race)

    def _look_at(self, run_id: str, system_id: str) -> None:
        folder = RunFolder(self._suite / run_id / system_id)
        result, why = folder.read()
        who = None if result else owner(folder.path)
        if why and not who and system_id not in self.states:  # `harness status` names it
            return
        if system_id not in self.states:
            self.states[system_id] = self._state(system_id)
        state = self.states[system_id]
        if result:
            state.end(RunEnded.of(result))
            if result.status in FINAL:
                self._done.add((run_id, system_id))
        else:
            state.ended.pop(run_id, None)
        if who is None:  # should it go on, its record is read from its beginning
            self._followed.pop((run_id, system_id), None)
            state.current.pop(run_id, None)
            return
        if (run_id, system_id) not in self._followed:
            self._followed[run_id, system_id] = LiveRun(OpenedRun(run_id, folder), state)
        for ended in self._followed[run_id, system_id].look():
            state.end(ended)
        if run_id in state.current:
            host = who.partition(",")[0].removeprefix("host ")
            state.current[run_id].where = host if who.startswith("host ") else "unknown"
