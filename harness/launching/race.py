"""A race: the runs until the next look, what it decides, and so on until it is over.

`harness run` does the runs itself; `harness submit` submits them, and those until the next look when they have ended.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.counted import counted
from harness.errors import HarnessError
from harness.launching.slurm.submission import Draft, read_queue
from harness.results.race import ENDED, RaceState
from harness.results.race_text import look_sentences, next_text
from harness.suite.plan import Plan, PlannedRun

LOOK_SECONDS = 10.0  # between two looks at the queue
Say = Callable[[str], object]


def run_race(
    plan: Plan,
    output: Path,
    runs: Sequence[PlannedRun],
    launch: Callable[[tuple[PlannedRun, ...]], int],
    say: Say,
) -> int:
    """Runs a race from where it stands.

    Args:
        plan: of the suite.
        output: the results root.
        runs: of the plan, as they are to be trained.
        launch: does what is open of some runs, and returns the exit code of `run_suite`.
        say: takes a sentence for a person.

    Returns:
        As `run_suite`.
    """
    state = _begin(plan, output, say)
    while due := state.due(runs):
        say(next_text(state, due))
        code = launch(due)
        if code not in (0, 1):
            return code
        if missing := len(due) - sum(result.status in ENDED for result in state.results(due)):
            where = "the fresh seeds wait" if state.ended else f"look {len(state.looks) + 1} waits"
            say(f"{where} for {counted(missing, 'run')} without a result: the same command tries them again")
            return 1
        if state.ended:
            break
        state = state.look(runs)
        _say_look(state, say)
    return 0 if all(result.status == "ok" for result in state.results(state.possible(runs))) else 1


def submit_rounds(
    plan: Plan, output: Path, send: Callable[[Plan], Draft], say: Say, *, begin: bool = True, follow: bool = False
) -> Draft | None:
    """Makes the looks whose runs have ended, and submits the runs until the next one.

    Args:
        plan, output: as `run_race`.
        send: submits what is open of a plan and is not in the queue.
        say: takes a sentence for a person.
        begin: whether the race begins with this call, if it has not.
        follow: whether to stay and do so until the race is over.

    Returns:
        The last submission; None where the race is over.

    Raises:
        HarnessError: SLURM refuses, a file cannot be read, or, with `follow`, a round ended without all its results.
    """
    state, sent, draft = _begin(plan, output, say, write=begin), "", None
    while True:
        while not state.ended and (following := state.look(plan.runs)) is not state:  # its runs have all ended
            state = following
            _say_look(state, say)
        due = state.due(plan.runs)
        missing = len(due) - sum(result.status in ENDED for result in state.results(due))
        if not missing:
            return draft
        say(next_text(state))
        if next_text(state) == sent:
            message = f"{counted(missing, 'run')} of the race ended without a result"
            raise HarnessError(message, "see why: harness status SUITE; the same `harness submit` tries them again")
        sent, draft = next_text(state), send(dataclasses.replace(plan, runs=due))
        if not follow:
            return draft
        while read_queue(output, plan.suite.name).tasks:
            time.sleep(LOOK_SECONDS)


def _begin(plan: Plan, output: Path, say: Say, *, write: bool = True) -> RaceState:
    state = RaceState.begin(plan, output, write=write)
    say(f"{state.race.text()}; race {state.race.race_id}")
    if write and state.start.earlier and not state.looks:
        earlier = counted(len(state.start.earlier), "run")
        say(f"{earlier} of this plan began before this race: what is decided with them is exploratory")
    _say_look(state, say)
    return state


def _say_look(state: RaceState, say: Say) -> None:
    for sentence in look_sentences(state):
        say(sentence)
