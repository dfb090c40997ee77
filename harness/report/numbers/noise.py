"""What times say beyond their means: runs that took much longer than the others, and whether the machine drifted.

Outliers are flagged, never dropped. Drift is told by the anchors: one config, run again and again between others.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.counted import counted, is_are
from harness.records.comparable import compares, marks
from harness.records.result import RunResult, metric
from harness.report.numbers.rows import Row
from harness.report.texts import quoted, span
from harness.statistics.intervals import t_quantile

LEAST_ANCHORS = 3  # a line through two points has no scatter
LEAST_SEEDS = 3  # of two that differ, neither is the odd one
LEAST_RESIDUALS = 8
THRESHOLD = 5.0  # see tests/report/test_noise_honesty.py for how often noise alone comes so far
SD_PER_MAD = 1.4826  # of a normal distribution
MOST_SHOWN = 5
# What may explain a time: (metric, how it is called, least ratio to the other seeds' median that is worth a word).
EXPLANATIONS = (
    ("throughput.data_wait_share", "share of time it waited for data", 1.2),
    ("telemetry.gpu_sm_clock_hertz", "SM clock", 1.02),
    ("telemetry.gpu_power_watts", "GPU power", 1.05),
    ("telemetry.gpu_temperature_celsius", "GPU temperature", 1.05),
    ("telemetry.host_cpu_share", "share of the CPU", 1.05),
)


@dataclass(frozen=True)
class Outlier:
    """A run whose train time is far from the median of its config's seeds.

    Attributes:
        deviation: of the train time from the median, as a fraction.
        score: the deviation in standard deviations of all configs' noise.
        because: what the record has that may explain it.
    """

    run_id: str
    label: str
    seed: int
    deviation: float
    score: float
    because: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self)


def outliers_of(rows: Sequence[Row]) -> list[Outlier]:
    """Returns the outliers among the runs of one system, the farthest first.

    A run's residual is the logarithm of its train time less the median of its config's seeds. The noise is common to
    all configs: the median of the residuals' absolute values, times 1.4826 (Iglewicz and Hoaglin, How to detect and
    handle outliers, 1993). Of an odd number of seeds one residual is 0 by its definition, and is left out of it.
    Configs with less than three seeds are not judged, nor is a system with less than eight residuals.
    """
    residuals: list[tuple[Row, RunResult, float]] = []
    noise: list[float] = []
    for row in rows:
        timed = [(run, run.clock.train_seconds) for run in row.ok_for("clock.train_seconds")]
        logs = [(run, math.log(seconds)) for run, seconds in timed if seconds]
        if len(logs) < LEAST_SEEDS:
            continue
        middle = statistics.median(value for _, value in logs)
        own = [(row, run, value - middle) for run, value in logs]
        residuals += own
        sizes = sorted(abs(residual) for _, _, residual in own)
        noise += [size * _widening(len(logs)) for size in sizes[len(logs) % 2 :]]
    if len(noise) < LEAST_RESIDUALS:
        return []
    deviation = SD_PER_MAD * statistics.median(noise)
    if deviation == 0:
        return []
    found = [
        Outlier(run.run_id, row.label, run.seed, math.expm1(r), r / deviation, tuple(_explanations(run, row)))
        for row, run, r in residuals
        if abs(r) > THRESHOLD * deviation
    ]
    return sorted(found, key=lambda outlier: -abs(outlier.score))


def outlier_notes(outliers: Sequence[Outlier]) -> Iterator[str]:
    """Yields what a table's reader should know of them."""
    for one in outliers[:MOST_SHOWN]:
        why = "; ".join(one.because) or "nothing that was recorded explains it"
        yield (
            f"Outlier, still in the means: {quoted(one.label)}, seed {one.seed}, took {100 * one.deviation:+.2g} % "
            f"beside the median of its seeds ({abs(one.score):.0f} standard deviations of the noise): {why}."
        )
    if len(outliers) > MOST_SHOWN:
        yield f"{len(outliers) - MOST_SHOWN} more outliers; `harness report --json` lists them."


def _widening(seeds: int) -> float:
    """Returns by how much residuals from a median of so few are too small, on average."""
    return math.sqrt(seeds / (seeds - 1))


