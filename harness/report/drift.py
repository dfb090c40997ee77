"""Whether the machine drifted: told by the anchors, one config that is run again and again between the others."""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.durations import duration_text
from harness.records.comparable import compares
from harness.records.result import RunResult
from harness.report.texts import quoted, span
from harness.statistics.intervals import t_quantile

LEAST_ANCHORS = 3  # a line through two points has no scatter


@dataclass(frozen=True)
class Drift:
    """The line through the logarithms of the anchors' train times, over the time of day at which they began.

    Attributes:
        label, seed: what was repeated.
        runs: how many.
        hours: from the first to the last.
        change: of the train time over those hours, as a fraction.
        low, high: the ends of its 95 % interval.
        scatter: standard deviation about the line, as a fraction of the train time.
    """

    label: str
    seed: int
    runs: int
    hours: float
    change: float
    low: float
    high: float
    scatter: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out that nothing changed."""
        return not self.low <= 0 <= self.high


def drift_of(runs: Sequence[RunResult]) -> Drift | None:
    """Returns the drift that the repetitions of one config and seed show; None with less than `LEAST_ANCHORS`.

    The slope is that of least squares, its interval Student's with n - 2 degrees of freedom.

    Args:
        runs: of one system; the run that the anchors repeat is one of them.
    """
    repeated = {(run.config_id, run.seed) for run in runs if run.is_anchor}
    ok = [
        run for run in runs if (run.config_id, run.seed) in repeated and run.status == "ok" and run.clock.train_seconds
    ]
    timed = sorted((run for run in ok if compares(run, "clock.train_seconds")), key=lambda run: run.started_at)
    began = [datetime.datetime.fromisoformat(run.started_at) for run in timed]
    hours = [(moment - began[0]).total_seconds() / 3600 for moment in began]
    if len(timed) < LEAST_ANCHORS or hours[-1] == 0:
        return None
    logs = [math.log(run.clock.train_seconds or math.nan) for run in timed]
    line = statistics.linear_regression(hours, logs)
    change = line.slope * hours[-1]
    squares = math.fsum((y - line.intercept - line.slope * x) ** 2 for x, y in zip(hours, logs, strict=True))
    scatter = math.sqrt(squares / (len(timed) - 2))
    half = t_quantile(len(timed) - 2) * scatter / math.sqrt(len(hours) * statistics.pvariance(hours)) * hours[-1]
    mean, low, high = (math.expm1(end) for end in (change, change - half, change + half))
    return Drift(timed[0].label, timed[0].seed, len(timed), hours[-1], mean, low, high, scatter)


def drift_note(drift: Drift) -> str:
    """Returns what a table's reader should know of the drift."""
    verdict, hours = "the machine drifted" if drift.is_sure else "no drift beyond the noise", 3600 * drift.hours
    return (
        f"Drift: {verdict}. By {drift.runs} runs of {quoted(drift.label)}, seed {drift.seed}, over "
        f"{duration_text(hours)}, the train time changed by "
        f"{_percent(drift.change)} (95 % interval {span(_percent(drift.low), _percent(drift.high))}) from the first to "
        f"the last; the scatter around that line is {100 * drift.scatter:.2g} %."
    )


def no_drift_note(runs: Sequence[RunResult]) -> str:
    """Returns why the drift is not known where anchors were run; empty where none was."""
    why = f"of the anchors and the run that they repeat, fewer than {LEAST_ANCHORS} have a train time that counts"
    return f"Drift: not known, as {why}." if any(run.is_anchor for run in runs) else ""


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %"
