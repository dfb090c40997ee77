"""The price list: along the front, what the next point of accuracy costs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from harness.report.numbers.fronts import COSTS, Cost, Front, Place
from harness.report.texts import Beside, Written, column_texts, one_line, span
from harness.results.columns import Column
from harness.statistics.intervals import CONFIDENCE
from harness.statistics.resampling import samples_of_means

CLEAR, NOISE, NO_INTERVAL = "clear", "inside the noise", "one seed"
POINT = 0.01  # of accuracy
SAMPLES_OF_A_PRICE = 10_000  # there are few steps, and an interval's ends lie where samples are rare
Step = dict[str, Any]
"""A step along a front as `prices.csv` has it. The upper end of a price is None where the gain may be none at all."""


def prices_along(front: Front) -> list[Step]:
    """Returns the steps from each config on the front to the next more accurate one.

    The intervals are shares of samples of the four means. A sample in which the dearer config is not more accurate has
    an infinite price: so over common seeds the interval is that of Fieller's theorem, wherever that one has two ends.
    """
    steps = itertools.pairwise(front.members())
    return [_price(front.cost, *step) for step in steps if step[0].accuracy < step[1].accuracy]


def price_table(title: str, fronts: Sequence[Front]) -> Beside | None:
    """Returns the price list of a system, or None where no front has a step.

    Args:
        fronts: of what was measured, each with its own cost.
    """
    steps = [step for front in fronts for step in prices_along(front)]
    if not steps:
        return None
    faint = tuple(step["verdict"] == NOISE for step in steps)
    return Beside(title, tuple(_columns(steps)), faint, tuple(steps), tuple(_notes(steps)))


def _price(cost: Cost, cheaper: Place, dearer: Place) -> Step:
    import numpy

    gain, more = dearer.accuracy - cheaper.accuracy, dearer.paid - cheaper.paid
    gain_ends = more_ends = price_ends = (None, None)
    verdict = NO_INTERVAL
    if cheaper.has_spread and dearer.has_spread:
        numbers = [dearer.accuracies, cheaper.accuracies, dearer.payments, cheaper.payments]
        samples = samples_of_means(numbers, [0, 0, 0, 0], SAMPLES_OF_A_PRICE)
        gains, mores = samples[:, 0] - samples[:, 1], samples[:, 2] - samples[:, 3]
        with numpy.errstate(divide="ignore", invalid="ignore"):
            prices = numpy.where(gains > 0, POINT * mores / gains, numpy.inf)
        gain_ends, more_ends, price_ends = _ends(gains), _ends(mores), _ends(prices)
        verdict = CLEAR if math.isfinite(price_ends[1]) else NOISE
    return {
        "cost": cost.name,
        "from_config_id": cheaper.row.config_id,
        "from_label": cheaper.row.label,
        "to_config_id": dearer.row.config_id,
        "to_label": dearer.row.label,
        "test_accuracy_gain": gain,
        "test_accuracy_gain_low": gain_ends[0],
        "test_accuracy_gain_high": gain_ends[1],
        "cost_increase": more,
        "cost_increase_low": more_ends[0],
        "cost_increase_high": more_ends[1],
        "cost_per_point": POINT * more / gain,
        "cost_per_point_low": price_ends[0],
        "cost_per_point_high": None if verdict == NOISE else price_ends[1],
        "verdict": verdict,
    }


def _ends(samples: Any) -> tuple[float, float]:
    """Returns the ends of the 95 % interval."""
    import numpy

    tail = (1 - CONFIDENCE) / 2
    low, high = numpy.quantile(samples, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


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
    yield Written("verdict", "gain", [step["verdict"] for step in steps], 2)


def _cost(step: Step) -> Cost:
    return next(cost for cost in COSTS if cost.name == step["cost"])


def _texts(step: Step, *names: str) -> list[str]:
    return column_texts(Column("", "", _cost(step).kind), [step[name] for name in names])


def _gain(step: Step) -> str:
    """Intervals alone: of the steps whose gain is beyond the noise, the mean gain is too large."""
    column = Column("", "", "percent", signed=True)
    if step["verdict"] == NO_INTERVAL:
        return column_texts(column, [step["test_accuracy_gain"]])[0]
    return span(*column_texts(column, [step["test_accuracy_gain_low"], step["test_accuracy_gain_high"]]))


def _per_point(step: Step) -> str:
    if step["verdict"] == NO_INTERVAL:
        return _texts(step, "cost_per_point")[0]
    low, high = _texts(step, "cost_per_point_low", "cost_per_point_high")
    if step["cost_per_point_low"] <= 0:  # it may be had for nothing
        return "anything" if step["verdict"] == NOISE else f"less than {high}"
    return f"more than {low}" if step["verdict"] == NOISE else span(low, high)


def _notes(steps: Sequence[Step]) -> Iterator[str]:
    words = list(dict.fromkeys(_cost(step).word for step in steps))
    yield (
        f"Each step goes from a config on the front of accuracy over {' or '.join(words)} to the next more accurate "
        "one; its price is what a point of test accuracy costs there."
    )
    verdicts = {step["verdict"] for step in steps}
    if verdicts - {NO_INTERVAL}:
        yield (
            "Gains and prices are 95 % intervals (paired t bootstrap over the seeds), without the numbers between the "
            "ends: where gains are small, those that stand out of the noise are too large."
        )
    if NOISE in verdicts:
        yield f"{NOISE}: the gain may be none, and then no price buys it: the interval has no upper end."
    if NO_INTERVAL in verdicts:
        yield f"{NO_INTERVAL}: no interval, and so no telling whether there is a gain at all."
