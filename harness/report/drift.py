"""Whether the machine drifted: told by the anchors, one config that is run again and again between the others."""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.counted import counted, is_are
from harness.durations import duration_text
from harness.records.comparable import compares, marks
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
    whose = f"{drift.runs} runs of {quoted(drift.label)}, seed {drift.seed}, over {duration_text(3600 * drift.hours)}"
    if drift.low is None or drift.high is None or drift.scatter is None:
        yield f"Drift: too few anchors to tell ({whose}); the train time changed by {_percent(drift.change)}."
        return
    interval = f"95 % interval {span(_percent(drift.low), _percent(drift.high))}"
    verdict = "the machine drifted" if drift.is_sure else "no drift beyond the noise"
    yield (
        f"Drift: {verdict}. By {whose}, the train time changed by {_percent(drift.change)} ({interval}) from the "
        f"first to the last; the scatter around that line is {100 * drift.scatter:.2g} %."
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
