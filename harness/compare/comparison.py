"""Two configs compared, and what a reader of it must know."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.compare.networks import Networks, compare_networks
from harness.records.comparable import MARKED
from harness.report.texts import one_line, quoted
from harness.results.answers import Answer, Family, Pair
from harness.results.measured import MeasuredConfig


@dataclass(frozen=True)
class ConfigPair:
    """All that is known of A against B.

    Attributes:
        networks: on other test images; None where it was not asked for.
        cautions: what a reader of the answers must know.
    """

    a: MeasuredConfig
    b: MeasuredConfig
    accuracy: Answer
    time: Answer
    networks: Networks | None
    cautions: tuple[str, ...]

    @property
    def names(self) -> tuple[str, str]:
        """What A and B are called: by their labels, and by where they are from where those are the same."""
        a, b = one_line(self.a.label), one_line(self.b.label)
        if self.b.from_baseline:
            return a, f"{b} (baseline)"
        return (a, b) if a != b else (f"{self.a.suite}:{a}", f"{self.b.suite}:{b}")

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
    if not test_images:
        return found
    accuracy = found.accuracy
    refused = Networks(reason=accuracy.reason, hint=accuracy.hint)
    return dataclasses.replace(found, networks=compare_networks(accuracy.pairs) if accuracy.pairs else refused)


def one_of(accuracy: Family, time: Family, a: int, b: int, round_seconds: float) -> ConfigPair:
    """Returns the comparison of two configs of two families of the same configs, by their places."""
    judged, timed = accuracy.answer(a, b), time.answer(a, b)
    one, other = accuracy.configs[a], accuracy.configs[b]
    return ConfigPair(one, other, judged, timed, None, tuple(_cautions(one, other, judged, timed, round_seconds)))


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
    if any(pair.a.images.fingerprint != pair.b.images.fingerprint for pair in time.pairs):
        yield "Train time: the two learnt from different data, and that is in the difference."
    if b.from_baseline and time.pairs:
        day = min(pair.b.started_at for pair in time.pairs)[:10]
        yield f"Train time: the baseline's runs are of {day}; what the machine has changed since is in the difference."
    elif apart := _far_apart(time.pairs, round_seconds):
        yield (
            f"Train time, seeds {_numbers(list(apart))}: the two did not run side by side, but up to "
            f"{_duration(max(apart.values()))} apart, where one round over the plan takes {_duration(round_seconds)}: "
            "what the machine did meanwhile is in the difference."
        )


def _far_apart(pairs: Sequence[Pair], round_seconds: float) -> dict[int, float]:
    """Returns by seed how far apart runs are, where that is more than one round over all configs, and than a minute.

    A plan is interleaved by seed: a pair that ran in its turn has at most the seed's other configs in between.
    """
    apart = {pair.seed: pair.a.seconds_until(pair.b) for pair in pairs}
    return {seed: seconds for seed, seconds in apart.items() if seconds > max(round_seconds, 60.0)}


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _numbers(seeds: Sequence[int]) -> str:
    shown = ", ".join(map(str, seeds[:10]))
    return f"{shown} and {len(seeds) - 10} more" if len(seeds) > 10 else shown
