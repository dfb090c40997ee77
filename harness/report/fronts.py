"""The front of accuracy over what it costs: how sure each config's place on it is, and what its next point costs."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.records.result import metric
from harness.report.rows import Row
from harness.report.texts import NOTHING, TextColumn, TextTable, column_texts, listed, one_line, quoted, span
from harness.results.answers import Family
from harness.results.columns import Column, Kind
from harness.statistics.fronts import SAMPLES, pareto_front, pareto_fronts, samples_of_means
from harness.statistics.intervals import Summary, ratio_interval, summarise

ACCURACY = "test.accuracy"
BETTER, NO_VERDICT = "better", "no verdict"
POINT = 0.01  # of accuracy
SURE = 0.95  # of being on the front, or of not being on it
Step = dict[str, Any]
"""A step along a front as `prices.csv` has it; it has a price only where the dearer config is better."""


@dataclass(frozen=True)
class Cost:
    """What accuracy is paid with.

    Attributes:
        name: in the files, with the unit.
        word: in what people read.
        metric: the number of a run.
        kind: how it is written.
        probability: the column of how likely a config is on the front of accuracy over this cost.
    """

    name: str
    word: str
    metric: str
    kind: Kind
    probability: str


TIME = Cost("train_seconds", "train time", "clock.train_seconds", "seconds", "front_probability")
COSTS = (
    TIME,
    Cost("train_joules", "energy", "energy.train_joules", "joules", "energy_front_probability"),
    Cost("peak_device_allocated_bytes", "memory", "memory.max_allocated_bytes", "bytes", "memory_front_probability"),
    Cost("latency_seconds", "latency", "inference.latency_seconds", "milliseconds", "latency_front_probability"),
)


@dataclass(frozen=True)
class Place:
    """A config on the plane of accuracy and cost.

    Attributes:
        accuracies, payments: by seed.
        on_front: whether no other config here beats these means.
        probability: the share of the samples in which it is on the front; None where it cannot be known.
    """

    row: Row
    accuracies: Mapping[Any, float]
    payments: Mapping[Any, float]
    on_front: bool = False
    probability: float | None = None

    @functools.cached_property
    def accuracy(self) -> Summary:
        """Over the seeds."""
        return known(self.accuracies)

    @functools.cached_property
    def paid(self) -> Summary:
        """Over the seeds."""
        return known(self.payments)

    @property
    def has_spread(self) -> bool:
        """Whether there are two seeds or more of both."""
        return min(len(self.accuracies), len(self.payments)) > 1

    @property
    def sureness(self) -> str:
        """Whether it is on the front: `sure`, `unsure`, `perhaps` (not by its means) or `off`.

        One whose probability cannot be known is where its means put it.
        """
        if self.on_front:
            return "sure" if self.probability is None or self.probability >= SURE else "unsure"
        return "perhaps" if self.probability is not None and self.probability > 1 - SURE else "off"


@dataclass(frozen=True)
class Front:
    """The configs of one system, by what they reach and cost."""

    cost: Cost
    places: tuple[Place, ...]


def front_of(rows: Sequence[Row], cost: Cost) -> Front:
    """Returns the front of one system's ranked rows that have both numbers.

    Args:
        rows: of one system.
    """
    paid = [row for row in rows if row.ranked and row.values[cost.name] is not None]
    measured = [(row, _by_seed(row, ACCURACY), _by_seed(row, cost.metric)) for row in paid]
    # By their ids, so that the same records give the same samples however the table is sorted.
    measured = sorted((one for one in measured if one[1] and one[2]), key=lambda one: one[0].config_id)
    places = [Place(*one) for one in measured]
    front = pareto_front([(one.accuracy.mean, one.paid.mean) for one in places])
    return Front(cost, tuple(sampled([replace(one, on_front=on) for one, on in zip(places, front, strict=True)])))


def sampled(places: Sequence[Place]) -> list[Place]:
    """Returns the places with their probabilities; those that have none come last.

    A config with one seed has no spread, so it takes no part in the samples; where such a one beats a config by its
    only run, the other's probability cannot be known either.
    """
    several = [place for place in places if place.has_spread]
    single = [place for place in places if not place.has_spread]
    if not several:
        return single
    numbers = [*(place.accuracies for place in several), *(place.payments for place in several)]
    samples = samples_of_means(numbers, [*range(len(several))] * 2)
    shares = pareto_fronts(samples[:, : len(several)], samples[:, len(several) :]).mean(axis=0)
    told = [
        place if any(_beats(other, place) for other in single) else replace(place, probability=float(share))
        for place, share in zip(several, shares, strict=True)
    ]
    return [*told, *single]


def fronts_of(rows: Sequence[Row]) -> list[Front]:
    """Returns one system's fronts over the costs that were measured."""
    return [front for front in (front_of(rows, cost) for cost in COSTS) if front.places]


