"""Time to accuracy: the share of the runs that reached the target, and the median over all of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from harness.records.result import RunResult, metric
from harness.report.numbers.rows import Row
from harness.report.texts import listed
from harness.statistics.intervals import CensoredMedian

SECONDS = "target.train_seconds"


def median_over_all(runs: Sequence[RunResult]) -> CensoredMedian | None:
    """Returns the median time to the target over the runs that have one; those that did not reach it come last.

    The bound of a median that is itself too late to be known is the median with such runs counted at their end: no
    time is less than that, so neither is the median.

    Args:
        runs: that ended ok and were timed alike.
    """
    aimed = [run for run in runs if run.target and was_measured(run)]
    reached = [run.target.train_seconds for run in aimed if run.target and run.target.train_seconds is not None]
    ends = [run.clock.train_seconds for run in aimed if run.target and run.target.train_seconds is None]
    if not aimed or None in ends:
        return None
    known = sorted(reached)
    if len(known) > len(aimed) // 2:  # the middle ones are known
        return CensoredMedian(statistics.median([*known, *[float("inf")] * len(ends)]))
    return CensoredMedian(None, statistics.median([*known, *(end for end in ends if end is not None)]))


def was_measured(run: RunResult) -> bool:
    """Tells whether a run has the metric of its target: it may be one that only other settings measure."""
    return run.target is not None and (
        run.target.train_seconds is not None or metric(run, run.target.metric) is not None
    )


def target_values(row: Row) -> dict[str, Any]:
    """Returns a row's values that are about the target."""
    aimed = [run for run in row.ok if was_measured(run)]
    reached = sum(run.target is not None and run.target.train_seconds is not None for run in aimed)
    return {
        "target_median_seconds": median_over_all(row.ok_for(SECONDS)),
        "target_reached": f"{reached} of {len(aimed)}" if aimed else None,
        "target_reached_runs": reached if aimed else None,
        "target_reached_share": reached / len(aimed) if aimed else None,
    }


def target_notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yields what a reader of the times to the target must know."""
    runs = [(run, run.target) for row in rows for run in row.ok if run.target]
    measured = {target.metric for run, target in runs if was_measured(run)}
    unknown = sorted({target.metric for _, target in runs} - measured)
    if unknown:
        yield f"No time to target: no run here measured {listed(unknown)}."
    targets = sorted({f"{target.metric} >= {target.at_least:g}" for _, target in runs if target.metric in measured})
    if targets:
        yield (
            f"Time to target: train time until an evaluation first gave {' or '.join(targets)}, evaluations not "
            "counted; the mean is over the runs that reached it."
        )
    if some_missed(rows):
        yield (
            "Where runs did not reach the target, that mean flatters: it leaves out the slow. The median is over all "
            "runs, those that did not reach it being later than any; > stands before a time that it is beyond."
        )


def some_missed(rows: Sequence[Row]) -> bool:
    """Tells whether the mean is not over all runs."""
    return any(row.values["target_reached_share"] not in (None, 1.0) for row in rows)
