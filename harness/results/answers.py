"""Is A more accurate, is A faster: the configs of a table compared, each pair over the seeds that both have."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import HarnessError
from harness.records.comparable import MARKED
from harness.results.measured import MeasuredConfig, MeasuredRun, TestImages
from harness.statistics.differences import Differences
from harness.statistics.intervals import CONFIDENCE, Summary, summarise
from harness.statistics.pairs import LEVEL, Judged, compare_pairs, image_variances, judge, largest_image_variances
from harness.statistics.power import detectable, seeds_between
from harness.statistics.significance import holm

if TYPE_CHECKING:
    import numpy as np

Question = Literal["accuracy", "time"]
Verdict = Literal["a", "b", "equivalent", "undecided"]
ONE_SEED = "one seed in common: no interval, no verdict"
ALIKE = "all seeds differ by the same, which leaves no noise to judge by: no verdict"
MOST_READ = 2000  # files of predictions: a second; of larger tables the largest variance over the images is taken


@dataclass(frozen=True)
class Pair:
    """The two runs of one seed."""

    seed: int
    a: MeasuredRun
    b: MeasuredRun

    @property
    def on_one_system(self) -> bool:
        """Whether both ran on the same system."""
        return self.a.system_id == self.b.system_id

    @property
    def seconds_apart(self) -> float:
        """Seconds between the end of the one and the start of the other; 0 where they overlap."""
        return self.a.seconds_until(self.b)


@dataclass(frozen=True)
class Answer:
    """The answer to one question on two configs.

    Attributes:
        reason: why there is no verdict; empty where there is one.
        hint: what would give one.
        pairs: the seeds that it is taken from.
        a, b: mean accuracy (a fraction) or train seconds over these pairs; None without a pair.
        differences: accuracy of A minus B as a fraction, or the natural logarithm of A's train time over B's.
        p: of no difference, by itself.
        p_corrected: the same by Holm's method, where it is one of several comparisons.
        p_beyond: of a difference of `margin` or more, corrected like the verdict; None without a margin.
        margin: of the suite: differences of accuracy below it do not matter; None without one.
        images: that the accuracies are means over.
        predictions_kept: whether the variance over the images is that of the stored predictions; else it is the largest
            that it can be.
        seeds_for_power: the ends of the 95 % interval of how many find a difference as large as this one 8 times of
            10; None for an end of more than `power.MOST_SEEDS`, and where that is not known.
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
    p_beyond: float | None = None
    verdict: Verdict | None = None
    margin: float | None = None
    images: int = 0
    predictions_kept: bool = True
    seeds_for_power: tuple[int | None, int | None] | None = None
    detectable: float | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that it is taken from."""
        return tuple(pair.seed for pair in self.pairs)


class Family:
    """One question on several configs.

    Args:
        question: accuracy or time.
        configs: all that are compared.
        margin: differences of accuracy below it do not matter, a fraction; None where all do.
        to: the place of a config that was named beforehand: the family is of the comparisons with it alone, each with
            the noise of its own seeds.
    """

    def __init__(
        self,
        question: Question,
        configs: Sequence[MeasuredConfig],
        margin: float | None = None,
        to: int | None = None,
    ) -> None:
        self.question: Question = question
        self.configs = tuple(configs)
        self.margin = margin if question == "accuracy" else None
        self._runs = _chosen(self.configs) if question == "accuracy" else _timed(self.configs)
        self.judged = self._judged(to)
        others = len(self.configs) - 1
        self._comparisons = max(1, others if to is not None else others * len(self.configs) // 2)

    @functools.cached_property
    def values(self) -> np.ndarray:
        """What is compared, [configs, seeds], the larger the better: accuracies, or minus the logarithms of times."""
        import numpy as np

        seeds = sorted({seed for own in self._runs for seed in own})
        values = np.full((len(self.configs), len(seeds)), np.nan)
        places = {seed: place for place, seed in enumerate(seeds)}
        for row, own in enumerate(self._runs):
            for seed, run in own.items():
                value = _VALUE[self.question](run)
                if value is not None:
                    values[row, places[seed]] = value
        return values if self.question == "accuracy" else -np.log(values)

    def answer(self, a: int, b: int) -> Answer:
        """Returns the answer on two of the configs, by their places."""
        reason, hint = self._refused(a, b)
        if reason:
            return Answer(self.question, reason, hint)
        pairs = self._pairs(a, b)
        value = _VALUE[self.question]
        mean_a, mean_b = summarise([value(x.a) for x in pairs]), summarise([value(x.b) for x in pairs])
        found = self._differences(a, b, pairs)
        known = self._kept[a] and self._kept[b]
        images = pairs[0].a.images.samples if self.question == "accuracy" else 0
        p = float(self.judged.pairs.p[a, b])
        if math.isnan(p):
            reason = ONE_SEED if len(pairs) == 1 else ALIKE
            return Answer(self.question, reason, "run more seeds", tuple(pairs), mean_a, mean_b, found)
        verdict = self.judged.verdict(a, b)
        return Answer(
            self.question,
            pairs=tuple(pairs),
            a=mean_a,
            b=mean_b,
            differences=found,
            p=p,
            p_corrected=None if self._comparisons == 1 else float(self.judged.p[a, b]),
            p_beyond=float(self.judged.p_beyond[a, b]) if self.judged.p_beyond is not None else None,
            verdict="a" if verdict == "better" else "b" if verdict == "worse" else verdict,
            margin=self.margin,
            images=images,
            predictions_kept=known,
            **_planned(found.summary, self._comparisons),
        )

    def _judged(self, to: int | None) -> Judged:
        import numpy as np

        if self.question == "time":
            self._kept, self._over_images = [True] * len(self.configs), np.zeros((len(self.configs),) * 2)
            return judge(compare_pairs(self.values, borrow=to is None), to=to)
        self._over_images, self._kept, images = _over_images(self._runs, self.values)
        return judge(compare_pairs(self.values, self._over_images, images, borrow=to is None), self.margin, to)

    def _pairs(self, a: int, b: int) -> list[Pair]:
        """Returns the pairs of runs that have the number that is compared."""
        one, other = self._runs[a], self._runs[b]
        value = _VALUE[self.question]
        found = [Pair(seed, one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]
        return [pair for pair in found if value(pair.a) is not None and value(pair.b) is not None]

    def _differences(self, a: int, b: int, pairs: Sequence[Pair]) -> Differences:
        value, difference = _VALUE[self.question], _DIFFERENCE[self.question]
        values = tuple(
            difference(x, y) for pair in pairs if (x := value(pair.a)) is not None and (y := value(pair.b)) is not None
        )
        summary = summarise(values)
        assert summary
        if not math.isnan(self.judged.pairs.p[a, b]):
            found = self.judged.pairs
            over_seeds, freedom = float(found.over_seeds[a, b]), float(found.freedom[a, b])
            summary = dataclasses.replace(summary, over_seeds=over_seeds, freedom=freedom)
            over_images = float(self._over_images[a, b])
            summary = dataclasses.replace(summary, over_images=over_images, images=found.images)
            summary = dataclasses.replace(summary, ci95=summary.half_width((1 - CONFIDENCE) / 2))
        return Differences(values, summary)

    def _refused(self, a: int, b: int) -> tuple[str, str]:
        """Returns why a question is refused, and what to do about it; empty where it is not."""
        one, other = self.configs[a], self.configs[b]
        common = set(one.seeds) & set(other.seeds)
        if not common:
            return no_pairs(one, other)
        pairs = self._pairs(a, b)
        if self.question == "time":
            return ("", "") if pairs else _why_untimed(one, other, common)
        runs = [run for own in (self._runs[a], self._runs[b]) for seed, run in own.items() if seed in common]
        if not all(run.rankable for run in runs):
            return "accuracy on synthetic data means nothing", "compare it on real images"
        images = dict.fromkeys(run.images for run in runs)
        if len(images) > 1:
            x, y = list(images)[:2]
            sizes = f": {x.samples:,} and {y.samples:,}" if x.samples != y.samples else " (another data fingerprint)"
            return f"they were tested on different images{sizes}", "compare configs with the same data"
        return ("", "") if pairs else ("their test accuracy was not recorded", "run them again")


def together(answers: Sequence[Answer]) -> list[Answer]:
    """Returns answers on separate pairs of configs as one family, corrected by Holm's method.

    The pairs of a table are a `Family`; these are e.g. the configs of a suite, each beside itself of another day.
    """
    tested = [place for place, one in enumerate(answers) if one.p is not None]
    ps = holm([answers[place].p or 0.0 for place in tested])
    beyond = holm([answers[place].p_beyond or 0.0 for place in tested])
    found = list(answers)
    for place, p, p_beyond in zip(tested, ps, beyond, strict=True):
        one = answers[place]
        assert one.differences
        verdict: Verdict = "undecided"
        if p < LEVEL:
            verdict = "a" if (one.differences.summary.mean > 0) == (one.question == "accuracy") else "b"
        elif one.p_beyond is not None and p_beyond < LEVEL:
            verdict = "equivalent"
        planned = _planned(one.differences.summary, len(tested))
        found[place] = dataclasses.replace(one, p_corrected=p, verdict=verdict, **planned)
    return found


def _planned(found: Summary, comparisons: int) -> dict[str, Any]:
    """Returns how many seeds would decide such a difference, and which one these find, among so many comparisons."""
    over_seeds, freedom, over_images, images = found.parts
    noise = over_images, images, freedom - (found.n - 1)
    deviation, level = math.sqrt(over_seeds * found.n), LEVEL / comparisons
    if not found.has_noise:
        return {"seeds_for_power": None, "detectable": None}
    # By the pair's own deviation: that of a table is never less than it, so on average it is too large.
    needed = seeds_between(found.mean, found.sd or 0.0, found.n - 1, *noise, level=level) if found.n > 2 else None
    return {"seeds_for_power": needed, "detectable": detectable(deviation, found.n, *noise, level=level)}


def no_pairs(a: MeasuredConfig, b: MeasuredConfig) -> tuple[str, str]:
    """Returns why two configs have no seed in common, and what to do about it."""
    for config in (a, b):
        if not config.runs:
            ended = f": {config.ended}" if config.ended else ""
            return f"no result of '{config.label}' yet{ended}", "run it: harness run SUITE"
    seeds = " and of ".join(f"'{one.label}' are {', '.join(map(str, one.seeds))}" for one in (a, b))
    return f"no seed in common: those of {seeds}", "run both with the same seeds"


_VALUE: Mapping[Question, Callable[[MeasuredRun], float | None]] = {
    "accuracy": lambda run: run.accuracy,
    "time": lambda run: run.train_seconds,
}
_DIFFERENCE: Mapping[Question, Callable[[float, float], float]] = {
    "accuracy": lambda a, b: a - b,
    "time": lambda a, b: math.log(a / b),
}


def _chosen(configs: Sequence[MeasuredConfig]) -> list[dict[int, MeasuredRun]]:
    """Returns the run that counts of each config and seed, where a seed was run on several systems.

    It is that of the system on which most of the configs have the seed; of those alike, of the one with most runs that
    can be paired.
    """
    with_seed = Counter((run.system_id, run.seed) for config in configs for run in config.runs)
    paired: Counter[str] = Counter()
    for (system, _), count in with_seed.items():
        paired[system] += count - 1
    found: list[dict[int, MeasuredRun]] = []
    for config in configs:
        own: dict[int, MeasuredRun] = {}
        for run in sorted(
            config.runs, key=lambda x: (-with_seed[x.system_id, x.seed], -paired[x.system_id], x.system_id)
        ):
            own.setdefault(run.seed, run)
        found.append(own)
    return found


def _timed(configs: Sequence[MeasuredConfig]) -> list[dict[int, MeasuredRun]]:
    """Returns the runs whose times compare: of one system, that on which most pairs of them can be made."""
    timed = [[run for run in config.runs if run.train_seconds] for config in configs]
    counts = Counter((run.system_id, run.seed) for own in timed for run in own)
    paired: Counter[str] = Counter()
    for (system, _), count in counts.items():
        paired[system] += count - 1
    chosen = min(paired, key=lambda system: (-paired[system], system), default="")
    return [{run.seed: run for run in own if run.system_id == chosen} for own in timed]


def _why_untimed(a: MeasuredConfig, b: MeasuredConfig, common: set[int]) -> tuple[str, str]:
    systems = {run.system_id for config in (a, b) for run in config.runs if run.seed in common}
    if not any(a.by_system[one].keys() & b.by_system.get(one, {}).keys() for one in a.by_system):
        reason = f"run times of different systems do not compare ({', '.join(sorted(systems))})"
        return reason, "run both on one system"
    reason = f"no seed has a train time of both: it was not measured, or the runs are {MARKED}"
    return reason, "run them again, alone and without a stop"


def _over_images(
    runs: Sequence[Mapping[int, MeasuredRun]], accuracies: np.ndarray
) -> tuple[np.ndarray, list[bool], int]:
    """Returns s²_image / m of each pair, whether the predictions of each config were kept, and the fewest images."""
    import numpy as np

    configs = len(runs)
    found = np.full((configs, configs), np.nan)
    kept = [False] * configs
    readable = sum(map(len, runs)) <= MOST_READ
    tested: dict[TestImages, list[int]] = {}
    for place, own in enumerate(runs):
        images = {run.images for run in own.values()}
        if len(images) == 1 and all(run.rankable for run in own.values()):
            tested.setdefault(images.pop(), []).append(place)
    for images, places in tested.items():
        block = np.ix_(places, places)
        with np.errstate(invalid="ignore"):
            means = np.array([own[~np.isnan(own)].mean() if (~np.isnan(own)).any() else np.nan for own in accuracies])
        found[block] = largest_image_variances(means[places], max(images.samples, 1))
        recognised = _recognised([runs[place] for place in places], images) if readable else {}
        whole = [places[index] for index in recognised]
        if whole:
            found[np.ix_(whole, whole)] = image_variances(np.stack(list(recognised.values())))
        for place in whole:
            kept[place] = True
    return found, kept, min((images.samples for images in tested), default=0)


def _recognised(runs: Sequence[Mapping[int, MeasuredRun]], images: TestImages) -> dict[int, np.ndarray]:
    """Returns by which share of a config's seeds each test image was recognised, where the predictions were kept."""
    import numpy as np

    found: dict[int, np.ndarray] = {}
    labels = ""
    for place, own in enumerate(runs):
        try:
            outcomes = [run.outcomes() for run in own.values()]
        except HarnessError:
            continue
        labels = labels or (outcomes[0].labels_sha256 if outcomes else "")
        if all(len(one.correct) == images.samples > 1 and one.labels_sha256 == labels for one in outcomes):
            found[place] = np.asarray(np.mean([one.correct for one in outcomes], axis=0, dtype=np.float32))
    return found
