"""Launches the runs of a plan, watches them, records what killed a launch, and launches again for what is left."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.launching.display import Display
from harness.launching.failure_causes import cause_of_failure, hint_for, in_evaluation
from harness.launching.launch_command import Launcher
from harness.launching.launch_folder import (
    FOLDER,
    OPENED_RUNS,
    STOPPED,
    SUPERVISOR,
    new_folder,
    read_exits,
    refusal,
    reported_end,
)
from harness.launching.manifest import Manifest
from harness.launching.processes import end_launch, start_launch
from harness.launching.ranks import POLL_SECONDS, Ranks
from harness.launching.stop_signals import StopSignals
from harness.measure.surroundings import Surroundings
from harness.records.follow import read_last_opened_run
from harness.records.result import Cause, Status
from harness.records.store import RunFolder
from harness.spec.code import own_code
from harness.suite.plan import PlannedRun

START_GRACE_SECONDS = 10.0  # to hear of a stop that came while they were importing


@dataclass(frozen=True)
class LaunchEnd:
    """How a launch ended; `hang` is set where it did not, and was ended."""

    returncode: int
    hang: Cause | None = None


class Supervisor:
    """Does the runs of a manifest, in one launch after the other.

    Args:
        manifest: the runs.
        launcher: starts processes.
        system: that they run on.
        arguments: of the script, to be seen in a list of processes; the runs come from the manifest.
        console: for what a person reads, on stderr.
        display: shows the runs meanwhile, on the same console.
        stop: says when to save and stop.
        surroundings: tell, before the first run, whether the machine is busy; None to say nothing.
    """

    def __init__(
        self,
        manifest: Manifest,
        launcher: Launcher,
        system: dict[str, Any],
        arguments: list[str],
        console: Console,
        display: Display,
        stop: StopSignals,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._manifest = manifest
        self._launcher = launcher
        self._system = system
        self._arguments = arguments
        self._console = console
        self._display = display
        self._stop = stop
        self._surroundings = surroundings
        self._accumulation: dict[str, int] = {}

    def do(self, runs: list[PlannedRun], *, isolate: bool) -> int:
        """Launches until each run was attempted.

        Args:
            runs: of the manifest, in its order.
            isolate: a fresh process for each run.

        Returns:
            0 where each was attempted, 2 bad input, 75 stopped.

        Raises:
            HarnessError: no run can start; a rank says why.
        """
        codes = (self._run_batch(batch) for batch in self._batches(runs, isolate))
        return next((code for code in codes if code), 0)

    def _batches(self, runs: list[PlannedRun], isolate: bool) -> Iterator[list[PlannedRun]]:
        """Yields the runs of each launch: those of a world size or, isolated, one; in the plan's order."""
        if isolate:
            yield from ([run] for run in runs if self._manifest.takes(run))
            return
        by_world = sorted(runs, key=lambda run: run.spec.train.num_processes or 1)
        for _, group in itertools.groupby(by_world, key=lambda run: run.spec.train.num_processes):
            yield list(group)

    def _run_batch(self, runs: list[PlannedRun]) -> int:
        """Launches until each run was attempted; returns 2 or 75 where that ends the suite, else 0."""
        # For launches over several nodes the folder is on a disk that all of them see.
        parent = self._launcher.launch_folder_parent()
        while runs:
            if self._stop.reason:
                return STOPPED
            with new_folder(parent) as folder:
                ending = self._launch(folder, runs)
                if refused := refusal(folder):
                    raise refused
                stopped = reported_end(folder)
                if stopped is None and not ending.returncode:  # it could not be written: a full disk, say
                    stopped = self._stop.reason or None
                if stopped is not None:
                    return STOPPED if stopped else 0
                if ending.returncode == 2 and not ending.hang:
                    return 2
                left = [] if self._stop.at_once else self._after_a_failure(folder, runs, ending)
            runs = [run for run in left if self._manifest.has_left(run)]
        return STOPPED if self._stop.reason else 0

    def _after_a_failure(self, folder: Path, runs: list[PlannedRun], ending: LaunchEnd) -> list[PlannedRun]:
        """Records what a launch died of, and returns the runs that are to be launched again."""
        opened = read_last_opened_run(folder / OPENED_RUNS)
        if opened is None and self._stop.reason:
            return []  # stopped while it started, before it listened: nothing is lost
        world = runs[0].spec.train.num_processes or 1
        status, cause = cause_of_failure(folder, ending.returncode, world)
        # A rank that was killed answers no more than one that hangs; the launcher may be late to say so.
        if ending.hang and all(code >= 0 for code in read_exits(folder).values()):
            status, cause = "timeout", ending.hang
        if opened is None:  # the next launch would come no further
            self._record_no_start(runs, cause)
            return []
        place = [run.run_id for run in runs].index(opened.run_id)
        run, later = runs[place], runs[place + 1 :]
        if opened.stage == "ended" or self._manifest.is_done(run, opened.folder):  # ranks walk the runs in order
            return later
        if status == "oom" and not self._stop.reason and self._halve(run, opened.folder, cause):
            return [run, *later]
        self._record(run, opened.folder, status, cause)
        return later

    def _record_no_start(self, runs: list[PlannedRun], cause: Cause) -> None:
        """Records that a launch never came to a run; of several at a time, those of the first slot alone."""
        kind = "no start" if cause.kind in ("exit", "hang") else cause.kind
        message = f"the launch never came to a run: {cause.message}"
        slot = self._manifest.slot
        if slot and (slot.number > 0 or not slot.takes(runs[0].run_id)):
            self._console.print(f"launch {slot.number + 1} of {slot.of}: {message}", markup=False, soft_wrap=True)
            return
        cause = cause.model_copy(update={"kind": kind, "message": message})
        self._record(runs[0], self._folder_of(runs[0]), "failed", cause)
        if len(runs) > 1 and not slot:
            self._console.print(f"{len(runs) - 1} more runs of this launch stay open", markup=False)

    def _folder_of(self, run: PlannedRun) -> RunFolder:
        return self._manifest.folder(run, self._system["system_id"])

    def _has_ended(self, run: PlannedRun) -> bool:
        return (self._folder_of(run).path / "result.json").exists()

    def _launch(self, folder: Path, runs: list[PlannedRun]) -> LaunchEnd:
        world = runs[0].spec.train.num_processes or 1
        total, launched = len(self._manifest.runs), {run.run_id for run in runs}
        ended = sum(run.run_id not in launched and self._has_ended(run) for run in self._manifest.runs)
        manifest = dataclasses.replace(
            self._manifest, runs=tuple(runs), done=ended, total=total, accumulation=self._accumulation
        )
        ranks = Ranks(folder, manifest, world)
        command = self._launcher.command(world, folder, self._arguments)
        supervisor = f"{socket.gethostname()}:{os.getpid()}"
        environment = self._launcher.environment(world) | {FOLDER: str(folder), SUPERVISOR: supervisor}
        self._display.follow(folder)
        console = self._console if self._display.holds_terminal else None
        child, relay = start_launch(command, environment, console)
        try:
            hang = self._watch(child, ranks)
        finally:
            end_launch(child, folder)
            relay()
            self._display.leave(folder)
        return LaunchEnd(child.returncode, hang)

    def _watch(self, child: subprocess.Popen[bytes], ranks: Ranks) -> Cause | None:
        """Returns when a launch has ended or is to be ended; a cause where it hangs."""
        stopping_since = math.inf
        while child.poll() is None and not self._stop.at_once:
            if ranks.restore():
                self._console.print("the folder of the launch was deleted: it was made again, and the runs go on")
            if self._stop.reason:
                ranks.stop(self._stop.reason)
                self._stop.tell()
                stopping_since = min(stopping_since, time.monotonic())
                # Ranks that wait for another machine, or for each other, hear nothing, and have nothing to save.
                if not ranks.have_begun and time.monotonic() - stopping_since > START_GRACE_SECONDS:
                    return None
            if ranks.have_begun and self._surroundings and (busy := self._surroundings.sentence()):
                self._console.print(busy, markup=False, soft_wrap=True)
            if ranks.are_ending():
                return None
            if hang := ranks.hang():
                return hang
            time.sleep(POLL_SECONDS)
        return None

    def _halve(self, run: PlannedRun, folder: RunFolder, cause: Cause) -> bool:
        """Lets a run be tried again with micro-batches half as large, where its suite allows it and they divide."""
        train = run.spec.train
        steps = 2 * self._accumulation.get(run.run_id, train.gradient_accumulation_steps)
        size, rest = divmod(train.global_batch_size, (train.num_processes or 1) * steps)
        if not train.retry_out_of_memory or rest or size < 2 or in_evaluation(cause):
            return False
        self._accumulation[run.run_id] = steps
        opened = dataclasses.replace(folder, generation=folder.started_generation())
        opened.event("retried", reason=cause.message, gradient_accumulation_steps=steps, micro_batch_size=size)
        message = f"↻ {run.name} · out of memory: again with micro-batches of {size}"
        self._console.print(message, markup=False)
        return True

    def _record(self, run: PlannedRun, folder: RunFolder, status: Status, cause: Cause) -> None:
        """Writes the result of a run whose launch died, unless another process has it by now."""
        owned = folder.claim(lambda text: self._console.print(f"{run.name}: {text}", markup=False, soft_wrap=True))
        if owned is None:
            return
        with owned[0]:
            earlier = self._manifest.to_replace(run, folder)
            if not folder.is_done():
                self._record_owned(run, owned[1], status, cause)
            elif earlier:  # it came not so far as to set that record aside
                self._display.count(earlier)
                message = f"✗ {run.name} · {status}: {cause.message}: not trained again, its earlier record stays"
                self._console.print(message, markup=False, soft_wrap=True)

    def _record_owned(self, run: PlannedRun, folder: RunFolder, status: Status, cause: Cause) -> None:
        if not folder.events():  # it was never opened
            code = own_code(run.spec.plugins())
            folder.start(self._manifest.description(run), self._system, packed=self._manifest.packed, code=code)
        result = self._manifest.result(run, folder.path.name, folder.attempt(), status, cause)
        folder.finish(result)
        self._display.count(result)
        who = f"rank {cause.rank}: " if cause.rank is not None and "rank " not in cause.message else ""
        what = f"{cause.kind}: " if cause.traceback and cause.kind not in cause.message and cause.kind != "hang" else ""
        hint = hint_for(status, cause, folder.path, self._manifest.packed)
        self._console.print(
            f"✗ {run.name} · {status}: {who}{what}{cause.message}\n  hint: {hint}",
            markup=False,
            soft_wrap=True,
        )
