"""Runs that took much longer, or shorter, than the other seeds of their config: flagged, never dropped."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.records.result import RunResult, metric
from harness.report.numbers.rows import Row
from harness.report.texts import quoted

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
