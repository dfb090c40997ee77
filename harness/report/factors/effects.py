"""What each factor of a suite does to accuracy and train time, from pairs of runs that differ in it alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.records.result import metric
from harness.report.factors.design import Change, Design
from harness.report.numbers.columns import INTERVAL, Column
from harness.report.numbers.rows import Row
from harness.report.texts import NOTHING, Beside, Written, column_texts, listed, one_line, span
from harness.statistics.intervals import Summary, summarise

NO_RESULT, NO_COMMON_SEED = "not run", "no common seed"
DIFFERENCE = Column("", "", "percent", over=INTERVAL, signed=True)


@dataclass(frozen=True)
class Effect:
    """The effect of one change on one system.

    Attributes:
        accuracy: difference in test accuracy, as a fraction.
        log_time: difference in the natural logarithm of the train time.
        pairs: how many pairs of configs it is taken from.
        state: "ok", or why there is no number.
    """

    change: Change
    accuracy: Summary | None
    log_time: Summary | None
    pairs: int
    state: str


def factor_table(
    title: str, system_id: str, system: str, rows: Sequence[Row], design: Design, labels: Mapping[str, str]
) -> Beside:
    """Returns the table of the factors on one system.

    Args:
        rows: of this system.
        labels: of the configs, by config_id.
    """
    by_config = {row.config_id: row for row in rows}
    effects = [effect_of(change, by_config) for change in design.changes]
    return Beside(
        title,
        tuple(_columns(effects)),
        tuple(effect.state != "ok" for effect in effects),
        tuple(_record(effect, system_id, system) for effect in effects),
        tuple(_notes(effects, design, by_config, labels)),
    )


def effect_of(change: Change, rows: Mapping[str, Row]) -> Effect:
    """Returns the effect of a change.

    For each seed the differences of all pairs are averaged, so that every pair counts alike; the interval is Student's
    over the seeds. Only seeds that ended ok in all the pairs used count, and a pair without one in common is left out:
    otherwise the average of each seed would be over other configs.

    Args:
        rows: of one system, by config_id.
    """
    accuracy, judged = _paired(change, rows, accuracy_by_seed, lambda base, changed: changed - base)
    log_time, timed = _paired(change, rows, seconds_by_seed, lambda base, changed: math.log(changed / base))
    both = [pair for pair in change.pairs if all(config_id in rows and rows[config_id].ok for config_id in pair)]
    state = "ok" if accuracy or log_time else NO_COMMON_SEED if both else NO_RESULT
    return Effect(change, accuracy, log_time, max(judged, timed), state)


def _paired(
    change: Change,
    rows: Mapping[str, Row],
    values_of: Callable[[Row | None], dict[int, float]],
    difference: Callable[[float, float], float],
) -> tuple[Summary | None, int]:
    pairs = [(values_of(rows.get(base)), values_of(rows.get(changed))) for base, changed in change.pairs]
    pairs = [(base, changed) for base, changed in pairs if base.keys() & changed.keys()]
    if not pairs:
        return None, 0
    seeds = set.intersection(*(set(values) for pair in pairs for values in pair))
    by_seed = [statistics.fmean(difference(base[seed], changed[seed]) for base, changed in pairs) for seed in seeds]
    return summarise(by_seed), len(pairs) if seeds else 0


def accuracy_by_seed(row: Row | None) -> dict[int, float]:
    """Returns the test accuracies of a config; none of synthetic data."""
    if row is None or not row.values["rankable"]:
        return {}
    return {run.seed: value for run in row.ok if (value := metric(run, "test.accuracy")) is not None}


def seconds_by_seed(row: Row | None) -> dict[int, float]:
    """Returns the train times of a config."""
    name = "clock.train_seconds"
    runs = row.ok_for(name) if row else []
    return {run.seed: value for run in runs if (value := metric(run, name))}


def _columns(effects: Sequence[Effect]) -> Iterator[Written]:
    accuracies = column_texts(DIFFERENCE, [effect.accuracy for effect in effects])
    states = ["" if effect.state == "ok" else effect.state for effect in effects]
    accuracies = [state or text for state, text in zip(states, accuracies, strict=True)]
    times = [state or ratio_text(effect.log_time) for state, effect in zip(states, effects, strict=True)]
    pairs = [f"{effect.pairs} of {len(effect.change.pairs)}" for effect in effects]
    labels = [one_line(f"{one.factor}: {one.base} -> {one.level}") for one in (effect.change for effect in effects)]
    yield Written("label", "change", labels)
    yield Written("accuracy", "test accuracy, difference", accuracies, 1, numeric=True)
    yield Written("time", "train time, ratio", times, 2, numeric=True)
    yield Written("seeds", "seeds", [str(_seeds(effect)) for effect in effects], 3, numeric=True)
    if any(len(effect.change.pairs) > 1 for effect in effects):
        yield Written("pairs", "pairs of configs", pairs, 4)


def ratio_text(log_time: Summary | None) -> str:
    """Returns e.g. `x 1.32 (1.20 to 1.45)` of the logarithm of a ratio."""
    if log_time is None:
        return NOTHING
    text = f"x {_digits(log_time.mean)}"
    return text if log_time.ci95 is None else f"{text} ({span(_digits(log_time.low), _digits(log_time.high))})"


def _digits(log_ratio: float) -> str:
    """Returns a ratio with three digits; two seeds can leave any number of zeros."""
    ratio = exp(log_ratio)
    if not 0.001 <= ratio < 1e6:
        return f"{ratio:.0e}"
    return f"{ratio:,.{max(0, min(3, 2 - math.floor(math.log10(ratio))))}f}"


def exp(value: float) -> float:
    """Returns e to a power that may be any: two seeds leave any interval."""
    return math.exp(value) if value < 700 else math.inf


def _seeds(effect: Effect) -> int:
    return max((summary.n for summary in (effect.accuracy, effect.log_time) if summary), default=0)


def _record(effect: Effect, system_id: str, system: str) -> dict[str, Any]:
    accuracy, log_time = effect.accuracy, effect.log_time
    has_interval = log_time is not None and log_time.ci95 is not None
    return {
        "system_id": system_id,
        "system": system,
        "factor": effect.change.factor,
        "base_level": effect.change.base,
        "level": effect.change.level,
        "state": effect.state,
        "pairs": effect.pairs,
        "pairs_planned": len(effect.change.pairs),
        "test_accuracy_difference_mean": accuracy.mean if accuracy else None,
        "test_accuracy_difference_ci95": accuracy.ci95 if accuracy else None,
        "test_accuracy_difference_n": accuracy.n if accuracy else 0,
        "train_seconds_ratio": exp(log_time.mean) if log_time else None,
        "train_seconds_ratio_low": exp(log_time.low) if log_time and has_interval else None,
        "train_seconds_ratio_high": exp(log_time.high) if log_time and has_interval else None,
        "train_seconds_ratio_n": log_time.n if log_time else 0,
    }


def _notes(
    effects: Sequence[Effect], design: Design, rows: Mapping[str, Row], labels: Mapping[str, str]
) -> Iterator[str]:
    if design.one_at_a_time:
        yield "Each row changes one factor of the base and nothing else: interactions of factors are not seen."
    else:
        yield (
            "Main effects: a level beside the first of its factor, averaged over all pairs of configs that differ in "
            "nothing else. Interactions of factors are averaged away."
        )
    if any(effect.state == "ok" for effect in effects):
        yield (
            "Test accuracy: difference; train time: ratio, averaged geometrically; both between runs of one seed, with "
            "95 % Student-t intervals over the seeds, not corrected for the number of rows."
        )
    if any(_seeds(effect) == 1 for effect in effects):
        yield "No interval: one seed in common."
    if any(0 < effect.pairs < len(effect.change.pairs) for effect in effects):
        yield "Where not all pairs have a result, the average is over those that have: compare such rows with care."
    wanted = dict.fromkeys(config_id for effect in effects for pair in effect.change.pairs for config_id in pair)
    missing = [labels.get(i, i) for i in wanted if i not in rows or not rows[i].ok]
    if missing:
        yield f"No result for the pairs with: {listed(missing)}."
    if design.alone:
        yield f"Left out, as no config of the plan differs in nothing else: {listed(design.alone)}."
    yield from design.interactions