def _explanations(run: RunResult, row: Row) -> Iterator[str]:
    if run.telemetry.gpu_throttled:
        yield f"its GPU throttled ({', '.join(run.telemetry.gpu_throttle_reasons or ())})"
    if run.telemetry.gpu_shared:
        yield "another process used its GPU"
    for name, title, least in EXPLANATIONS:
        own = metric(run, name)
        seeds = (other for other in row.ok_for(name) if other is not run)
        others = [value for other in seeds if (value := metric(other, name)) is not None]
        if own is None or not others:
            continue
        usual = statistics.median(others)
        if not usual / least <= own <= usual * least:
            yield f"{title} {_short(name, own)}, of the others {_short(name, usual)}"


def _short(name: str, value: float) -> str:
    return f"{100 * value:.2g} %" if name.endswith("share") else f"{value:.3g}"


@dataclass(frozen=True)
class Drift:
    """The line through the logarithms of the anchors' train times, over the time of day at which they began.

    Attributes:
        label, seed: what was repeated.
        runs: how many.
        hours: from the first to the last.
        change: of the train time over those hours, as a fraction.
        low, high: the ends of its 95 % interval; None with less than three runs.
        scatter: standard deviation about the line, as a fraction of the train time.
    """

    label: str
    seed: int
    runs: int
    hours: float
    change: float
    low: float | None = None
    high: float | None = None
    scatter: float | None = None

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out that nothing changed."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self)


def drift_of(anchors: Sequence[RunResult]) -> Drift | None:
    """Returns the drift that the repetitions of one config and seed on one system show; None with less than two.

    The slope is that of least squares, its interval Student's with n - 2 degrees of freedom.
    """
    ok = [run for run in anchors if run.status == "ok" and run.clock.train_seconds]
    timed = [run for run in ok if compares(run, "clock.train_seconds")]
    timed.sort(key=lambda run: run.started_at)
    if len(timed) < 2:
        return None
    began = [datetime.datetime.fromisoformat(run.started_at) for run in timed]
    hours = [(moment - began[0]).total_seconds() / 3600 for moment in began]
    logs = [math.log(run.clock.train_seconds or math.nan) for run in timed]
    about = timed[0].label, timed[0].seed, len(timed), hours[-1]
    if hours[-1] == 0:
        return None
    line = statistics.linear_regression(hours, logs)
    change = line.slope * hours[-1]
    if len(timed) < LEAST_ANCHORS:
        return Drift(*about, math.expm1(change))
    squares = math.fsum((y - line.intercept - line.slope * x) ** 2 for x, y in zip(hours, logs, strict=True))
    scatter = math.sqrt(squares / (len(timed) - 2))
    half = t_quantile(len(timed) - 2) * scatter / math.sqrt(len(hours) * statistics.pvariance(hours)) * hours[-1]
    return Drift(*about, math.expm1(change), math.expm1(change - half), math.expm1(change + half), scatter)


def drift_notes(drift: Drift | None) -> Iterator[str]:
    """Yields what a table's reader should know of the drift."""
    if drift is None:
        return
    units = {"hours": 1, "minutes": 60, "seconds": 3600}
    unit = next((unit for unit, per_hour in units.items() if per_hour * drift.hours >= 1), "seconds")
    long = f"{units[unit] * drift.hours:.1f} {unit}"
    whose = f"{drift.runs} runs of {quoted(drift.label)}, seed {drift.seed}, over {long}"
    if drift.low is None or drift.high is None or drift.scatter is None:
        yield f"Drift: too few anchors to tell ({whose}); the train time changed by {_percent(drift.change)}."
        return
    interval = f"95 % interval {span(_percent(drift.low), _percent(drift.high))}"
    verdict = "the machine drifted" if drift.is_sure else "no drift beyond the noise"
    yield (
        f"Drift: {verdict}. By {whose}, the train time changed by {_percent(drift.change)} ({interval}) from the "
        f"first to the last; about that line they scatter by {100 * drift.scatter:.2g} %."
    )


def left_out_notes(anchors: Sequence[RunResult]) -> Iterator[str]:
    """Yields which anchors the drift is not told by; most of them have no row in the table.

    Args:
        anchors: with the run that they repeat, if it has a result.
    """
    ok = [run for run in anchors if run.status == "ok"]
    marked = [run for run in ok if marks(run)]
    if marked:
        found = ", ".join(dict.fromkeys(mark for run in marked for mark in marks(run)))
        repeats = sum(run.is_anchor for run in ok)
        of = f"the {counted(repeats, 'anchor')}"
        if repeats < len(ok):
            of += f" and the run that {'it repeats' if repeats == 1 else 'they repeat'}"
        left_out = "and its time is" if len(marked) == 1 else "and their times are"
        yield f"Drift: of {of}, {len(marked)} {is_are(len(marked))} marked ({found}), {left_out} left out."


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %"
