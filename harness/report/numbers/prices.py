"""The price list: along the front, what the next point of accuracy costs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.numbers.fronts import Cost, Front, Place
from harness.report.texts import Beside, Written, column_texts, one_line, span
from harness.results.columns import Column
from harness.statistics.intervals import CONFIDENCE
from harness.statistics.resampling import samples_of_means

CLEAR, NOISE, NO_INTERVAL = "clear", "inside the noise", "one seed"
POINT = 0.01  # of accuracy
Ends = tuple[float, float]  # of a 95 % interval
SAMPLES_OF_A_PRICE = 10_000  # there are few steps, and an interval's ends lie where samples are rare


@dataclass(frozen=True)
class Price:
    """One step along the front.

    Attributes:
        gain: more test accuracy, as a fraction.
        more: more of what is paid.
        per_point: what one point of accuracy costs on this step; its interval's upper end is infinite where the
            gain may be none at all.
        verdict: whether there is a gain beyond the noise.
    """

    cost: Cost
    cheaper: Place
    dearer: Place
    gain: float
    gain_interval: Ends | None
    more: float
    more_interval: Ends | None
    per_point: float
    per_point_interval: Ends | None
    verdict: str


def prices_along(front: Front) -> list[Price]:
    """Returns the steps from each config on the front to the next more accurate one.

    The intervals are shares of samples of the four means. A sample in which the dearer config is not more accurate has
    an infinite price: so over common seeds the interval is that of Fieller's theorem, wherever that one has two ends.
    """
    steps = itertools.pairwise(front.members())
    return [_price(front.cost, *step) for step in steps if step[0].accuracy < step[1].accuracy]


def price_table(title: str, system_id: str, system: str, fronts: Sequence[Front]) -> Beside | None:
    """Returns the price list of a system, or None where no front has a step.

    Args:
        fronts: of what was measured, each with its own cost.
    """
    prices = [price for front in fronts for price in prices_along(front)]
    if not prices:
        return None
    return Beside(
        title,
        tuple(_columns(prices)),
        tuple(price.verdict == NOISE for price in prices),
        tuple(_record(price, system_id, system) for price in prices),
        tuple(_notes(prices)),
    )


def _price(cost: Cost, cheaper: Place, dearer: Place) -> Price:
    import numpy

    gain, more = dearer.accuracy - cheaper.accuracy, dearer.paid - cheaper.paid
    known = cost, cheaper, dearer, gain
    if not (cheaper.has_spread and dearer.has_spread):
        return Price(*known, None, more, None, POINT * more / gain, None, NO_INTERVAL)
    numbers = [dearer.accuracies, cheaper.accuracies, dearer.payments, cheaper.payments]
    samples = samples_of_means(numbers, [0, 0, 0, 0], SAMPLES_OF_A_PRICE)
    gains, mores = samples[:, 0] - samples[:, 1], samples[:, 2] - samples[:, 3]
    with numpy.errstate(divide="ignore", invalid="ignore"):
        prices = numpy.where(gains > 0, POINT * mores / gains, numpy.inf)
    interval = _ends(prices)
    verdict = CLEAR if math.isfinite(interval[1]) else NOISE
    return Price(*known, _ends(gains), more, _ends(mores), POINT * more / gain, interval, verdict)


def _ends(samples: Any) -> Ends:
    import numpy

    tail = (1 - CONFIDENCE) / 2
    low, high = numpy.quantile(samples, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def _columns(prices: Sequence[Price]) -> Iterator[Written]:
    steps = [one_line(f"{price.cheaper.row.label} -> {price.dearer.row.label}") for price in prices]
    yield Written("label", "step along the front", steps)
    if len({price.cost.name for price in prices}) > 1:
        yield Written("cost", "paid in", [price.cost.word for price in prices], 1)
    yield Written("gain", "more test accuracy", [_gain(price) for price in prices], 1, numeric=True)
    more = [f"+{column_texts(_column(price), [price.more])[0]}" for price in prices]
    only = prices[0].cost.word if len({price.cost.name for price in prices}) == 1 else "cost"
    yield Written("more", f"more {only}", more, 4, numeric=True)
    yield Written("price", "per point of accuracy", [_per_point(price) for price in prices], 1, numeric=True)
    yield Written("verdict", "gain", [price.verdict for price in prices], 2)


def _column(price: Price) -> Column:
    return Column("", "", price.cost.kind)


def _gain(price: Price) -> str:
    """Intervals alone: of the steps whose gain is beyond the noise, the mean gain is too large."""
    interval = price.gain_interval
    ends = [price.gain] if interval is None else [interval[0], interval[1]]
    texts = column_texts(Column("", "", "percent", signed=True), ends)
    return texts[0] if interval is None else span(*texts)


def _per_point(price: Price) -> str:
    interval = price.per_point_interval
    if interval is None:
        return column_texts(_column(price), [price.per_point])[0]
    low, high = column_texts(_column(price), [interval[0], interval[1]])
    if interval[0] <= 0:  # it may be had for nothing
        return f"less than {high}" if math.isfinite(interval[1]) else "anything"
    return span(low, high) if math.isfinite(interval[1]) else f"more than {low}"


def _record(price: Price, system_id: str, system: str) -> dict[str, Any]:
    def ends(name: str, interval: Ends | None) -> dict[str, float | None]:
        high = interval[1] if interval and math.isfinite(interval[1]) else None
        return {f"{name}_low": interval[0] if interval else None, f"{name}_high": high}

    return {
        "system_id": system_id,
        "system": system,
        "cost": price.cost.name,
        "from_config_id": price.cheaper.row.config_id,
        "from_label": price.cheaper.row.label,
        "to_config_id": price.dearer.row.config_id,
        "to_label": price.dearer.row.label,
        "test_accuracy_gain": price.gain,
        **ends("test_accuracy_gain", price.gain_interval),
        "cost_increase": price.more,
        **ends("cost_increase", price.more_interval),
        "cost_per_point": price.per_point,
        **ends("cost_per_point", price.per_point_interval),
        "verdict": price.verdict,
    }


def _notes(prices: Sequence[Price]) -> Iterator[str]:
    words = list(dict.fromkeys(price.cost.word for price in prices))
    yield (
        f"Each step goes from a config on the front of accuracy over {' or '.join(words)} to the next more accurate "
        "one; its price is what a point of test accuracy costs there."
    )
    verdicts = {price.verdict for price in prices}
    if verdicts - {NO_INTERVAL}:
        yield (
            "Gains and prices are 95 % intervals (paired t bootstrap over the seeds), without the numbers between the "
            "ends: where gains are small, those that stand out of the noise are too large."
        )
    if NOISE in verdicts:
        yield f"{NOISE}: the gain may be none, and then no price buys it: the interval has no upper end."
    if NO_INTERVAL in verdicts:
        yield f"{NO_INTERVAL}: no interval, and so no telling whether there is a gain at all."
