"""What a comparison takes from a run and from a config: numbers by seed, and where and when they were measured."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from harness.records.comparable import compares
from harness.records.planned import folder_of
from harness.records.result import RunResult, metric
from harness.results.outcomes import Outcomes, read_outcomes

ACCURACY, SECONDS = "test.accuracy", "clock.train_seconds"


@dataclass(frozen=True)
class TestImages:
    """Which images a run was tested on."""

    __test__ = False  # no test, whatever pytest makes of the name

    fingerprint: str
    samples: int


@dataclass(frozen=True)
class MeasuredRun:
    """One run that ended ok.

    Attributes:
        accuracy: on the test images after the last epoch, a fraction; None where it means nothing.
        train_seconds: None where they do not count, as of a run that is marked, see `harness.records.comparable`.
        started_at, ended_at: time of day, ISO 8601.
        outcomes: reads which test images were recognised; raises a HarnessError where that was not kept.
    """

    seed: int
    run_id: str
    system_id: str
    accuracy: float | None
    train_seconds: float | None
    started_at: str
    ended_at: str
    images: TestImages
    rankable: bool
    outcomes: Callable[[], Outcomes] = field(compare=False)

    def seconds_until(self, other: MeasuredRun) -> float:
        """Returns the seconds between the end of the one and the start of the other; 0 where they overlap."""
        first, second = sorted((self, other), key=lambda run: datetime.fromisoformat(run.started_at))
        gap = datetime.fromisoformat(second.started_at) - datetime.fromisoformat(first.ended_at)
        return max(0.0, gap.total_seconds())


@dataclass(frozen=True)
class MeasuredConfig:
    """A config and its runs that ended ok, on all systems that count.

    Attributes:
        ended: how all its runs ended, e.g. `4 ok, 1 diverged`.
        died: the seeds whose runs ended in another way than ok.
        from_baseline: whether it was read from a baseline file.
    """

    suite: str
    label: str
    config_id: str
    runs: tuple[MeasuredRun, ...]
    ended: str = ""
    died: tuple[int, ...] = ()
    from_baseline: bool = False

    @functools.cached_property
    def by_system(self) -> dict[str, dict[int, MeasuredRun]]:
        """The runs by system_id and seed."""
        found: dict[str, dict[int, MeasuredRun]] = {}
        for run in self.runs:
            found.setdefault(run.system_id, {})[run.seed] = run
        return found

    @property
    def seeds(self) -> list[int]:
        """The seeds that it was run with, in order."""
        return sorted({run.seed for run in self.runs})


def measured_configs(
    suite: str, labels: Mapping[str, str], results: Iterable[RunResult], output: Path, *, system: str = ""
) -> list[MeasuredConfig]:
    """Returns the configs of a suite with what was measured of them.

    Args:
        suite: its name.
        labels: of the configs that are wanted, by config_id, in their order.
        results: those of the plan.
        output: the results root, where the predictions lie.
        system: only results of this system_id count; of all systems by default.
    """
    own: dict[str, list[RunResult]] = {config_id: [] for config_id in labels}
    for result in results:
        # An anchor repeats a run with the same seed, to show the machine's drift: it is no other sample.
        if not result.is_anchor and result.config_id in own and system in ("", result.system_id):
            own[result.config_id].append(result)
    return [measured_config(suite, label, config_id, own[config_id], output) for config_id, label in labels.items()]


def round_seconds(configs: Iterable[MeasuredConfig]) -> float:
    """Returns what one round over the configs takes, a run of each, with all that is not training."""
    total = 0.0
    for config in configs:
        lengths = [
            (datetime.fromisoformat(run.ended_at) - datetime.fromisoformat(run.started_at)).total_seconds()
            for run in config.runs
        ]
        total += sum(lengths) / len(lengths) if lengths else 0.0
    return total


def count_by_status(runs: Iterable[RunResult]) -> str:
    """Returns e.g. `2 ok, 1 oom`."""
    return count_statuses(run.status for run in runs)


def count_statuses(statuses: Iterable[str]) -> str:
    """Returns the same of statuses alone."""
    counts = Counter(statuses)
    return ", ".join(f"{counts[status]} {status}" for status in sorted(counts, key=lambda name: (name != "ok", name)))


def measured_config(
    suite: str, label: str, config_id: str, results: Sequence[RunResult], output: Path, *, with_resumed: bool = False
) -> MeasuredConfig:
    """Returns a config with what was measured of it.

    Args:
        results: its runs without anchors.
        output: the results root, where the predictions lie.
        with_resumed: times of runs that went on from a checkpoint count too.
    """
    ok = sorted((run for run in results if run.status == "ok"), key=lambda run: run.seed)
    runs = tuple(_run(suite, run, output, timed=compares(run, SECONDS, with_resumed=with_resumed)) for run in ok)
    died = {run.seed for run in results} - {run.seed for run in ok}
    return MeasuredConfig(suite, label, config_id, runs, count_by_status(results), tuple(sorted(died)))


def _run(suite: str, result: RunResult, output: Path, *, timed: bool) -> MeasuredRun:
    assert result.data  # of a run that ended ok
    path = folder_of(output, suite, result).path / "predictions.npz"
    return MeasuredRun(
        seed=result.seed,
        run_id=result.run_id,
        system_id=result.system_id,
        accuracy=metric(result, ACCURACY) if result.data.rankable else None,
        train_seconds=metric(result, SECONDS) if timed else None,
        started_at=result.started_at,
        ended_at=result.ended_at,
        images=TestImages(result.data.fingerprint, result.data.test_samples),
        rankable=result.data.rankable,
        outcomes=functools.partial(read_outcomes, path),
    )
