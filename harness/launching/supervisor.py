"""Launches the runs of a plan, watches them, records what killed a launch, and launches again for what is left."""

from __future__ import annotations

import dataclasses
import math
import os
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.launching.failure_causes import cause_of_failure, hint_for, in_evaluation
from harness.launching.launch_command import Launcher
from harness.launching.launch_folder import (
    FOLDER,
    STOPPED,
    SUPERVISOR,
    new_folder,
    read_exits,
    refusal,
    reported_end,
)
from harness.launching.manifest import Manifest
from harness.launching.ranks import POLL_SECONDS, Ranks, end_launch, start_launch
from harness.launching.stop_signals import StopSignals
from harness.measure.surroundings import Surroundings
from harness.records.follow import OpenedRun
from harness.records.result import Cause, Measurements, RunResult, Status
from harness.records.store import RunFolder
from harness.spec.code import own_code
from harness.suite.plan import PlannedRun

START_GRACE_SECONDS = 10.0  # to hear of a stop that came while they were importing


class Display(Protocol):
    """Shows the runs of a suite to a person while they go on; see `harness.live.view.View`."""

    holds_terminal: bool

    def note(self, text: str) -> None: ...

    def take_run(self, run: OpenedRun, launch: Path | None = None) -> None: ...

    def leave(self, launch: Path) -> None: ...

    def count(self, result: RunResult) -> None: ...

    def reopen(self, run_ids: Iterable[str]) -> None: ...


