"""What people are told of a race: its verdict, what a look decided, who left and why, and what comes next."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from harness.counted import counted, is_are
from harness.records.forecast import run_spans
from harness.results.race import RaceState
from harness.results.race_files import Left
from harness.suite.plan import PlannedRun

MOST_NAMED, MOST_TOLD = 4, 12


def verdict(state: RaceState) -> str:
    """Returns how the race ended, in a sentence; what it stands at, while it goes on."""
    race, all_of = state.race, len(state.race.configs)
    staying = [one for one in state.staying if one != race.against]
    names, others = named(state, staying), all_of - len(state.staying)
    gone = f"; {counted(others, 'config')} left the race before" if others else ""
    within = f"within {100 * (race.margin or 0.0):g} points"
    runs = f"after {counted(state.taken(), 'run')} of at most {race.looks[-1] * all_of}"
    runs = runs if state.looks else "before its first look"
    if race.against:
        said = [f"{one} {named(state, own)}" for one, own in _beside_reference(state).items() if own]
        said += [f"undecided {names}"] if staying else []
        text = f"beside {named(state, [race.against])}: {'; '.join(said)}"
    elif not state.ended:
        text = f"{names} {is_are(len(staying))} left in the race" if others else "all configs are in the race"
    elif state.ended == "budget spent":
        text = f"{names} are undecided" + gone
    elif state.ended == "equivalent":
        text = f"{names} are equivalent {within}" + gone
    elif race.kind == "front":
        text = f"{names} {is_are(len(staying))} the front: no other is both more accurate and faster"
    else:
        which = "the most accurate" if race.kind == "best" else f"the fastest of those {within} of the best"
        text = f"{names} is {which} of {counted(all_of, 'config')}" if names else "no config has a value"
    how = "" if not state.ended else "equivalent, " if state.ended == "equivalent" else f"{state.ended}, "
    doubts = [doubt for look in state.looks[-1:] for doubt in look.exploratory]
    hedge = f" Exploratory: {' and '.join(doubts)}." if doubts else ""
    return f"Race {'over' if state.ended else 'open'}, {how}{runs}: {text}.{hedge}"


def look_sentences(state: RaceState) -> list[str]:
    """Returns what the last look decided, in sentences."""
    if not state.looks:
        return []
    look, number = state.looks[-1], len(state.looks)
    said = [f"look {number} of {len(state.race.looks)}, at {look.seeds} seeds:"]
    said += [f"{named(state, [one.config_id])} leaves: {why(state, one, number)};" for one in look.left[:MOST_TOLD]]
    if len(look.left) > MOST_TOLD:
        said.append(f"{counted(len(look.left) - MOST_TOLD, 'other')} leave;")
    if not look.left:
        said.append("no config leaves;")
    said.append(f"{counted(len(look.staying), 'config')} left in the race")
    return [" ".join(said), *([verdict(state)] if look.ended else [])]


def why(state: RaceState, one: Left, number: int) -> str:
    """Returns why a config left at a look, counted from 1."""
    if one.beside is None or one.p is None:
        return "no run of it has a value"
    words = "equivalent to" if one.why == "equivalent" else f"{one.why} than"
    return f"{words} {named(state, [one.beside])} (p {one.p:.2g}, below {state.looks[number - 1].alpha:.2g})"


def next_text(state: RaceState, runs: Iterable[PlannedRun] = ()) -> str:
    """Returns what comes next, in a sentence; empty where it is over.

    Args:
        runs: of the plan; the forecast that is kept beside the results, if there is one, says how long they take.
    """
    if not state.seeds:
        return ""
    inside = f"{len(state.staying)} of {counted(len(state.race.configs), 'config')}"
    if state.ended:
        return f"fresh seeds for what is left, {inside}: seeds {state.seeds.start} to {state.seeds.stop - 1}"
    made, looks = len(state.looks), state.race.looks
    return (
        f"look {made + 1} of {len(looks)} comes at {looks[made]} seeds, with {inside} in the race: it spends "
        f"{100 * state.race.alphas[made]:.2g} of {100 * sum(state.race.alphas):g} %{_forecast(state, state.due(runs))}"
    )


def race_lines(state: RaceState, runs: Iterable[PlannedRun] = ()) -> list[str]:
    """Returns where the race stands: its verdict so far, who left and why, and what comes next."""
    gone = [
        f"{named(state, [one.config_id])} left at look {number}: {why(state, one, number)}"
        for number, one in state.left.values()
    ]
    if len(gone) > MOST_TOLD:
        gone[MOST_TOLD:] = [f"{counted(len(gone) - MOST_TOLD, 'other')} left: see `harness report`"]
    return [verdict(state), *gone, *([] if state.ended else [next_text(state, runs)])]


def race_json(state: RaceState) -> dict[str, Any]:
    """Returns plain values."""
    looks = [look.model_dump(mode="json") for look in state.looks]
    race = state.race.model_dump(mode="json") | {"race_id": state.race.race_id}
    return {"race": race, "ended": state.ended, "staying": state.staying, "looks": looks, "verdict": verdict(state)}


def named(state: RaceState, config_ids: Sequence[str]) -> str:
    """Returns the labels of configs, the first of them if there are many."""
    names = [f"“{state.race.configs[one]}”" for one in config_ids]
    if len(names) > MOST_NAMED + 1:
        return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} others"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _forecast(state: RaceState, due: Sequence[PlannedRun]) -> str:
    if not due:
        return ""
    try:
        spans = run_spans(state.folder.parents[1])[2]
        expected = functools.reduce(operator.add, [spans[run.run_id] for run in due])
    except (OSError, ValueError, KeyError):  # there is none, or it is of other runs
        return ""
    return f"; forecast for {counted(len(due), 'run')}: {expected.text()}"


def _beside_reference(state: RaceState) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"better": [], "worse": [], "equivalent": [], "no value": []}
    for config_id, (_, one) in state.left.items():
        found[one.why].append(config_id)
    return found
