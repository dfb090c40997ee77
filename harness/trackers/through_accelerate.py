"""The trackers that Accelerate knows, fed with what our records say."""

from __future__ import annotations

import re
from typing import Any

from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from harness.records.store import RunFolder
from harness.trackers.entries import Entries, Row, flat
from harness.trackers.options import Tracking


class AccelerateRun:
    """One run; see `harness.trackers.mirror.Tracker`. It is told from its beginning each time.

    Args:
        entries: who the run is.
        folder: of its record.
        tracking: names the tracker, and the project.
    """

    def __init__(self, entries: Entries, folder: RunFolder, tracking: Tracking) -> None:
        PartialState(cpu=True)  # this process is alone, whatever it mirrors
        [name] = tracking.names
        suite = folder.path.parent.parent
        place = re.sub(r"[^\w.,=+-]+", "_", entries.label)[:80]
        seed = f"seed_{entries.seed}-{entries.id[:8]}"
        kind = LOGGER_TYPE_TO_CLASS[name]
        if name == "tensorboard":  # its run's name is a folder
            logs = suite / name / place / seed
            for path in logs.glob("**/events.out.tfevents.*"):  # of an earlier telling: the same once more
                path.unlink()
            self._tracker: GeneralTracker = kind(f"{place}/{seed}", suite / name)
        elif name == "mlflow":
            self._tracker = kind(tracking.project, run_name=entries.name)
        elif kind.requires_logging_directory:
            self._tracker = kind(entries.name, suite / name)
        else:
            self._tracker = kind(tracking.project)
        self._tracker.start()
        self._tracker.store_init_configuration({key: _plain(value) for key, value in flat(entries.config, ".")})
        self._last = 0

    def epoch(self, number: int, row: Row) -> None:
        """Takes an epoch."""
        self._last = number
        self._tracker.log({name: value for name, value in row.items() if name != "timestamp"}, step=number)

    def end(self, entries: Entries) -> None:
        """Takes how the run ended: its numbers, and its status as a text, at the last epoch."""
        told = {name: value for name, value in entries.summary.items() if name == "status" or _is_number(value)}
        self._tracker.log({f"summary/{name}": value for name, value in told.items()}, step=self._last)
        self._tracker.finish()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
