"""Two configs compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.compare.answers import Answer, answer
from harness.compare.mcnemar import McNemar, mcnemar
from harness.compare.measured import MeasuredConfig
from harness.compare.pairs import far_apart, pairs_of
from harness.records.comparable import MARKED
from harness.report.texts import one_line


@dataclass(frozen=True)
class Comparison:
    """All that is known of A against B.

    Attributes:
        mcnemar: None where it was not asked for.
        cautions: what a reader of the answers must know.
    """

    a: MeasuredConfig
    b: MeasuredConfig
    accuracy: Answer
    time: Answer
    mcnemar: McNemar | None
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


def compare(a: MeasuredConfig, b: MeasuredConfig, round_seconds: float, *, test_images: bool = True) -> Comparison:
    """Compares two configs over the seeds they share.

    Args:
        round_seconds: of a run of each config that the plan interleaves: pairs further apart are named.
        test_images: whether to make McNemar's test, which reads the predictions.
    """
    pairs = pairs_of(a, b)
    accuracy, time = answer("accuracy", a, b, pairs), answer("time", a, b, pairs)
    images = None
    if test_images:
        refused = McNemar((), None, accuracy.reason, accuracy.hint)
        images = mcnemar(accuracy.pairs) if accuracy.pairs else refused
    return Comparison(a, b, accuracy, time, images, tuple(_cautions(a, b, accuracy, time, round_seconds)))


def _cautions(
    a: MeasuredConfig, b: MeasuredConfig, accuracy: Answer, time: Answer, round_seconds: float
) -> Iterator[str]:
    for config in (a, b):
        if config.ended and "," in config.ended:
            yield f"Of {config.label} the runs ended {config.ended}; only those that are ok count."
    both, only = set(a.seeds) & set(b.seeds), set(a.seeds) ^ set(b.seeds)
    if both and only:
        yield f"Seeds that only one of them has are left out: {_numbers(sorted(only))}."
    mixed = [pair.seed for pair in accuracy.pairs if not pair.on_one_system]
    if mixed:
        yield f"Accuracy, seeds {_numbers(mixed)}: the two ran on different systems."
    left_out = sorted(both - set(time.seeds))
    if time.pairs and left_out:
        why = f"{MARKED}, not measured, or of another system"
        yield f"Train time, seeds {_numbers(left_out)} are left out: {why}."
    if any(pair.a.images.fingerprint != pair.b.images.fingerprint for pair in time.pairs):
        yield "Train time: the two learnt from different data, and that is in the difference."
    if b.from_baseline and time.pairs:
        day = min(pair.b.started_at for pair in time.pairs)[:10]
        yield f"Train time: the baseline's runs are of {day}; what the machine has changed since is in the difference."
    elif apart := list(far_apart(list(time.pairs), round_seconds)):
        most = max(pair.seconds_apart for pair in apart)
        yield (
            f"Train time, seeds {_numbers([pair.seed for pair in apart])}: the two did not run side by side, but up to "
            f"{duration(most)} apart, where one round over the plan takes {duration(round_seconds)}: what the machine "
            "did meanwhile is in the difference."
        )


def duration(seconds: float) -> str:
    """Returns e.g. `26 h`."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _numbers(seeds: list[int]) -> str:
    shown = ", ".join(map(str, seeds[:10]))
    return f"{shown} and {len(seeds) - 10} more" if len(seeds) > 10 else shown
