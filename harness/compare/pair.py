"""Two configs compared: the answers, what their very networks do on other images, and what a reader must know."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.durations import rounded_text
from harness.errors import HarnessError
from harness.metric import Declaration
from harness.records.comparable import MARKED, told_apart
from harness.report.texts import listed, quoted
from harness.results.answers import Answer, Family, Pair
from harness.results.measured import MeasuredConfig
from harness.statistics.intervals import Summary, chance_above, summarise

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ComparedMetric:
    """One metric; there is no verdict, as its scatter over the test images is not known.

    Attributes:
        declared: its unit, its title, and which values are better.
        seeds: that both have a value of, by the same code.
        a, b: their means, each with the 95 % interval over these seeds.
        difference: of A minus B, the same.
    """

    name: str
    declared: Declaration
    seeds: tuple[int, ...]
    a: Summary
    b: Summary
    difference: Summary


def compared_metrics(pairs: Sequence[Pair]) -> Iterator[ComparedMetric]:
    """Yields the metrics that both runs of a seed have."""
    for name in dict.fromkeys(name for pair in pairs for name in pair.a.extra_metrics):
        found = [(pair.seed, pair.a.extra_metrics.get(name), pair.b.extra_metrics.get(name)) for pair in pairs]
        both = [(seed, a, b) for seed, a, b in found if a and b and a.code == b.code]
        values = [(seed, a.value, b.value) for seed, a, b in both if a.value is not None and b.value is not None]
        a, b = summarise([x for _, x, _ in values]), summarise([y for _, _, y in values])
        difference = summarise([x - y for _, x, y in values])
        if a and b and difference:
            yield ComparedMetric(name, both[0][1], tuple(seed for seed, _, _ in values), a, b, difference)


@dataclass(frozen=True)
class ConfigPair:
    """All that is known of A against B.

    Attributes:
        networks: would these very networks differ on other test images? It is no verdict on the configs, as other
            seeds are not asked: A's share of networks that recognise an image minus B's, averaged over the images. None
            where it was not asked for.
        cautions: what a reader of the answers must know.
    """

    a: MeasuredConfig
    b: MeasuredConfig
    accuracy: Answer
    time: Answer
    networks: Answer | None
    cautions: tuple[str, ...]

    @property
    def names(self) -> tuple[str, str]:
        """What A and B are called: by their labels, and by where they are from where those are the same."""
        a, b = quoted(self.a.label), quoted(self.b.label)
        if self.b.from_baseline:
            return a, f"{b} (baseline)"
        return (
            (a, b) if a != b else (quoted(f"{self.a.suite}:{self.a.label}"), quoted(f"{self.b.suite}:{self.b.label}"))
        )

    @functools.cached_property
    def metrics(self) -> tuple[ComparedMetric, ...]:
        """The metrics of plug-ins, over the seeds that accuracy is compared over."""
        return tuple(compared_metrics(self.accuracy.pairs))

    @property
    def answers(self) -> tuple[Answer, Answer]:
        """Both answers."""
        return self.accuracy, self.time


def compare(
    a: MeasuredConfig,
    b: MeasuredConfig,
    round_seconds: float,
    *,
    margin: float | None = None,
    test_images: bool = True,
) -> ConfigPair:
    """Compares two configs over the seeds they share.

    Args:
        round_seconds: of a run of each config that the plan interleaves: pairs further apart are named.
        margin: differences of accuracy below it do not matter, a fraction; None where all do.
        test_images: whether to compare the networks on their test images, which reads the predictions.
    """
    found = one_of(Family("accuracy", (a, b), margin), Family("time", (a, b)), 0, 1, round_seconds)
    return dataclasses.replace(found, networks=_compare_networks(found.accuracy)) if test_images else found


def one_of(accuracy: Family, time: Family, a: int, b: int, round_seconds: float) -> ConfigPair:
    """Returns the comparison of two configs of two families of the same configs, by their places."""
    judged, timed = accuracy.answer(a, b), time.answer(a, b)
    one, other = accuracy.configs[a], accuracy.configs[b]
    return ConfigPair(one, other, judged, timed, None, tuple(_cautions(one, other, judged, timed, round_seconds)))


def _compare_networks(accuracy: Answer) -> Answer:
    """Compares the networks of A with those of B by the stored predictions of the seeds that both have."""
    if not accuracy.pairs:
        return Answer("networks", accuracy.reason, accuracy.hint)
    try:
        found, p = over_images([_differences(pair) for pair in accuracy.pairs])
    except HarnessError as error:
        return Answer("networks", error.message, error.hint)
    return Answer("networks", pairs=accuracy.pairs, difference=found, p=p, images=found.n)


def over_images(differences: Sequence[np.ndarray]) -> tuple[Summary, float]:
    """Tests the mean difference of an image over the seeds, with the images as the sample; its power grows with the
    seeds. With one seed it is McNemar's test but for the reference distribution.

    Source: Q. McNemar, Psychometrika 12 (1947) 153; T. G. Dietterich, Neural Computation 10 (1998) 1895.

    Args:
        differences: of each seed what A's network recognised minus what B's did, [images].

    Returns:
        The mean with its interval, and p of no difference, two-sided.
    """
    import numpy as np

    summary = summarise(np.mean(differences, axis=0).tolist())
    assert summary
    above = chance_above(summary)
    return summary, float(summary.mean == 0) if above is None else 2 * min(above, 1 - above)


def _differences(pair: Pair) -> np.ndarray:
    """Returns what A's network recognised minus what B's did, of each image."""
    a, b = pair.a.outcomes(), pair.b.outcomes()
    count, samples = len(a.correct), pair.a.test_samples
    if count != len(b.correct):
        message = f"the predictions of seed {pair.seed} are of {count:,} and of {len(b.correct):,} test images"
        raise HarnessError(message, "compare configs with the same test images")
    if count != samples:
        message = f"stored predictions of seed {pair.seed}: {count:,}, of {samples:,} test images"
        raise HarnessError(message, "run it again, or restore its predictions.npz")
    if a.labels_sha256 != b.labels_sha256:
        message = f"the predictions of seed {pair.seed} are of test images with other labels, or in another order"
        raise HarnessError(message, "run one of them again")
    return a.correct.astype(float) - b.correct


def _cautions(
    a: MeasuredConfig, b: MeasuredConfig, accuracy: Answer, time: Answer, round_seconds: float
) -> Iterator[str]:
    for config in (a, b):
        if config.ended and "," in config.ended:
            yield f"Of {quoted(config.label)} the runs ended {config.ended}; only those that are ok count."
    both, only = set(a.seeds) & set(b.seeds), set(a.seeds) ^ set(b.seeds)
    if both and only:
        yield f"Seeds that only one of them has are left out: {_numbers(sorted(only))}."
    if accuracy.images and not accuracy.predictions_kept:
        yield (
            "Accuracy: not all predictions were kept (or read), so the variance over the test images is the largest "
            "that it can be: the interval is too wide rather than too narrow."
        )
    if mixed := [pair.seed for pair in accuracy.pairs if pair.a.system_id != pair.b.system_id]:
        yield f"Accuracy, seeds {_numbers(mixed)}: the two ran on different systems."
    left_out = sorted(both - {pair.seed for pair in time.pairs})
    if time.pairs and left_out:
        why = f"{MARKED}, not measured, or of another system"
        yield f"Train time, seeds {_numbers(left_out)} are left out: {why}."
    if any(pair.a.data_fingerprint != pair.b.data_fingerprint for pair in time.pairs):
        yield "Train time: the two learnt from different data, and that is in the difference."
    same_size = [pair for pair in time.pairs if pair.a.num_processes == pair.b.num_processes]
    environments = ((pair.a.environment, pair.b.environment) for pair in same_size)
    if unlike := next((told_apart(a, b) for a, b in environments if a is not None and b is not None and a != b), ""):
        yield f"Train time: A ran in another environment than B ({unlike}), and that is in the difference."
    if b.from_baseline and time.pairs:
        day = min(pair.b.started_at for pair in time.pairs)[:10]
        yield f"Train time: the baseline's runs are of {day}; what the machine has changed since is in the difference."
        return
    # A plan is interleaved by seed: a pair that ran in its turn has at most the seed's other configs in between.
    apart = {pair.seed: pair.a.seconds_until(pair.b) for pair in time.pairs}
    if far := {seed: seconds for seed, seconds in apart.items() if seconds > max(round_seconds, 60.0)}:
        yield (
            f"Train time, seeds {_numbers(far)}: the two did not run side by side, but up to "
            f"{rounded_text(max(far.values()))} apart, where one round over the plan takes "
            f"{rounded_text(round_seconds)}: what the machine did meanwhile is in the difference."
        )


def _numbers(seeds: Iterable[int]) -> str:
    return listed(list(map(str, seeds)), 10)
