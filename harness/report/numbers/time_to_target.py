"""Time to accuracy: the share of the runs that reached the target, and the median over all of them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.records.result import RunResult, metric
from harness.report.numbers.curves import CurveOf
from harness.report.numbers.rows import Row
from harness.report.texts import listed
from harness.statistics.intervals import CensoredMedian, censored_median

SECONDS = "target.train_seconds"


def target_values(row: Row, curve_of_run: CurveOf) -> dict[str, Any]:
    """Returns the values of a row that are about the target; no means where a run missed it."""
    diverged = [run for run in row.runs if run.status == "diverged"]
    aimed = [run for run in row.ok if _was_measured(run)]
    aimed += diverged if aimed else []  # they never arrive
    reached = sum(map(_has_reached, aimed))
    timed = [run for run in row.ok_for(SECONDS) if _was_measured(run)]
    timed += diverged if timed else []
    values: dict[str, Any] = {
        "target_median_seconds": _median(timed, _train_seconds),
        "target_with_evaluation_seconds": _median(timed, lambda run: _with_evaluation(run, curve_of_run)),
        "target_reached": f"{reached} of {len(aimed)}" if aimed else None,
        "target_reached_runs": reached if aimed else None,
        "target_reached_share": reached / len(aimed) if aimed else None,
    }
    if reached < len(aimed):  # the mean of those that arrived leaves out the slow
        values |= {"target_seconds": None, "joules_to_target": None}
    return values


def target_notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yields what a reader of the times to the target must know."""
    runs = [(run, run.target) for row in rows for run in row.ok if run.target]
    measured = {target.metric for run, target in runs if _was_measured(run)}
    unknown = sorted({target.metric for _, target in runs} - measured)
    if unknown:
        yield f"No time to target: no run here measured {listed(unknown)}."
    targets = sorted({f"{target.metric} >= {target.at_least:g}" for _, target in runs if target.metric in measured})
    if targets:
        yield (
            f"Time to target: train time until an evaluation first gave {' or '.join(targets)}; evaluations are not "
            "counted, unless the column says so. The median is over all runs that ended ok or diverged."
        )
    if any(row.values["target_reached_share"] not in (None, 1.0) for row in rows):
        yield (
            "In the median, runs that did not reach the target count as later than all others; > marks a lower bound. "
            "There is no mean where a run missed the target, because it would leave out the slow runs."
        )


def _median(runs: Sequence[RunResult], seconds_of: Callable[[RunResult], float | None]) -> CensoredMedian | None:
    """Returns the median over runs that were timed alike; None where the time of one is not known."""
    reached = [seconds_of(run) for run in runs if _has_reached(run)]
    ends = [seconds_of(run) for run in runs if not _has_reached(run) and run.status == "ok"]
    if None in reached or None in ends:
        return None
    latest = max((one for one in [*reached, *ends] if one is not None), default=None)
    ends += [latest] * sum(run.status == "diverged" for run in runs)  # they are later than any
    return censored_median([one for one in reached if one is not None], [one for one in ends if one is not None])


def _train_seconds(run: RunResult) -> float | None:
    """Until the target, or the end."""
    return run.target.train_seconds if run.target and _has_reached(run) else run.clock.train_seconds


def _with_evaluation(run: RunResult, curve_of_run: CurveOf) -> float | None:
    """Training and evaluation until the target, or the end; None where it is not known."""
    if run.target is None or run.target.train_seconds is None:
        parts = run.clock.train_seconds, run.clock.eval_seconds
        return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]
    curve = curve_of_run(run)
    whole = curve.with_evaluation if curve else ()
    at = bisect.bisect_left(curve.seconds, run.target.train_seconds * (1 - 1e-9)) if curve else 0
    return whole[at] if at < len(whole) and math.isfinite(whole[at]) else None


def _has_reached(run: RunResult) -> bool:
    return run.target is not None and run.target.train_seconds is not None


def _was_measured(run: RunResult) -> bool:
    """Tells whether a run has the metric of its target: it may be one that only other settings measure."""
    return run.target is not None and (_has_reached(run) or metric(run, run.target.metric) is not None)
