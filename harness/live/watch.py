"""A suite that other processes run, on whichever machines: what their records and files tell, again and again."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from rich.console import Console

from harness.errors import HarnessError
from harness.launching.slurm.submission import read_queue
from harness.launching.status import suite_status
from harness.live.draw import draw
from harness.live.follow import LiveRun
from harness.live.state import RunEnded, SuiteState
from harness.live.view import Screen, can_draw
from harness.records.claims import owner
from harness.records.follow import OpenedRun
from harness.records.read import names_in
from harness.records.result import FINAL
from harness.records.store import RunFolder
from harness.suite.plan import Plan

LOOK_SECONDS = 5.0
IDLE_LOOKS = 3  # at which no run goes on, before the suite is taken for stopped: the next one may be about to begin


class Watched:
    """The states of a suite, one for each system that has begun a run of it.

    Args:
        plan: the runs.
        output: the results root.

    Attributes:
        states: by system_id.
    """

    def __init__(self, plan: Plan, output: Path) -> None:
        self._plan = plan
        self._suite = output / plan.suite.name
        self._done: set[tuple[str, str]] = set()
        self._followed: dict[tuple[str, str], LiveRun] = {}
        self._idle_looks = 0
        self.states: dict[str, SuiteState] = {}

    def look(self) -> list[SuiteState]:
        """Reads what is new."""
        for run in self._plan.runs:
            for system_id in names_in(self._suite / run.run_id):
                if (run.run_id, system_id) not in self._done:
                    self._look_at(run.run_id, system_id)
        several = len(self.states) > 1
        for state in self.states.values():
            state.system = state.system if several else ""
        self._idle_looks = 0 if any(state.current for state in self.states.values()) else self._idle_looks + 1
        return list(self.states.values()) or [SuiteState(self._plan.suite.name, self._plan.runs)]

    def goes_on(self) -> bool:
        """Tells whether a run goes on, or some are open and the next one may be about to begin."""
        counts = [state.counts() for state in self.states.values()]
        return any(each["running"] or (each["open"] and self._idle_looks < IDLE_LOOKS) for each in counts)

    def _look_at(self, run_id: str, system_id: str) -> None:
        folder = RunFolder(self._suite / run_id / system_id)
        result, why = folder.read()
        who = None if result else owner(folder.path)
        if why and not who and system_id not in self.states:  # `harness status` names it
            return
        if system_id not in self.states:
            self.states[system_id] = SuiteState(self._plan.suite.name, self._plan.runs, system_id)
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


def watch(plan: Plan, output: Path, console: Console) -> None:
    """Shows a suite until nothing of it is queued or runs; where there is no terminal, once, as text.

    Raises:
        HarnessError: the queue cannot be asked.
    """
    queue = read_queue(output, plan.suite.name)  # before the records: what ends in between is seen as done
    if can_draw(console):
        watched = Watched(plan, output)
        states, note = watched.look(), queue.text()
        with (
            Screen(console, lambda width, height: draw(states, width, height, note), transient=True) as screen,
            contextlib.suppress(KeyboardInterrupt),
        ):
            while queue.tasks or watched.goes_on():
                screen.refresh()
                time.sleep(LOOK_SECONDS)
                try:
                    queue = read_queue(output, plan.suite.name)
                    note = queue.text()
                except HarnessError as error:  # a busy controller: it answers again
                    note = f"the queue as it was before: {error.message}"
                states = watched.look()
        queue = read_queue(output, plan.suite.name)
    text = f"{suite_status(plan, output).text()}\n  {queue.text()}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
