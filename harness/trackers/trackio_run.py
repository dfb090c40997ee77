"""One run at Trackio."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import trackio  # pyright: ignore[reportMissingImports]

from harness.records.store import RunFolder
from harness.trackers.entries import Entries, Row, without_timestamp
from harness.trackers.options import Tracking


class TrackioRun:
    """One run; see `harness.trackers.mirror.Tracker`. In Trackio's store on this machine it is told anew each time.

    Args:
        entries: who the run is.
        folder: of its record.
        tracking: names the project.
    """

    def __init__(self, entries: Entries, folder: RunFolder, tracking: Tracking) -> None:
        name = f"{entries.name} {entries.id}"  # Trackio knows runs by their names
        _delete(tracking.project, name)
        self._config = entries.flat_config()
        self._last = 0
        with _as_errors():
            # A run that was begun before, and goes on beside this one, is finished by it, and may log on.
            self._run = trackio.init(
                tracking.project,
                name,
                entries.group,
                config=self._config,
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def epoch(self, number: int, row: Row) -> None:
        """Takes an epoch."""
        self._last = number
        with _as_errors():
            self._run.log(without_timestamp(row), step=number)

    def end(self, entries: Entries) -> None:
        """Takes how the run ended, at the last epoch: its numbers and status, and what its config has by now."""
        config = entries.flat_config()
        new = {f"config/{name}": value for name, value in config.items() if self._config.get(name) != value}
        with _as_errors():
            self._run.log({**entries.flat_summary(), **new}, step=self._last)
            self._run.finish()


def _delete(project: str, name: str) -> None:
    """Deletes what an earlier telling left in the store on this machine."""
    with contextlib.suppress(ValueError):  # there is no such project yet
        for run in trackio.Api().runs(project):
            if run.name == name:
                run.delete()


@contextlib.contextmanager
def _as_errors() -> Iterator[None]:
    """Raises what Trackio only warns of: that something could not be written.

    Raises:
        RuntimeError: with Trackio's first warning.
    """
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    if problems := [str(one.message) for one in found if "trackio" in f"{one.filename} {one.message}".lower()]:
        raise RuntimeError(problems[0].partition("\n")[0])
