"""What a rank tells those who watch it: how far it is, where it is when it is asked, and which runs it comes to."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.launching.launch_folder import OPENED_RUNS, read_of_ranks
from harness.records.files import write_json
from harness.records.follow import TRACKED_RUNS, OpenedRun, Stage, add_opened_run
from harness.records.store import RunFolder

BEAT_SECONDS = 1.0
LIVE = "live"
LIVE_SECONDS = 5.0


class Heartbeat:
    """How far a rank is: `rank-K.json`, the same in two folders.

    In that of the launch, which is on a disk of this machine where all ranks are on it: the supervisor looks for hangs
    there, so the main thread writes it, about once a second. And in `live/` of the run's own folder, for who watches
    from another machine: on what may be a slow network disk, so another thread writes it, every few seconds.

    Args:
        folder: of the launch; None where there is no supervisor.
        rank: of this process.

    Attributes:
        on_run: is given, on rank 0, how far it is with a run.
    """

    def __init__(self, folder: Path | None, rank: int) -> None:
        self.folder = folder
        self.rank = rank
        self.on_run: Callable[[OpenedRun], object] = lambda run: None
        self._at: int | str = ""
        self._gauges: Mapping[str, float] = {}
        self._run: OpenedRun | None = None
        self._live: Path | None = None  # where this process has written into the folder of the run
        self._next_beat = self._next_live = 0.0
        self._told: set[str] = set()

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the open run that are done; None before the first."""
        return self._at + 1 if isinstance(self._at, int) else None

    def run_begins(self, run_id: str, folder: RunFolder) -> None:
        """Names the run whose data are read now: what ends this process from here on is recorded as its end."""
        self._run, self._gauges, self._next_live = OpenedRun(run_id, folder, folder.events_bytes()), {}, 0.0
        self._tell_run("begun")
        self.beat("data")

    def run_opened(self) -> None:
        """Says that the run is this launch's, and that its folder is open."""
        self._tell_run("opened")
        self.beat("start")

    def run_ended(self) -> None:
        """Says that the run's result is written: what ends this process now is not the end of that run."""
        self._tell_run("ended")
        if self._live:
            with contextlib.suppress(OSError):
                (self._live / self._name).unlink(missing_ok=True)
                self._live.rmdir()  # it may not be empty
            self._live = None

    def beat(self, at: int | str) -> None:
        """Says that this rank is alive; `at` is the step that is done, counted from 0, or a phase."""
        self._at = at
        now = time.monotonic()
        if self.folder and (now >= self._next_beat or isinstance(at, str)):
            self._next_beat = now + BEAT_SECONDS
            with self._going_on(f"the folder of the launch, {self.folder}"):
                self._write(self.folder)

    def sample(self, gauges: Mapping[str, float]) -> None:
        """Takes what was read of this rank's GPU, about once a second, in another thread than the training's."""
        self._gauges = gauges
        if self._run and (now := time.monotonic()) >= self._next_live:
            self._next_live = now + LIVE_SECONDS
            self._live = self._run.folder.path / LIVE
            with contextlib.suppress(OSError):  # it is for display alone
                self._live.mkdir(exist_ok=True)
                self._write(self._live)

    def look(self) -> None:
        """Writes where the main thread is, as the supervisor has ordered."""
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        if self.folder and main:
            stack = [[frame.filename, frame.lineno, frame.name] for frame in traceback.extract_stack(main)]
            write_json(self.folder / f"look-{self.rank}.json", {"steps": self.steps, "stack": stack})

    @property
    def _name(self) -> str:
        return f"rank-{self.rank}.json"

    def _write(self, folder: Path) -> None:
        run_id = self._run.run_id if self._run else ""
        # Not atomically: a file that is replaced each second costs a network disk much, and a torn one little.
        (folder / self._name).write_text(json.dumps({"run_id": run_id, "at": self._at, "gauges": self._gauges}))

    def _tell_run(self, stage: Stage) -> None:
        if self._run is None or self.rank > 0:
            return
        self._run = replace(self._run, stage=stage)
        self.on_run(self._run)
        if self.folder:
            with self._going_on(f"the folder of the launch, {self.folder}"):
                add_opened_run(self.folder / OPENED_RUNS, self._run)
        if tracked := os.environ.get(TRACKED_RUNS):
            with self._going_on(f"the trackers' list of runs, {tracked}"):
                add_opened_run(Path(tracked), self._run)

    @contextlib.contextmanager
    def _going_on(self, place: str) -> Iterator[None]:
        """Says once what could not be written for those who watch: that is no reason to end a training."""
        try:
            yield
        except OSError as error:
            if place not in self._told:
                self._told.add(place)
                sys.stderr.write(f"rank {self.rank}: cannot write to {place}: {error.strerror}; training goes on\n")


def read_heartbeats(folder: Path) -> dict[int, dict[str, Any]]:
    """Returns how far each rank is, by rank: `run_id`, `at` and the `gauges` of its GPU."""
    return read_of_ranks(folder, "rank")
