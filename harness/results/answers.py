"""Is A more accurate, is A faster: the configs of a table compared, each pair over the seeds that both have.

Every output shows the verdicts of a `Family`; docs/method.md says how they are found.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.records.comparable import MARKED
from harness.results.measured import MeasuredConfig, MeasuredRun, noise_of_images
from harness.statistics.crossed import ImageNoise
from harness.statistics.intervals import Summary, summarise
from harness.statistics.pairs import LEVEL, PairwiseTests, holm, verdict_of
from harness.statistics.power import Noise, detectable, seeds_between

if TYPE_CHECKING:
    import numpy as np

Question = Literal["accuracy", "time", "networks"]
ONE_SEED = "one seed in common: no interval, no verdict"
ALIKE = "all seeds differ by the same, which leaves no noise to judge by: no verdict"


class Pair(NamedTuple):
    """The two runs of one seed."""

    seed: int
    a: MeasuredRun
    b: MeasuredRun


@dataclass(frozen=True)
class Answer:
    """The answer to one question on two configs.

    Attributes:
        reason: why there is no verdict; empty where there is one.
        hint: what would give one.
        pairs: the seeds that it is taken from.
        a, b: mean accuracy (a fraction) or train seconds over these pairs; None without a pair.
        difference: accuracy of A minus B as a fraction, or the natural logarithm of A's train time over B's: mean and
            95 % interval.
        p: of no difference, by itself.
        p_corrected: the same by Holm's method, where it is one of several comparisons.
        p_beyond: of a difference of `margin` or more, by itself; NaN without a margin.
        verdict: "a" or "b" is the better one.
        margin: of the suite: differences of accuracy below it do not matter; None without one.
        images: that the accuracies are means over; 0 where there are none.
        predictions_kept: whether the variance over the images is that of the stored predictions; else it is the largest
            that it can be.
        comparisons: how many its family has.
    """

    question: Question
    reason: str = ""
    hint: str = ""
    pairs: tuple[Pair, ...] = ()
    a: Summary | None = None
    b: Summary | None = None
    difference: Summary | None = None
    p: float | None = None
    p_corrected: float | None = None
    p_beyond: float = math.nan
    verdict: Literal["a", "b", "equivalent", "undecided"] | None = None
    margin: float | None = None
    images: int = 0
    predictions_kept: bool = True
    comparisons: int = 1

    @property
    def seeds_for_power(self) -> tuple[int | None, int | None] | None:
        """The ends of the 95 % interval of how many seeds find a difference as large as this one 8 times of 10.

        None for an end of more than `power.MOST_SEEDS`, and where nothing is known of them.
        """
        found = self.difference
        if found is None or self.p is None or found.n < 3 or not found.has_noise:
            return None
        # By the pair's own deviation: that of a table is never less than it, so on average it is too large.
        noise = Noise.of(found)._replace(deviation=found.sd or 0.0)
        return seeds_between(found.mean, noise, found.n - 1, level=LEVEL / self.comparisons)

    @property
    def detectable(self) -> float | None:
        """The difference that these seeds find 8 times of 10; None without noise."""
        found = self.difference
        if found is None or self.p is None or not found.has_noise:
            return None
        return detectable(Noise.of(found), found.n, level=LEVEL / self.comparisons)


class Family:
    """One question on several configs.

    Args:
        question: accuracy or time.
        configs: all that are compared.
        margin: differences of accuracy below it do not matter, a fraction; None where all do.
        beside: the place of the config that the others are compared with; by default of the best.
        to: the same, of one that was named beforehand: the family is of the comparisons with it alone.

    Attributes:
        values: what is compared, [configs, seeds], the larger the better: accuracies, or minus the logarithms of times.
        tests: of the values.
    """

    def __init__(
        self,
        question: Question,
        configs: Sequence[MeasuredConfig],
        margin: float | None = None,
        *,
        beside: int | None = None,
        to: int | None = None,
    ) -> None:
        self.question: Question = question
        self.configs = tuple(configs)
        self.margin = margin if question == "accuracy" else None
        others = len(self.configs) - 1
        self._comparisons = max(1, others if to is not None else others * len(self.configs) // 2)
        self._runs = chosen_runs(self.configs, question)
        self.values, noise, self._kept = values_of(self._runs, question)
        ids = [config.config_id for config in self.configs]
        self.tests = PairwiseTests(self.values, noise, margin=self.margin, beside=beside, to=to, ids=ids)

    def answer(self, a: int, b: int) -> Answer:
        """Returns the answer on two of the configs, by their places."""
        one, other = self._runs[a], self._runs[b]
        pairs = tuple(Pair(seed, one[seed], other[seed]) for seed in sorted(one.keys() & other.keys()))
        reason, hint = self._refused(self.configs[a], self.configs[b], pairs)
        if reason:
            return Answer(self.question, reason, hint)
        numbers = [(_number(pair.a, self.question), _number(pair.b, self.question)) for pair in pairs]
        found = Answer(
            self.question,
            pairs=pairs,
            a=summarise([x for x, _ in numbers]),
            b=summarise([y for _, y in numbers]),
            difference=self._difference(a, b, numbers),
        )
        p = float(self.tests.p[a, b])
        if math.isnan(p):
            return dataclasses.replace(found, reason=ONE_SEED if len(pairs) == 1 else ALIKE, hint="run more seeds")
        found = dataclasses.replace(
            found,
            p=p,
            p_beyond=float(self.tests.p_beyond[a, b]),
            margin=self.margin,
            images=pairs[0].a.test_samples if self.question == "accuracy" else 0,
            predictions_kept=self._kept[a] and self._kept[b],
        )
        corrected = float(self.tests.p_holm(a, b)), float(self.tests.p_beyond_holm(a, b))
        return _judged(found, *corrected, self._comparisons)

    def _difference(self, a: int, b: int, numbers: Sequence[tuple[float, float]]) -> Summary:
        """Returns the mean of A minus B with the noise that the tests have of it."""
        found = summarise([x - y if self.question == "accuracy" else math.log(x / y) for x, y in numbers])
        assert found
        return self.tests.between(a, b).noise_of(found)

    def _refused(self, a: MeasuredConfig, b: MeasuredConfig, pairs: Sequence[Pair]) -> tuple[str, str]:
        """Returns why a question is refused, and what to do about it; empty where it is not."""
        common = set(a.seeds) & set(b.seeds)
        if not common:
            return _no_seed_in_common(a, b)
        if self.question == "time":
            return ("", "") if pairs else _why_untimed(a, b, common)
        if not all(run.rankable for run in (*a.runs, *b.runs) if run.seed in common):
            return "accuracy on synthetic data means nothing", "compare it on real images"
        images = list(dict.fromkeys(run.images for pair in pairs for run in (pair.a, pair.b)))
        if len(images) > 1:
            (_, x), (_, y) = images[:2]
            sizes = f": {x:,} and {y:,}" if x != y else " (another data fingerprint)"
            return f"they were tested on different images{sizes}", "compare configs with the same data"
        return ("", "") if pairs else ("their test accuracy was not recorded", "run them again")


def as_one_family(answers: Sequence[Answer]) -> list[Answer]:
    """Returns answers on separate pairs of configs as one family, corrected by Holm's method.

    The pairs of a table are a `Family`; these are e.g. the configs of a suite, each beside itself of another day.
    """
    comparisons = sum(one.p is not None for one in answers)
    corrected = holm([one.p for one in answers]), holm([one.p_beyond for one in answers])
    return [
        _judged(one, p, p_beyond, comparisons) if one.p is not None else one
        for one, p, p_beyond in zip(answers, *corrected, strict=True)
    ]


def _judged(found: Answer, p: float, p_beyond: float, comparisons: int) -> Answer:
    """Returns an answer with its verdict, by its p-values corrected over a family of so many comparisons."""
    assert found.difference
    better = 1 if found.question == "accuracy" else -1
    verdict = verdict_of(better * found.difference.mean, p, p_beyond)
    return dataclasses.replace(
        found,
        p_corrected=float(p) if comparisons > 1 else None,
        comparisons=comparisons,
        verdict="a" if verdict == "better" else "b" if verdict == "worse" else verdict,
    )


def chosen_runs(configs: Sequence[MeasuredConfig], question: Question) -> list[dict[int, MeasuredRun]]:
    """Returns the run that counts of each config and seed, of those that have the number, on several systems.

    It is that of the system on which most of the configs have the seed; of those alike, of the one with most runs that
    can be paired. Times are all of one system, that with most runs that can be paired.
    """
    runs = [[run for run in config.runs if not math.isnan(_number(run, question))] for config in configs]
    with_seed = Counter((run.system_id, run.seed) for own in runs for run in own)
    paired: Counter[str] = Counter()
    for (system, _), count in with_seed.items():
        paired[system] += count - 1
    if question == "time":
        best = min(paired, key=lambda system: (-paired[system], system), default="")
        runs = [[run for run in own if run.system_id == best] for own in runs]
    found: list[dict[int, MeasuredRun]] = []
    for own in runs:
        own.sort(key=lambda x: (-with_seed[x.system_id, x.seed], -paired[x.system_id], x.system_id))
        found.append({run.seed: run for run in reversed(own)})
    return found


def values_of(
    runs: Sequence[Mapping[int, MeasuredRun]], question: Question
) -> tuple[np.ndarray, ImageNoise | None, list[bool]]:
    """Returns what is compared, [configs, seeds], with the noise of the images and whose predictions were kept.

    The larger the better: accuracies, or minus the logarithms of times, which have no such noise; NaN without a run.
    """
    import numpy as np

    seeds = sorted({seed for own in runs for seed in own})
    found = [[_number(own[seed], question) if seed in own else math.nan for seed in seeds] for own in runs]
    values = np.array(found, dtype=float).reshape(len(runs), len(seeds))
    if question == "time":
        return -np.log(values), None, [True] * len(runs)
    return values, *noise_of_images(runs, seeds, values)


def _number(run: MeasuredRun, question: Question) -> float:
    """Returns the number that is compared, NaN where there is none; a time of 0 is none, as it has no logarithm."""
    value = run.accuracy if question == "accuracy" else run.train_seconds or None
    return math.nan if value is None else value


def _no_seed_in_common(a: MeasuredConfig, b: MeasuredConfig) -> tuple[str, str]:
    for config in (a, b):
        if not config.runs:
            if config.ended:
                return f"no run of '{config.label}' ended ok: {config.ended}", "see why: harness status SUITE"
            return f"no result of '{config.label}' yet", "run it: harness run SUITE"
    seeds = " and of ".join(f"'{one.label}' are {', '.join(map(str, one.seeds))}" for one in (a, b))
    return f"no seed in common: those of {seeds}", "run both with the same seeds"


def _why_untimed(a: MeasuredConfig, b: MeasuredConfig, common: set[int]) -> tuple[str, str]:
    if {(run.system_id, run.seed) for run in a.runs}.isdisjoint((run.system_id, run.seed) for run in b.runs):
        systems = sorted({run.system_id for config in (a, b) for run in config.runs if run.seed in common})
        return f"run times of different systems do not compare ({', '.join(systems)})", "run both on one system"
    reason = f"no seed has a train time of both: it was not measured, or the runs are {MARKED}"
    return reason, "run them again, without other work and without a stop"