def front_values(rows: Sequence[Row], fronts: Sequence[Front]) -> dict[str, dict[str, Any]]:
    """Returns the places of one system's rows on its fronts: values of columns by config_id."""
    found: dict[str, dict[str, Any]] = {
        row.config_id: dict.fromkeys(["on_front", *(cost.probability for cost in COSTS)]) for row in rows
    }
    for front in fronts:
        for place in front.places:
            own = found[place.row.config_id]
            own[front.cost.probability] = place.probability
            if front.cost is TIME:
                own["on_front"] = place.on_front
    return found


def front_notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yields what a reader of the column `front_probability` must know."""
    ranked = [row for row in rows if row.values["on_front"] is not None]
    unknown = [row for row in ranked if row.values["front_probability"] is None]
    if len(unknown) < len(ranked):
        yield (
            f"On the front: the share of {SAMPLES:,} samples of the means in which the config is on the front. The "
            "samples are a paired t bootstrap over the seeds; with few seeds the share is uncertain."
        )
    if single := [quoted(row.label) for row in unknown if len(row.ok) == 1]:
        whose = "" if len(single) == len(ranked) else f" ({listed(single)})"
        yield f"The uncertainty of the front is not known with one seed{whose}."
    if shaded := [quoted(row.label) for row in unknown if len(row.ok) > 1]:
        yield f"No probability of being on the front, as it depends on a config with one timed seed: {listed(shaded)}."


def _by_seed(row: Row, name: str) -> dict[Any, float]:
    """Returns a number of the runs it is taken from; a seed that ran twice, on other data, counts as two."""
    found: dict[Any, float] = {}
    for run in row.ok_for(name):
        value = metric(run, name)
        if value is not None and math.isfinite(value):
            found[run.seed if run.seed not in found else (run.seed, run.run_id)] = value
    return found


def known(by_seed: Mapping[Any, float]) -> Summary:
    """Returns the summary of numbers, of which there is one at least."""
    summary = summarise(list(by_seed.values()))
    assert summary
    return summary


def _beats(one: Place, other: Place) -> bool:
    own, others = (one.accuracy.mean, -one.paid.mean), (other.accuracy.mean, -other.paid.mean)
    return own != others and own[0] >= others[0] and own[1] >= others[1]


def prices_along(front: Front, compared: Family) -> list[Step]:
    """Returns the steps from each config on the front to the next more accurate one.

    Args:
        compared: the accuracies of all configs of the front: a step has the verdict that every output has.
    """
    at = {config.config_id: place for place, config in enumerate(compared.configs)}
    steps = itertools.pairwise(sorted((one for one in front.places if one.on_front), key=lambda one: one.paid.mean))
    return [_step(front.cost, *step, compared, at) for step in steps if step[0].accuracy.mean < step[1].accuracy.mean]


def price_table(title: str, fronts: Sequence[Front], compared: Family) -> TextTable | None:
    """Returns the price list of a system, or None where no front has a step whose gain has an interval.

    Args:
        fronts: of what was measured, each with its own cost.
        compared: see `prices_along`.
    """
    steps = [step for front in fronts for step in prices_along(front, compared)]
    if all(step["verdict"] == NO_VERDICT for step in steps):
        return None
    faint = tuple(step["verdict"] != BETTER for step in steps)
    return TextTable(title, tuple(_columns(steps)), faint, tuple(steps), tuple(_notes(steps)))


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
        "test_accuracy_gain": gain.mean if gain else dearer.accuracy.mean - cheaper.accuracy.mean,
        "test_accuracy_gain_low": gain.low if gain else None,
        "test_accuracy_gain_high": gain.high if gain else None,
        "cost_increase": more.mean if more else dearer.paid.mean - cheaper.paid.mean,
        "cost_increase_ci95": more.ci95 if more else None,
        "cost_per_point": price,
        "cost_per_point_low": low,
        "cost_per_point_high": high,
        "verdict": verdict,
    }


def _columns(steps: Sequence[Step]) -> Iterator[TextColumn]:
    words = [_cost(step).word for step in steps]
    several, along = len(set(words)) > 1, [one_line(f"{step['from_label']} -> {step['to_label']}") for step in steps]
    yield TextColumn("label", "step along the front", along)
    if several:
        yield TextColumn("cost", "paid in", words, 1)
    yield TextColumn("gain", "more test accuracy", [_gain(step) for step in steps], 1, numeric=True)
    more = [f"+{_texts(step, 'cost_increase')[0]}" for step in steps]
    yield TextColumn("more", f"more {'cost' if several else words[0]}", more, 4, numeric=True)
    yield TextColumn("price", "per point of accuracy", [_per_point(step) for step in steps], 1, numeric=True)
    yield TextColumn("verdict", "verdict", [step["verdict"] for step in steps], 2)


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