@dataclass(frozen=True)
class Supervisor:
    """Does the runs of a manifest, in one launch after the other, or in as many at a time as its launcher says."""

    manifest: Manifest
    launcher: Launcher
    system: dict[str, Any]
    display: Display
    stop: StopSignals
    surroundings: Surroundings
    _accumulation: dict[str, int] = field(default_factory=dict, init=False)

    def do(self, runs: list[PlannedRun]) -> int:
        """Launches until each run was attempted.

        Returns:
            0 where each was attempted, 2 bad input, 75 stopped.

        Raises:
            HarnessError: no run can start; a rank says why.
        """
        if self.launcher.packed > self.manifest.packed:
            return self._do_packed(runs)
        codes = (self._run_batch(batch) for batch in self._batches(runs))
        return next((code for code in codes if code), 0)

    def _do_packed(self, runs: list[PlannedRun]) -> int:
        """Does runs, several at a time on one device: more of them an hour, and no clean time of any.

        Each of N threads launches every N-th run. Where one meets an error, the others are asked to save and stop.
        """
        packed = self.launcher.packed
        # No time of these runs will count, so none is thrown away to warm the machine up.
        manifest = self.manifest.model_copy(update={"packed": packed, "warm_up_seconds": 0.0})
        supervisor = dataclasses.replace(self, manifest=manifest)

        def do_part(first: int) -> int:
            code = 2
            try:
                code = supervisor.do(runs[first::packed])
            finally:
                if code == 2:
                    self.stop.ask("an error")
            return code

        with ThreadPoolExecutor(packed, "part") as pool:
            codes = set(pool.map(do_part, range(min(packed, len(runs)))))
        return next((code for code in (2, STOPPED) if code in codes), 0)

    def _batches(self, runs: list[PlannedRun]) -> Iterator[list[PlannedRun]]:
        """Yields the runs of each launch: those of a world size or, isolated, one; in the plan's order."""
        if self.launcher.isolate:
            yield from ([run] for run in runs)
            return
        for world in sorted({run.spec.train.world_size for run in runs}):
            yield [run for run in runs if run.spec.train.world_size == world]

    def _run_batch(self, runs: list[PlannedRun]) -> int:
        """Launches until each run was attempted; returns 2 or 75 where that ends the suite, else 0."""
        # For launches over several nodes the folder is on a disk that all of them see.
        parent = self.launcher.launch_folder_parent()
        while runs:
            if self.stop.reason:
                return STOPPED
            with new_folder(parent) as folder:
                returncode, hang, opened = self._launch(folder, runs)
                if refused := refusal(folder):
                    raise refused
                stopped = reported_end(folder)
                if stopped is None and not returncode:  # it could not be written: a full disk, say
                    stopped = self.stop.reason or None
                if stopped is not None:
                    return STOPPED if stopped else 0
                if returncode == 2 and not hang:
                    return 2
                runs = [] if self.stop.at_once else self._after_a_failure(folder, runs, returncode, hang, opened)
        return STOPPED if self.stop.reason else 0

    def _after_a_failure(
        self, folder: Path, runs: list[PlannedRun], returncode: int, hang: Cause | None, opened: OpenedRun | None
    ) -> list[PlannedRun]:
        """Records what a launch died of, and returns the runs that are to be launched again."""
        if opened is None and self.stop.reason:
            return []  # stopped while it started, before it listened: nothing is lost
        status, cause = cause_of_failure(folder, returncode, runs[0].spec.train.world_size)
        # A rank that was killed answers no more than one that hangs; the launcher may be late to say so.
        if hang and all(code >= 0 for code in read_exits(folder).values()):
            status, cause = "timeout", hang
        if opened is None:  # the next launch would come no further
            self._record_no_start(runs, cause)
            return []
        place = [run.run_id for run in runs].index(opened.run_id)
        run, later = runs[place], runs[place + 1 :]
        if opened.stage == "ended" or self.manifest.is_done(run, opened.folder):  # ranks walk the runs in order
            return later
        if status == "oom" and not self.stop.reason and self._halve(run, opened.folder, cause):
            return [run, *later]
        self._record(run, opened.folder, status, cause)
        return later

    def _record_no_start(self, runs: list[PlannedRun], cause: Cause) -> None:
        """Records that a launch never came to a run."""
        kind = "no start" if cause.kind in ("exit", "hang") else cause.kind
        message = f"the launch never came to a run: {cause.message}"
        cause = cause.model_copy(update={"kind": kind, "message": message})
        self._record(runs[0], self.manifest.folder(runs[0], self.system["system_id"]), "failed", cause)
        if len(runs) > 1:
            self.display.note(f"{len(runs) - 1} more runs of this launch stay open")

    def _launch(self, folder: Path, runs: list[PlannedRun]) -> tuple[int, Cause | None, OpenedRun | None]:
        """Launches once; returns the exit code, the cause where it hung and was ended, and the last run it came to."""
        world = runs[0].spec.train.world_size
        ranks = Ranks(folder, self._manifest_of(runs))
        command = self.launcher.command(world, folder)
        supervisor = f"{socket.gethostname()}:{os.getpid()}"
        environment = self.launcher.environment(world) | {FOLDER: str(folder), SUPERVISOR: supervisor}
        note = self.display.note if self.display.holds_terminal else None
        child, relay = start_launch(command, environment, note)
        try:
            hang = self._watch(child, ranks)
        finally:
            end_launch(child, folder)
            relay()
            self._show_new(ranks)
            self.display.leave(folder)
        return child.returncode, hang, ranks.opened

    def _watch(self, child: subprocess.Popen[bytes], ranks: Ranks) -> Cause | None:
        """Returns when a launch has ended or is to be ended; a cause where it hangs."""
        stopping_since = math.inf
        while child.poll() is None and not self.stop.at_once:
            self._show_new(ranks)
            if not ranks.folder.is_dir():
                self.stop.ask("the folder of the launch was deleted")
            if self.stop.reason:
                ranks.stop(self.stop.reason)
                self.stop.tell()
                stopping_since = min(stopping_since, time.monotonic())
                # Ranks that wait for another machine, or for each other, hear nothing, and have nothing to save.
                if not ranks.opened and time.monotonic() - stopping_since > START_GRACE_SECONDS:
                    return None
            if ranks.opened and (busy := self.surroundings.sentence()):
                self.display.note(busy)
            if ranks.are_ending():
                return None
            if hang := ranks.hang():
                return hang
            time.sleep(POLL_SECONDS)
        return None

    def _show_new(self, ranks: Ranks) -> None:
        for run in ranks.new_runs():
            self.display.take_run(run, ranks.folder)

    def _manifest_of(self, runs: list[PlannedRun]) -> Manifest:
        return self.manifest.model_copy(update={"runs": tuple(runs), "accumulation": self._accumulation})

    def _halve(self, run: PlannedRun, folder: RunFolder, cause: Cause) -> bool:
        """Lets a run be tried again with micro-batches half as large, where its suite allows it and they divide."""
        train = self._manifest_of([run]).spec_to_train(run).train.with_halved_micro_batches()
        if train is None or not train.retry_out_of_memory or in_evaluation(cause):
            return False
        steps, size = train.gradient_accumulation_steps, train.micro_batch_size
        self._accumulation[run.run_id] = steps
        opened = dataclasses.replace(folder, generation=folder.started_generation())
        opened.event("retried", reason=cause.message, gradient_accumulation_steps=steps, micro_batch_size=size)
        self.display.note(f"↻ {run.name} · out of memory: again with micro-batches of {size}")
        return True

    def _record(self, run: PlannedRun, folder: RunFolder, status: Status, cause: Cause) -> None:
        """Writes the result of a run whose launch died, unless another process has it by now."""
        owned = folder.claim(lambda text: self.display.note(f"{run.name}: {text}"))
        if owned is None:
            return
        claim, folder = owned
        with claim:
            if earlier := self.manifest.to_replace(run, folder):  # it came not so far as to set that record aside
                self.display.count(earlier)
                self.display.note(
                    f"✗ {run.name} · {status}: {cause.message}: not trained again, its earlier record stays"
                )
                return
            if folder.is_done():
                return
            if not folder.events():  # it was never opened
                code = own_code(run.spec.plugins())
                folder.start(self.manifest.description(run), self.system, packed=self.manifest.packed, code=code)
            result = self.manifest.result(run, folder.path.name, folder.attempt(), status, cause, Measurements())
            folder.finish(result)
        self.display.count(result)
        who = f"rank {cause.rank}: " if cause.rank is not None and "rank " not in cause.message else ""
        what = f"{cause.kind}: " if cause.traceback and cause.kind not in cause.message and cause.kind != "hang" else ""
        hint = hint_for(status, cause, folder.path, self.manifest.packed)
        self.display.note(f"✗ {run.name} · {status}: {who}{what}{cause.message}\n  hint: {hint}")
