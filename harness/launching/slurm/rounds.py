"""`harness submit` of a race: the runs until its next look are one submission, the next one follows when they ended."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.counted import counted
from harness.errors import HarnessError
from harness.launching.race import decide_ready
from harness.launching.slurm.submission import Draft, read_queue
from harness.results.race import ENDED, RaceState
from harness.results.race_text import look_sentences, next_text
from harness.suite.plan import Plan

LOOK_SECONDS = 10.0


def submit_rounds(
    plan: Plan, output: Path, send: Callable[[Plan], Draft], *, begin: bool = True, follow: bool = False
) -> Draft | None:
    """Makes the looks whose runs have ended, and submits the runs until the next one.

    Args:
        plan: of a race.
        output: the results root.
        send: submits what is open of a plan and is not in the queue.
        begin: whether the race begins with this call, if it has not.
        follow: whether to stay and do so until the race is over.

    Returns:
        The last submission; None where the race is over.

    Raises:
        HarnessError: SLURM refuses, a file cannot be read, or, with `follow`, a round ended without all its results.
    """
    state = RaceState.begin(plan, output, write=begin)
    _say(f"{state.race.text()}; race {state.race.race_id}")
    for sentence in look_sentences(state):
        _say(sentence)
    sent, draft = "", None
    while True:
        state = decide_ready(state, plan.runs, _say)
        due = state.due(plan.runs)
        missing = len(due) - sum(result.status in ENDED for result in state.results(due))
        if not missing:
            return draft
        _say(next_text(state))
        if next_text(state) == sent:
            message = f"{counted(missing, 'run')} of the race ended without a result"
            raise HarnessError(message, "see why: harness status SUITE; the same `harness submit` tries them again")
        sent, draft = next_text(state), send(dataclasses.replace(plan, runs=due))
        if not follow:
            return draft
        while read_queue(output, plan.suite.name).tasks:
            time.sleep(LOOK_SECONDS)


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
