"""How long runs will take: guesses from the runs that have ended, and from the steps of those that go on.

Runs whose times are marked count here: a guess is of what the machine does now, with all that disturbs it.
"""

from __future__ import annotations

import statistics

from harness.live.state import CurrentRun, SuiteState

LEAST_SHARE = 0.02  # of a run's steps, before its own pace says anything


def seconds_left_of_run(state: SuiteState, run_id: str) -> float | None:
    """Returns how long a run that goes on will take from now; None where nothing is known."""
    run = state.current[run_id]
    known = _seconds_by_config(state).get(state.planned[run_id].config_id)
    if known is not None:
        return known * (1.0 - run.share_done)
    return _by_its_own_pace(run)


def seconds_left(state: SuiteState) -> float | None:
    """Returns how long the suite will take from now, with as many runs at a time as there are; None: not known.

    A run counts as long as those of its config that have ended; one of a config of which none has ended, by its steps.
    """
    counts = state.counts()
    if not counts["open"] and not counts["running"]:
        return 0.0
    by_config, pace = _seconds_by_config(state), _pace(state)
    running = [seconds_left_of_run(state, run_id) for run_id in state.current]
    waiting = [
        by_config.get(run.config_id, None if pace is None else pace * run.steps)
        for run_id, run in state.planned.items()
        if run_id not in state.ended and run_id not in state.current
    ]
    parts = running + waiting
    if any(part is None for part in parts):
        return None
    return sum(part for part in parts if part is not None) / max(1, len(running))


def about(seconds: float | None) -> str:
    """Returns a duration as a guess is told, e.g. `about 12 min`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"about {seconds / 86400:.1f} days"


def _seconds_by_config(state: SuiteState) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for run_id, event in state.ended.items():
        if event.status == "ok" and event.total_seconds:
            found.setdefault(state.planned[run_id].config_id, []).append(event.total_seconds)
    return {config_id: statistics.fmean(seconds) for config_id, seconds in found.items()}


def _by_its_own_pace(run: CurrentRun) -> float | None:
    now = run.ranks.get(0)
    if run.started is None or run.first is None or now is None or not now.step or not run.first.step:
        return None
    steps = now.step - run.first.step
    if steps < LEAST_SHARE * run.started.steps:
        return None
    return max(0, run.started.steps - run.step) * (now.at - run.first.at) / steps


def _pace(state: SuiteState) -> float | None:
    """Returns the seconds of a step, over the runs that ended and those that go on."""
    seconds = steps = 0.0
    for run_id, event in state.ended.items():
        if event.status == "ok" and event.total_seconds:
            seconds += event.total_seconds
            steps += state.planned[run_id].steps
    for run_id, run in state.current.items():
        left = _by_its_own_pace(run)
        if left is not None and run.share_done < 1.0:
            seconds += left
            steps += state.planned[run_id].steps * (1.0 - run.share_done)
    return seconds / steps if steps else None
