"""`harness run` of a race: the runs until the next look, what it decides, and so on until it is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.counted import counted
from harness.results.race import ENDED, RaceState
from harness.results.race_text import look_sentences, next_text
from harness.suite.plan import Plan, PlannedRun

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
    state = RaceState.begin(plan, output)
    say(f"{state.race.text()}; race {state.race.race_id}")
    if state.start.earlier and not state.looks:
        earlier = counted(len(state.start.earlier), "run")
        say(f"{earlier} of this plan began before this race: what is decided with them is exploratory")
    for sentence in look_sentences(state):
        say(sentence)
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
        for sentence in look_sentences(state):
            say(sentence)
    return 0 if all(result.status == "ok" for result in state.results(state.possible(runs))) else 1


def decide_ready(state: RaceState, runs: Sequence[PlannedRun], say: Say) -> RaceState:
    """Makes the looks whose runs have all ended, as those of an array of SLURM; returns the race behind them."""
    while not state.ended and (following := state.look(runs)) is not state:
        state = following
        for sentence in look_sentences(state):
            say(sentence)
    return state
