"""What a comparison takes from a run and from a config: numbers by seed, and where and when they were measured.

Of a run that is which test images it recognised, too, and what that says of other images.
"""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.records.comparable import compares
from harness.records.planned import folder_of
from harness.records.predictions import PREDICTIONS, read_predictions
from harness.records.result import ExtraMetric, RunResult, metric
from harness.statistics.crossed import ImageNoise, image_noise, largest_image_noise

if TYPE_CHECKING:
    import numpy as np

ACCURACY, SECONDS, LATENCY = "test.accuracy", "clock.train_seconds", "inference.latency_seconds"
MOST_READ = 2000  # files of predictions: a second; of larger tables the largest variance over the images is taken


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One bit for each test image.

    Attributes:
        labels_sha256: of the true labels in their order: two runs with the same saw the images in the same order.
        correct: whether the first prediction was right, bool [N].
    """

    labels_sha256: str
    correct: np.ndarray


@dataclass(frozen=True)
class MeasuredRun:
    """One run that ended ok.

    Attributes:
        accuracy: on the test images after the last epoch, a fraction; None where it means nothing.
        train_seconds: None where they do not count, as of a run that is marked, see `harness.records.comparable`.
        started_at, ended_at: time of day, ISO 8601.
        data_fingerprint, test_samples: of the test images.
        predictions: the file that holds them.
        extra_metrics: metrics of plug-ins on the test images, by name; and the latency of the network in use.
        num_processes: of the run.
        environment: the variables that change run time; None where they are not known.
    """

    seed: int
    run_id: str
    system_id: str
    accuracy: float | None
    train_seconds: float | None
    started_at: str
    ended_at: str
    data_fingerprint: str
    test_samples: int
    rankable: bool
    predictions: Path
    extra_metrics: Mapping[str, ExtraMetric] = field(default_factory=dict)
    num_processes: int = 1
    environment: Mapping[str, str] | None = None

    @property
    def images(self) -> tuple[str, int]:
        """On which images it was tested: their fingerprint, and how many they are."""
        return self.data_fingerprint, self.test_samples

    def outcomes(self) -> Outcomes:
        """Returns which test images were recognised.

        Raises:
            HarnessError: that was not kept, or cannot be read.
        """
        import numpy as np

        label, prediction = read_predictions(self.predictions)
        digest = hashlib.sha256(np.ascontiguousarray(label, dtype="<i4").tobytes()).hexdigest()
        return Outcomes(digest, label == prediction)

    def seconds_until(self, other: MeasuredRun) -> float:
        """Returns the seconds between the end of the one and the start of the other; 0 where they overlap."""
        return max(0.0, _seconds(self.ended_at, other.started_at), _seconds(other.ended_at, self.started_at))


@dataclass(frozen=True)
class MeasuredConfig:
    """A config and its runs that ended ok, on all systems that count.

    Attributes:
        ended: how all its runs ended, e.g. `4 ok, 1 diverged`.
        died: the seeds whose runs ended in another way than ok.
        from_baseline: whether its records are a baseline's.
    """

    suite: str
    label: str
    config_id: str
    runs: tuple[MeasuredRun, ...]
    ended: str = ""
    died: tuple[int, ...] = ()
    from_baseline: bool = False

    @property
    def seeds(self) -> list[int]:
        """The seeds that it was run with, in order."""
        return sorted({run.seed for run in self.runs})


def measured_configs(
    suite: str,
    labels: Mapping[str, str],
    results: Iterable[RunResult],
    output: Path,
    *,
    system: str = "",
    with_resumed: bool = False,
) -> list[MeasuredConfig]:
    """Returns the configs of a suite with what was measured of them.

    Args:
        suite: its name.
        labels: of the configs that are wanted, by config_id, in their order.
        results: those of the plan.
        output: the results root, where the predictions lie.
        system: only results of this system_id count; of all systems by default.
        with_resumed: times of runs that went on from a checkpoint count too.
    """
    every: dict[str, list[RunResult]] = {config_id: [] for config_id in labels}
    for result in results:
        # An anchor repeats a run with the same seed, to show the machine's drift: it is no other sample.
        if not result.is_anchor and result.config_id in every and system in ("", result.system_id):
            every[result.config_id].append(result)
    found = []
    for config_id, own in every.items():
        ok = sorted((run for run in own if run.status == "ok"), key=lambda run: run.seed)
        runs = tuple(_run(suite, run, output, timed=compares(run, SECONDS, with_resumed=with_resumed)) for run in ok)
        died = sorted({run.seed for run in own} - {run.seed for run in ok})
        ended = count_statuses(run.status for run in own)
        found.append(MeasuredConfig(suite, labels[config_id], config_id, runs, ended, tuple(died)))
    return found


def round_seconds(configs: Iterable[MeasuredConfig]) -> float:
    """Returns what one round over the configs takes, a run of each, with all that is not training."""
    return sum(
        statistics.fmean(_seconds(run.started_at, run.ended_at) for run in config.runs)
        for config in configs
        if config.runs
    )


def _seconds(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


def count_statuses(statuses: Iterable[str]) -> str:
    """Returns e.g. `2 ok, 1 oom`."""
    counts = Counter(statuses)
    return ", ".join(f"{counts[status]} {status}" for status in sorted(counts, key=lambda name: (name != "ok", name)))


def _run(suite: str, result: RunResult, output: Path, *, timed: bool) -> MeasuredRun:
    assert result.data  # of a run that ended ok
    return MeasuredRun(
        seed=result.seed,
        run_id=result.run_id,
        system_id=result.system_id,
        accuracy=metric(result, ACCURACY) if result.data.rankable else None,
        train_seconds=metric(result, SECONDS) if timed else None,
        started_at=result.started_at,
        ended_at=result.ended_at,
        data_fingerprint=result.data.fingerprint,
        test_samples=result.data.test_samples,
        rankable=result.data.rankable,
        predictions=folder_of(output, suite, result).path / PREDICTIONS,
        extra_metrics=_in_use(result) | result.extra_metrics,
        num_processes=result.num_processes,
        environment=result.environment,
    )


def _in_use(result: RunResult) -> dict[str, ExtraMetric]:
    """Returns the latency of the network in use; what other systems measured is as if it were by other code."""
    latency = metric(result, LATENCY)
    if latency is None or not compares(result, LATENCY):
        return {}
    code = result.system_id
    return {"latency": ExtraMetric(unit="ms", title="latency", better="lower", value=1000 * latency, code=code)}


def noise_of_images(
    runs: Sequence[Mapping[int, MeasuredRun]], seeds: Sequence[int], accuracies: np.ndarray
) -> tuple[ImageNoise, list[bool]]:
    """Returns the noise of the test images in each pair, and whether the predictions of each config were kept.

    Args:
        runs: of each config, by seed.
        seeds: of the columns of the accuracies, [configs, seeds].
    """
    import numpy as np

    there = ~np.isnan(accuracies)
    means = np.where(there, accuracies, 0.0).sum(1) / np.maximum(there.sum(1), 1)
    shared, own = np.full((len(runs),) * 2, np.nan), np.zeros((len(runs),) * 2)
    kept = [False] * len(runs)
    tested: dict[tuple[str, int], list[int]] = {}
    for place, by_seed in enumerate(runs):
        images = {run.images for run in by_seed.values()}
        if len(images) == 1 and all(run.rankable for run in by_seed.values()):
            tested.setdefault(images.pop(), []).append(place)
    for (_, count), places in tested.items():
        shared[np.ix_(places, places)] = largest_image_noise(means[places], count).shared
        if there.sum() > MOST_READ:
            continue
        labels, found = "", {}
        for place in places:
            try:
                outcomes = {seed: runs[place][one].outcomes() for seed, one in enumerate(seeds) if there[place, seed]}
            except HarnessError:
                continue
            labels = labels or next((one.labels_sha256 for one in outcomes.values()), "")
            if all(len(one.correct) == count > 1 and one.labels_sha256 == labels for one in outcomes.values()):
                found[place] = {seed: one.correct for seed, one in outcomes.items()}
        if at := list(found):
            right = np.zeros((len(at), len(seeds), count), bool)
            for row, by_seed in enumerate(found.values()):
                right[row, list(by_seed)] = list(by_seed.values())
            noise = image_noise(right, there[at])
            shared[np.ix_(at, at)], own[np.ix_(at, at)] = noise.shared, noise.own
            for place in at:
                kept[place] = True
    return ImageNoise(shared, own, min((count for _, count in tested), default=0)), kept
