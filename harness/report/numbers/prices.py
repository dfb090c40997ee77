"""The price list: along the front, what the next point of accuracy costs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.report.numbers.fronts import COSTS, Cost, Front, Place
from harness.report.texts import NOTHING, Beside, Written, column_texts, one_line, span
from harness.results.answers import Family
from harness.results.columns import Column
from harness.statistics.intervals import ratio_interval, summarise

BETTER, NO_VERDICT = "better", "no verdict"
POINT = 0.01  # of accuracy
Step = dict[str, Any]
"""A step along a front as `prices.csv` has it; it has a price only where the dearer config is better."""


def prices_along(front: Front, compared: Family) -> list[Step]:
    """Returns the steps from each config on the front to the next more accurate one.

    Args:
        compared: the accuracies of all configs of the front: a step has the verdict that every output has.
    """
    at = {config.config_id: place for place, config in enumerate(compared.configs)}
    steps = itertools.pairwise(front.members())
    return [_step(front.cost, *step, compared, at) for step in steps if step[0].accuracy < step[1].accuracy]


def price_table(title: str, fronts: Sequence[Front], compared: Family) -> Beside | None:
    """Returns the price list of a system, or None where no front has a step whose gain has an interval.

    Args:
        fronts: of what was measured, each with its own cost.
        compared: see `prices_along`.
    """
    steps = [step for front in fronts for step in prices_along(front, compared)]
    if all(step["verdict"] == NO_VERDICT for step in steps):
        return None
    faint = tuple(step["verdict"] != BETTER for step in steps)
    return Beside(title, tuple(_columns(steps)), faint, tuple(steps), tuple(_notes(steps)))


def _step(cost: Cost, cheaper: Place, dearer: Place, compared: Family, at: Mapping[str, int]) -> Step:
    found = compared.answer(at[dearer.row.config_id], at[cheaper.row.config_id])
    verdict = {"a": BETTER, "b": "worse", None: NO_VERDICT}.get(found.verdict, found.verdict)
    gain = found.difference if found.verdict else None
    paid = {seed: own - cheaper.payments[seed] for seed, own in dearer.payments.items() if seed in cheaper.payments}
    more = summarise(list(paid.values()))
    price = ends = None
    if gain and more and more.ci95 is not None and verdict == BETTER:
        gains = {pair.seed: (pair.a.accuracy or 0.0) - (pair.b.accuracy or 0.0) for pair in found.pairs}
        price = POINT * more.mean / gain.mean
        ends = ratio_interval(more, gain, [(paid[seed], gains[seed]) for seed in paid.keys() & gains.keys()])
    low, high = (POINT * ends[0], POINT * ends[1]) if ends else (None, None)
    return {
        "cost": cost.name,
        "from_config_id": cheaper.row.config_id,
        "from_label": cheaper.row.label,
        "to_config_id": dearer.row.config_id,
        "to_label": dearer.row.label,
        "test_accuracy_gain": gain.mean if gain else dearer.accuracy - cheaper.accuracy,
        "test_accuracy_gain_low": gain.low if gain else None,
        "test_accuracy_gain_high": gain.high if gain else None,
        "cost_increase": more.mean if more else dearer.paid - cheaper.paid,
        "cost_increase_ci95": more.ci95 if more else None,
        "cost_per_point": price,
        "cost_per_point_low": low,
        "cost_per_point_high": high,
        "verdict": verdict,
    }


def _columns(steps: Sequence[Step]) -> Iterator[Written]:
    words = [_cost(step).word for step in steps]
    several = len(set(words)) > 1
    yield Written(
        "label", "step along the front", [one_line(f"{step['from_label']} -> {step['to_label']}") for step in steps]
    )
    if several:
        yield Written("cost", "paid in", words, 1)
    yield Written("gain", "more test accuracy", [_gain(step) for step in steps], 1, numeric=True)
    more = [f"+{_texts(step, 'cost_increase')[0]}" for step in steps]
    yield Written("more", f"more {'cost' if several else words[0]}", more, 4, numeric=True)
    yield Written("price", "per point of accuracy", [_per_point(step) for step in steps], 1, numeric=True)
    yield Written("verdict", "verdict", [step["verdict"] for step in steps], 2)


def _cost(step: Step) -> Cost:
    return next(cost for cost in COSTS if cost.name == step["cost"])


def _texts(step: Step, *names: str) -> list[str]:
    return column_texts(Column("", "", _cost(step).kind), [step[name] for name in names])


def _gain(step: Step) -> str:
    """The interval alone: where it decides, the mean gain is too large."""
    if step["test_accuracy_gain_low"] is None:
        return NOTHING
    column = Column("", "", "percent", signed=True)
    return span(*column_texts(column, [step["test_accuracy_gain_low"], step["test_accuracy_gain_high"]]))


def _per_point(step: Step) -> str:
    if step["cost_per_point_low"] is None:
        return NOTHING
    low, high = _texts(step, "cost_per_point_low", "cost_per_point_high")
    return f"less than {high}" if step["cost_per_point_low"] <= 0 else span(low, high)


def _notes(steps: Sequence[Step]) -> Iterator[str]:
    words = list(dict.fromkeys(_cost(step).word for step in steps))
    yield (
        f"Each step goes from a config on the front of accuracy over {' or '.join(words)} to the next more accurate "
        "one. Its verdict is that of the answer above. A gain that is decided has a price: what a point of test "
        "accuracy costs on this step."
    )
    yield (
        "Gains and prices are 95 % intervals (of prices Fieller's). No means are shown: those of decided gains are too "
        "large."
    )
    if any(step["verdict"] == NO_VERDICT for step in steps):
        yield f"{NO_VERDICT}: the two configs have fewer than two seeds in common, or cannot be compared."
