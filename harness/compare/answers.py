"""Is A more accurate, is A faster: one answer each, over the seeds that both have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.compare.bootstrap import LEAST_SEEDS, bca_interval
from harness.compare.differences import LEVEL, Differences, differences_of
from harness.compare.measured import MeasuredConfig, MeasuredRun
from harness.compare.pairs import Pair, timed_pairs
from harness.compare.power import detectable, seeds_for
from harness.counted import counted, is_are
from harness.records.comparable import MARKED
from harness.report.statistics.intervals import Summary, summarise

Question = Literal["accuracy", "time"]
Verdict = Literal["a", "b", "tie"]
ONE_SEED = "one seed in common: no interval, no verdict"
ALIKE = "all seeds differ by the same, which leaves no noise to judge by: no verdict"


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Attributes:
        reason: why there is no verdict; empty where there is one.
        hint: what would give one.
        pairs: the seeds that it is taken from.
        a, b: mean accuracy (a fraction) or train seconds over these pairs; None without a pair.
        differences: accuracy of A minus B as a fraction, or the natural logarithm of A's train time over B's.
        p: of the paired t-test that there is no difference.
        p_corrected: the same by Holm's method, where it is one of several comparisons.
        bca: the ends of the BCa interval of the mean difference.
        no_bca: why it is withheld.
        seeds_for_power: that find a difference as large as this one 8 times of 10; None where that is not known, or
            more than `power.MOST_SEEDS`.
        detectable: the difference that these seeds find 8 times of 10.
    """

    question: Question
    reason: str = ""
    hint: str = ""
    pairs: tuple[Pair, ...] = ()
    a: Summary | None = None
    b: Summary | None = None
    differences: Differences | None = None
    p: float | None = None
    p_corrected: float | None = None
    bca: tuple[float, float] | None = None
    no_bca: str = ""
    seeds_for_power: int | None = None
    detectable: float | None = None

    @property
    def verdict(self) -> Verdict | None:
        """Which of the two is more accurate, or faster; `tie` where the difference is inside the noise."""
        p = self.p if self.p_corrected is None else self.p_corrected
        if self.reason or p is None or self.differences is None:
            return None
        if p >= LEVEL:
            return "tie"
        a_is_larger = self.differences.summary.mean > 0
        return "a" if a_is_larger == (self.question == "accuracy") else "b"

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that it is taken from."""
        return tuple(pair.seed for pair in self.pairs)

    def corrected(self, p: float) -> Answer:
        """Returns the answer as one of several."""
        return dataclasses.replace(self, p_corrected=p)


def answer(question: Question, a: MeasuredConfig, b: MeasuredConfig, pairs: Sequence[Pair]) -> Answer:
    """Returns the answer to a question.

    Args:
        pairs: of all seeds that both have.
    """
    used, reason, hint = usable(question, a, b, pairs)
    if reason:
        return Answer(question, reason, hint)
    values = differences_in(question, used)
    differences = differences_of(values)
    value = _VALUE[question]
    a_mean, b_mean = summarise([value(pair.a) for pair in used]), summarise([value(pair.b) for pair in used])
    found = Answer(question, pairs=tuple(used), a=a_mean, b=b_mean, differences=differences, p=differences.p)
    if differences.p is None:
        reason, hint = (ONE_SEED, "run more seeds") if len(values) == 1 else (ALIKE, "run more seeds")
        return dataclasses.replace(found, reason=reason, hint=hint, no_bca=reason)
    bca, no_bca = _bca(differences)
    effect, deviation = differences.effect_size, differences.summary.sd
    return dataclasses.replace(
        found,
        bca=bca,
        no_bca=no_bca,
        seeds_for_power=seeds_for(effect) if effect else None,
        detectable=detectable(deviation, len(values)) if deviation and not differences.constant else None,
    )


def usable(
    question: Question, a: MeasuredConfig, b: MeasuredConfig, pairs: Sequence[Pair]
) -> tuple[Sequence[Pair], str, str]:
    """Returns the pairs that a question is answered from; or why it is refused, and what to do about it."""
    if not pairs:
        return [], *no_pairs(a, b)
    return _judged(pairs) if question == "accuracy" else _timed(pairs)


def no_pairs(a: MeasuredConfig, b: MeasuredConfig) -> tuple[str, str]:
    """Returns why two configs have no seed in common, and what to do about it."""
    for config in (a, b):
        if not config.runs:
            ended = f": {config.ended}" if config.ended else ""
            return f"no result of '{config.label}' yet{ended}", "run it: harness run SUITE"
    seeds = " and of ".join(f"'{one.label}' are {', '.join(map(str, one.seeds))}" for one in (a, b))
    return f"no seed in common: those of {seeds}", "run both with the same seeds"


def differences_in(question: Question, pairs: Sequence[Pair]) -> list[float]:
    """Returns A minus B in accuracy, or the logarithm of A over B in train time, of each pair."""
    value, difference = _VALUE[question], _DIFFERENCE[question]
    return [difference(x, y) for pair in pairs if (x := value(pair.a)) is not None and (y := value(pair.b)) is not None]


_VALUE: Mapping[Question, Callable[[MeasuredRun], float | None]] = {
    "accuracy": lambda run: run.accuracy,
    "time": lambda run: run.train_seconds,
}
_DIFFERENCE: Mapping[Question, Callable[[float, float], float]] = {
    "accuracy": lambda a, b: a - b,
    "time": lambda a, b: math.log(a / b),
}


def _judged(pairs: Sequence[Pair]) -> tuple[Sequence[Pair], str, str]:
    if not all(run.rankable for pair in pairs for run in (pair.a, pair.b)):
        return [], "accuracy on synthetic data means nothing", "compare it on real images"
    strangers = [pair for pair in pairs if pair.a.images != pair.b.images]
    if strangers:
        a, b = strangers[0].a.images, strangers[0].b.images
        sizes = f": {a.samples:,} and {b.samples:,}" if a.samples != b.samples else " (another data fingerprint)"
        return [], f"they were tested on different images{sizes}", "compare configs with the same data"
    found = [pair for pair in pairs if pair.a.accuracy is not None and pair.b.accuracy is not None]
    return (found, "", "") if found else ([], "their test accuracy was not recorded", "run them again")


def _timed(pairs: Sequence[Pair]) -> tuple[Sequence[Pair], str, str]:
    found = timed_pairs(list(pairs))
    if found:
        return found, "", ""
    if not any(pair.on_one_system for pair in pairs):
        systems = sorted({run.system_id for pair in pairs for run in (pair.a, pair.b)})
        reason = f"run times of different systems do not compare ({', '.join(systems)})"
        return [], reason, "run both on one system"
    reason = f"no seed has a train time of both: it was not measured, or the runs are {MARKED}"
    return [], reason, "run them again, alone and without a stop"


def _bca(differences: Differences) -> tuple[tuple[float, float] | None, str]:
    n = len(differences.values)
    if n < LEAST_SEEDS:
        few = f"{counted(n, 'seed')} {is_are(n)} too few for a bootstrap"
        return None, f"{few}, which holds what it promises from {LEAST_SEEDS} on"
    if differences.constant:
        return None, ALIKE
    low, high = bca_interval(differences.values)
    return (float(low), float(high)), ""
