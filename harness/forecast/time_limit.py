"""A kept forecast -> the time limit of a SLURM task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from harness.counted import counted
from harness.durations import rounded_text
from harness.errors import HarnessError
from harness.forecast.forecast import Forecast
from harness.records.files import read_object
from harness.records.forecast import FORECAST_FILE
from harness.suite.plan import PlannedRun

FROM_FORECAST = "forecast"  # in the place of a time


def time_limit(folder: Path, runs: Sequence[PlannedRun], runs_per_task: int, stop_early: int) -> tuple[str, str]:
    """Returns the time limit of a task as sbatch has it, in whole minutes, and a sentence that says where it is from.

    It is what the longest runs take together, at the high end of the interval, with the start of a process and the time
    that a task stops early. A task that takes longer saves and queues again.

    Args:
        folder: of the suite's results.
        runs: that are submitted.
        runs_per_task: at most.
        stop_early: seconds.

    Raises:
        HarnessError: there is no forecast, or none of a run.
    """
    command = "on a node like those of the tasks: harness plan SUITE --forecast"
    try:
        kept = Forecast.model_validate(read_object(folder / FORECAST_FILE))
    except (OSError, ValueError):
        raise HarnessError(f"--time {FROM_FORECAST}: there is no forecast in {folder}", command) from None
    unknown = [run for run in runs if run.run_id not in kept.runs]
    if unknown:
        message = f"--time {FROM_FORECAST}: {folder / FORECAST_FILE} has no time for {counted(len(unknown), 'run')}"
        raise HarnessError(f"{message}, e.g. {unknown[0].name}", command)
    longest = sorted((kept.runs[run.run_id].at_most for run in runs), reverse=True)[:runs_per_task]
    seconds = math.fsum(longest) + kept.once.at_most
    minutes = max(math.ceil((seconds + stop_early) / 60), math.ceil(2 * stop_early / 60))
    limit = f"{minutes // 60}:{minutes % 60:02}:00"
    of = f"{counted(len(longest), 'run')} in at most {rounded_text(seconds)} on {kept.system}"
    return limit, f"--time {limit}: {of}, and {stop_early} s to stop early"
