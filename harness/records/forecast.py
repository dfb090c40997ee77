"""The forecast of a suite that is kept beside its results: what each run was expected to take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness.durations import rounded_text
from harness.records.files import read_object
from harness.records.result import RunResult
from harness.statistics.intervals import next_value

FORECAST_FILE = "forecast.json"
FIXED_FACTOR = 1.5
"""What is measured once (building, reading data, starting a process) is taken to be right within this factor."""


class Span(BaseModel):
    """Seconds, with the ends of an interval; None where nothing tells how far they scatter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = 0.0
    low: float | None = 0.0
    high: float | None = 0.0

    @staticmethod
    def fixed(seconds: float) -> Span:
        """Returns what was measured once."""
        return Span(seconds=seconds, low=seconds / FIXED_FACTOR, high=seconds * FIXED_FACTOR)

    @staticmethod
    def of_values(values: Sequence[float], times: float = 1.0) -> Span:
        """Returns the mean of measured values with the interval of the next one, all of them so many times."""
        mean, ends = math.fsum(values) / len(values) * times, next_value(values)
        if ends is None:
            return Span(seconds=mean, low=None, high=None)
        return Span(seconds=mean, low=min(mean, ends[0] * times), high=max(mean, ends[1] * times))

    def __add__(self, other: Span) -> Span:
        """Returns both together: their ends add up, for what slows one down tends to slow down the other."""
        low = None if self.low is None or other.low is None else self.low + other.low
        high = None if self.high is None or other.high is None else self.high + other.high
        return Span(seconds=self.seconds + other.seconds, low=low, high=high)

    def times(self, factor: float) -> Span:
        """Returns a multiple."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Span(seconds=self.seconds * factor, low=low, high=high)

    @property
    def at_most(self) -> float:
        """The high end; the seconds where there is none."""
        return self.seconds if self.high is None else self.high

    def text(self) -> str:
        """Returns e.g. `3 h 10 min (2 h 50 min to 3 h 40 min)`."""
        if self.low is None or self.high is None:
            return f"{rounded_text(self.seconds)} (no interval)"
        return f"{rounded_text(self.seconds)} ({rounded_text(self.low)} to {rounded_text(self.high)})"


def run_spans(folder: Path) -> tuple[str, str, dict[str, Span]]:
    """Returns of the forecast in a suite's folder its system, when it was made, and the wall time of each run.

    Raises:
        OSError, ValueError: there is none, or it cannot be read.
    """
    kept = read_object(folder / FORECAST_FILE)
    runs = kept.get("runs")
    spans = {run_id: Span.model_validate(span) for run_id, span in (runs if isinstance(runs, dict) else {}).items()}
    return str(kept.get("system_id")), str(kept.get("made_at")), spans


def beside_fact(folder: Path, results: Iterable[RunResult]) -> tuple[int, Span, float] | None:
    """Returns, of the runs that ended well after their forecast on its system, how many there are, what was expected of
    them together, and what they took, in seconds; None where there are none.
    """
    try:
        system_id, made_at, spans = run_spans(folder)
    except (OSError, ValueError):
        return None
    wanted = [result for result in results if result.status == "ok" and result.system_id == system_id]
    since = [result for result in wanted if result.run_id in spans and result.started_at >= made_at]
    facts = [result.clock.total_seconds for result in since if result.clock.total_seconds is not None]
    if not facts or len(facts) < len(since):
        return None
    expected = Span()
    for result in since:
        expected = expected + spans[result.run_id]
    return len(facts), expected, math.fsum(facts)
