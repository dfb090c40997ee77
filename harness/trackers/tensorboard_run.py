"""One run in TensorBoard's files, which lie in the suite's folder of results."""

from __future__ import annotations

import re

from accelerate import PartialState
from accelerate.tracking import TensorBoardTracker

from harness.records.store import RunFolder
from harness.trackers.entries import Entries, Row, without_timestamp
from harness.trackers.options import Tracking


class TensorBoardRun:
    """One run; see `harness.trackers.mirror.Tracker`. It is told from its beginning each time."""

    def __init__(self, entries: Entries, folder: RunFolder, tracking: Tracking) -> None:
        PartialState(cpu=True)  # this process is alone, whatever it mirrors
        logs = folder.path.parent.parent / "tensorboard"
        place = re.sub(r"[^\w.,=+-]+", "_", entries.label)[:80]
        seed = f"seed_{entries.seed}-{entries.id[:8]}"
        for path in (logs / place / seed).glob("**/events.out.tfevents.*"):  # of an earlier telling: the same once more
            path.unlink()
        self._tracker = TensorBoardTracker(f"{place}/{seed}", logs)
        self._tracker.start()
        self._tracker.store_init_configuration(entries.flat_config())
        self._last = 0

    def epoch(self, number: int, row: Row) -> None:
        """Takes an epoch."""
        self._last = number
        self._tracker.log(without_timestamp(row), step=number)

    def end(self, entries: Entries) -> None:
        """Takes how the run ended: its numbers, and its status as a text, at the last epoch."""
        self._tracker.log(entries.flat_summary(), step=self._last)
        self._tracker.finish()
