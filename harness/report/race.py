"""What a report says of a race: its verdict, and a table of its configs with intervals that hold at every look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.counted import counted
from harness.records.result import RunResult, metric
from harness.report.texts import NOTHING, TextColumn, TextTable, one_line, quoted
from harness.results.measured import ACCURACY
from harness.results.race import WORST, RaceState
from harness.results.race_text import named, next_text, verdict, why
from harness.statistics.intervals import Summary, summarise

BIASED = "*"


def race_answer(state: RaceState, results: Sequence[RunResult]) -> tuple[str, ...]:
    """Returns how a race stands, and what fresh seeds say of those that are left.

    Args:
        results: of the suite, on one system.
    """
    return verdict(state), *_confirmed(state, results)


def race_caution(state: RaceState) -> tuple[str, ...]:
    """Returns what a reader of the table's own columns must know; nothing while no config has left."""
    if not state.left:
        return ()
    names = named(state, list(state.left))
    return (
        f"Stopped by a race: {names} left it at a look, so their means are of few seeds and biased: those of configs "
        "that were beaten are too low. The 95 % intervals of this table, and what else is tested of it, take the seeds "
        "for fixed beforehand. Effects of factors are not computed.",
    )


def race_table(title: str, state: RaceState) -> TextTable:
    """Returns the table of a race, those that are left first."""
    records = [_record(state, config_id) for config_id in state.race.configs]
    records.sort(key=lambda one: (-one["look"], -(one["test_accuracy"] or 0.0)))
    columns = (
        TextColumn("label", "config", [one_line(record["label"]) for record in records]),
        TextColumn("state", "in the race", [record["state"] for record in records], 1),
        TextColumn("n", "seeds", [str(record["seeds"]) for record in records], 1, numeric=True),
        TextColumn("mean", "test accuracy, all looks", [_text(record) for record in records], 1, numeric=True),
    )
    return TextTable(
        title, columns, tuple(one["biased_by_stopping"] for one in records), tuple(records), tuple(_notes(state))
    )


def _record(state: RaceState, config_id: str) -> dict[str, Any]:
    number, one = state.left.get(config_id, (len(state.looks) + 1, None))
    values, alpha = state.looks[-1].accuracy[config_id], state.looks[min(number, len(state.looks)) - 1].alpha
    found = summarise(values)
    return {
        "label": state.race.configs[config_id],
        "config_id": config_id,
        "look": number,
        "state": f"left at look {number}: {why(state, one, number)}" if one else "to the end" if state.ended else "yes",
        "why": one.why if one else None,
        "beside": state.race.configs[one.beside] if one and one.beside else None,
        "p": one.p if one else None,
        "seeds": sum(value is not None for value in values),
        "test_accuracy": found.mean if found else None,
        "half_width": found.half_width(alpha / 2) if found and found.n > 1 else None,
        "alpha": alpha,
        "biased_by_stopping": one is not None,
    }


def _text(record: dict[str, Any]) -> str:
    mean, half = record["test_accuracy"], record["half_width"]
    if not isinstance(mean, float):
        return NOTHING
    around = f" ± {100 * half:.2f}" if isinstance(half, float) else ""
    return f"{100 * mean:.2f}{around} %{BIASED * bool(record['biased_by_stopping'])}"


def _notes(state: RaceState) -> Iterator[str]:
    yield f"{state.race.text()[0].upper()}{state.race.text()[1:]}; race {state.race.race_id}."
    yield (
        "± is half of the interval at the share of alpha that the config's last look spent: all looks together, "
        f"{100 * (1 - sum(state.race.alphas)):g} % of such intervals hold. They are over the seeds, on these images."
    )
    if state.left:
        yield f"{BIASED} The mean is biased: the config left because of it."
    if any(value == WORST for values in state.looks[-1].accuracy.values() for value in values):
        yield f"A run that diverged counts as an accuracy of {WORST:g} here, and in no mean of the table above."
    if not state.ended:
        yield f"Next: {next_text(state)}."


def _confirmed(state: RaceState, results: Sequence[RunResult]) -> Iterator[str]:
    fresh = range(state.race.looks[-1], state.race.looks[-1] + state.race.confirm) if state.ended else range(0)
    for config_id in state.staying if fresh else ():
        own = [one for one in results if one.config_id == config_id and one.seed in fresh and one.status == "ok"]
        found: Summary | None = summarise([metric(one, ACCURACY) for one in own])
        if found:
            around = f" ± {100 * found.ci95:.2f}" if found.ci95 is not None else ""
            name, fresh_seeds = quoted(state.race.configs[config_id]), counted(found.n, "fresh seed")
            yield f"By {fresh_seeds}, from which nothing was decided, {name} has {100 * found.mean:.2f}{around} %."
