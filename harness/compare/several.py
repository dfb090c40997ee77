"""A whole table compared: many comparisons, whose verdicts are wrong together no more often than one would be."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

from harness.compare.answers import Answer, Question, differences_in, usable
from harness.compare.comparison import Comparison, compare
from harness.compare.differences import p_of
from harness.compare.measured import MeasuredConfig
from harness.compare.pairs import pairs_of
from harness.report.statistics.intervals import summarise
from harness.report.statistics.significance import holm


def best_of(configs: Sequence[MeasuredConfig]) -> MeasuredConfig | None:
    """Returns the config with the highest mean accuracy over its seeds; None where none has one."""
    means = [(summarise([run.accuracy for run in config.runs]), config) for config in configs]
    return max(((mean.mean, config) for mean, config in means if mean), key=lambda one: one[0], default=(0, None))[1]


def compare_with(configs: Sequence[MeasuredConfig], to: MeasuredConfig, round_seconds: float) -> list[Comparison]:
    """Compares each config with one that was named beforehand; corrected by Holm's method over these comparisons."""
    return corrected([compare(one, to, round_seconds, test_images=False) for one in configs if one is not to])


def compare_with_best(
    configs: Sequence[MeasuredConfig], best: MeasuredConfig, round_seconds: float
) -> list[Comparison]:
    """Compares each config with the best of the table; corrected by Holm's method over all pairs of the table.

    The best was chosen by the numbers that it is now compared by, so it is too good by its own luck. Corrected over the
    comparisons with it alone, far more than 5 % of tables without a difference would show one. Over all pairs no choice
    can go wrong: every verdict that it could have led to is among them.
    """
    comparisons = [compare(one, best, round_seconds, test_images=False) for one in configs if one is not best]
    elsewhere = itertools.combinations([one for one in configs if one is not best], 2)
    return corrected(comparisons, *_p_values(elsewhere))


def corrected(
    comparisons: Sequence[Comparison], more_accuracy: Sequence[float] = (), more_time: Sequence[float] = ()
) -> list[Comparison]:
    """Returns the comparisons with p-values that are corrected by Holm's method, for each question by itself.

    Args:
        more_accuracy, more_time: p-values of comparisons that belong to the same family, and are not shown.
    """
    accuracy = _corrected([one.accuracy for one in comparisons], more_accuracy)
    time = _corrected([one.time for one in comparisons], more_time)
    return [
        dataclasses.replace(one, accuracy=judged, time=timed)
        for one, judged, timed in zip(comparisons, accuracy, time, strict=True)
    ]


def _corrected(answers: Sequence[Answer], more: Sequence[float]) -> list[Answer]:
    found = [answer.p for answer in answers if answer.p is not None]
    by_holm = iter(holm([*found, *more]))
    return [answer if answer.p is None else answer.corrected(next(by_holm)) for answer in answers]


def _p_values(couples: Iterable[tuple[MeasuredConfig, MeasuredConfig]]) -> tuple[list[float], list[float]]:
    """Returns the p-values of accuracy, and of time, of all couples that have one."""
    found: dict[Question, list[float]] = {"accuracy": [], "time": []}
    for a, b in couples:
        pairs = pairs_of(a, b)
        for question, p_values in found.items():
            used, _, _ = usable(question, a, b, pairs)
            p = p_of(differences_in(question, used))
            if p is not None:
                p_values.append(p)
    return found["accuracy"], found["time"]
