"""Launches the runs of a plan, watches them, records what killed a launch, and launches again for what is left."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.measure.system import describe_system
from harness.records.claims import claim, owner
from harness.records.result import FINAL, Cause, Status
from harness.records.store import RunFolder
from harness.scheduling.commands import Launcher
from harness.scheduling.display import Display, Unseen
from harness.scheduling.endings import (
    are_at_work,
    are_without_steps,
    cause_of_death,
    cause_of_hang,
    hint_for,
    in_evaluation,
)
from harness.scheduling.launch import (
    FOLDER,
    STOPPED,
    SUPERVISOR,
    Look,
    Orders,
    give_orders,
    read_exits,
    read_farewell,
    read_looks,
    read_open_run,
    read_pulses,
    read_words,
    refusal,
)
from harness.scheduling.manifest import Manifest
from harness.scheduling.processes import end_launch, start_launch
from harness.suite import PlannedRun

POLL_SECONDS = 0.2
START_SECONDS = 300.0  # until the first run: importing torch from a busy network disk is slow
LINGER_SECONDS = 5.0  # once a rank has said its last word, the others may wait for it in a collective, for ever
ANSWER_SECONDS = 3.0
LOOKS = 5
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@dataclass(frozen=True)
class Ending:
    """How a launch ended; `hang` is set where it did not, and was ended."""

    returncode: int
    hang: Cause | None = None


class Supervisor:
    """Runs a manifest.

    Args:
        manifest: the runs.
        launcher: starts processes.
        arguments: of the script, to be seen in a list of processes; the runs come from the manifest.
        console: for what a person reads, on stderr.
        display: shows the runs meanwhile, on the same console.
    """

    def __init__(
        self,
        manifest: Manifest,
        launcher: Launcher,
        arguments: list[str],
        console: Console,
        display: Display | None = None,
    ) -> None:
        self._manifest = manifest
        self._launcher = launcher
        self._system = describe_system(use_cpu=launcher.uses_cpu())
        self._arguments = arguments
        self._console = console
        self._display = display or Unseen()
        self._accumulation: dict[str, int] = {}
        self._orders = Orders()
        self._stop_requested = ""
        self._stop_now = False

    def run(self, *, isolate: bool = False) -> int:
        """Runs what is open.

        Args:
            isolate: a fresh process for each run.

        Returns:
            0 all well, 1 some runs failed, 2 bad input, 75 stopped.

        Raises:
            HarnessError: no run can start; a rank says why.
        """
        open_runs = []
        for run in self._manifest.runs:
            result = self._folder_of(run).result()
            if result is None or result.status not in FINAL:
                open_runs.append(run)
            else:
                self._display.count(result, run.name)
        total, done = len(self._manifest.runs), len(self._manifest.runs) - len(open_runs)
        skipped = f"; {done} are done on this system: skipped" if done else ""
        self._console.print(f"{self._manifest.suite}: {total} runs{skipped}")
        previous = {number: signal.signal(number, self._request_stop) for number in STOP_SIGNALS}
        try:
            for batch in _batches(open_runs, isolate):
                code = self._run_batch(batch)
                if code == STOPPED:
                    self._console.print("stopped: what was done is kept, the same command goes on from here")
                if code:
                    return code
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        results = [self._folder_of(run).result() for run in self._manifest.runs]
        if elsewhere := self._owners():
            self._console.print(f"{len(elsewhere)} runs are being done elsewhere: {elsewhere[0]}", markup=False)
            return STOPPED
        return 0 if all(result is not None and result.status == "ok" for result in results) else 1

    def _owners(self) -> list[str]:
        """Returns who does the runs that are not done."""
        folders = [self._folder_of(run) for run in self._manifest.runs]
        return [who for folder in folders if not folder.is_done() and (who := owner(folder.path))]

    def _run_batch(self, runs: list[PlannedRun]) -> int:
        """Launches until each run was attempted; returns 2 or 75 where that ends the suite, else 0."""
        # For launches over several nodes the folder is on a disk that all of them see.
        parent = self._launcher.launch_folder_parent()
        while runs:
            if self._stop_requested:
                return STOPPED
            with tempfile.TemporaryDirectory(prefix="harness-", dir=parent, ignore_cleanup_errors=True) as name:
                folder = Path(name)
                ending = self._launch(folder, runs)
                if refused := refusal(folder):
                    raise refused
                if (stopped := read_farewell(folder)) is not None:
                    return STOPPED if stopped else 0
                if ending.returncode == 2 and not ending.hang:
                    return 2
                left = [] if self._stop_now else self._after_a_death(folder, runs, ending)
            runs = left
        return STOPPED if self._stop_requested else 0

    def _after_a_death(self, folder: Path, runs: list[PlannedRun], ending: Ending) -> list[PlannedRun]:
        """Records what a launch died of, and returns the runs that are to be launched again."""
        opened = read_open_run(folder)
        if opened is None and self._stop_requested:
            return []  # stopped while it started, before it listened: nothing is lost
        world = runs[0].spec.train.num_processes or 1
        status, cause = cause_of_death(folder, ending.returncode, world)
        # A rank that was killed answers no more than one that hangs; the launcher may be late to say so.
        if ending.hang and all(code >= 0 for code in read_exits(folder).values()):
            status, cause = "timeout", ending.hang
        if opened is None:  # the next launch would come no further
            kind = "no start" if cause.kind in ("exit", "hang") else cause.kind
            message = f"the launch never came to a run: {cause.message}"
            self._record(
                runs[0], self._folder_of(runs[0]), "failed", cause.model_copy(update={"kind": kind, "message": message})
            )
            if len(runs) > 1:
                self._console.print(f"{len(runs) - 1} more runs of this launch stay open", markup=False)
            return []
        place = [run.run_id for run in runs].index(opened.run_id)
        run, later = runs[place], runs[place + 1 :]
        if opened.ended or opened.folder.is_done():  # ranks walk the runs in order
            return later
        if status == "oom" and not self._stop_requested and self._halve(run, opened.folder, cause):
            return [run, *later]
        self._record(run, opened.folder, status, cause)
        return later

    def _folder_of(self, run: PlannedRun) -> RunFolder:
        return self._manifest.folder(run, self._system["system_id"])

    def _has_ended(self, run: PlannedRun) -> bool:
        return (self._folder_of(run).path / "result.json").exists()

    def _launch(self, folder: Path, runs: list[PlannedRun]) -> Ending:
        world = runs[0].spec.train.num_processes or 1
        total, launched = len(self._manifest.runs), {run.run_id for run in runs}
        ended = sum(run.run_id not in launched and self._has_ended(run) for run in self._manifest.runs)
        manifest = dataclasses.replace(
            self._manifest, runs=tuple(runs), done=ended, total=total, accumulation=self._accumulation
        )
        manifest.write(folder)
        command = self._launcher.command(world, folder, self._arguments)
        self._orders = Orders()
        give_orders(folder, self._orders)
        supervisor = f"{socket.gethostname()}:{os.getpid()}"
        environment = self._launcher.environment(world) | {FOLDER: str(folder), SUPERVISOR: supervisor}
        timeout = max(run.spec.train.timeout_seconds for run in runs)
        self._display.follow(folder)
        console = self._console if self._display.holds_terminal else None
        child, relay = start_launch(command, environment, console)
        try:
            hang = self._watch(child, folder, timeout, world)
        finally:
            end_launch(child, folder)
            relay()
            self._display.leave()
        return Ending(child.returncode, hang)

    def _watch(self, child: subprocess.Popen[bytes], folder: Path, timeout_seconds: float, world: int) -> Cause | None:
        """Returns when a launch has ended or is to be ended; a cause where it hangs."""
        last_pulses, last_change, last_words_at = read_pulses(folder), time.monotonic(), None
        while child.poll() is None and not self._stop_now:
            if self._stop_requested and not self._orders.stop:
                self._order(folder, stop=self._stop_requested)
                message = f"{self._stop_requested}: saving; Ctrl-C stops at once"
                self._console.print(message, markup=False)
            if read_words(folder) or refusal(folder) or read_farewell(folder) is not None:
                last_words_at = last_words_at or time.monotonic()
                if time.monotonic() - last_words_at > LINGER_SECONDS:
                    return None
            pulses = read_pulses(folder)
            if pulses != last_pulses:
                last_pulses, last_change = pulses, time.monotonic()
            limit = timeout_seconds if read_open_run(folder) else max(timeout_seconds, START_SECONDS)
            if time.monotonic() - last_change > limit:
                if hang := self._find_hang(folder, world, limit):
                    return hang
                last_change = time.monotonic()
            time.sleep(POLL_SECONDS)
        return None

    def _find_hang(self, folder: Path, world: int, seconds: float) -> Cause | None:
        """Returns who hangs; None where an evaluation, or what comes before the first step, only takes long."""
        looks = self._look(folder, world)
        for _ in range(LOOKS - 1):
            if not are_without_steps(looks):
                break
            earlier, looks = looks, self._look(folder, world)
            if are_at_work(earlier, looks):
                return None
        return cause_of_hang(looks, read_pulses(folder), world, seconds)

    def _look(self, folder: Path, world: int) -> dict[int, Look]:
        """Asks the ranks where they are; a rank that does not answer is left out."""
        self._order(folder, look=self._orders.look + 1)
        end = time.monotonic() + ANSWER_SECONDS
        while len(looks := read_looks(folder, self._orders.look)) < world and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        return looks

    def _order(self, folder: Path, **changes: str | int) -> None:
        self._orders = dataclasses.replace(self._orders, **changes)  # type: ignore[arg-type]
        give_orders(folder, self._orders)

    def _halve(self, run: PlannedRun, folder: RunFolder, cause: Cause) -> bool:
        """Lets a run be tried again with micro-batches half as large, where its suite allows it and they divide."""
        train = run.spec.train
        steps = 2 * self._accumulation.get(run.run_id, train.gradient_accumulation_steps)
        size, rest = divmod(train.global_batch_size, (train.num_processes or 1) * steps)
        if not train.retry_out_of_memory or rest or size < 2 or in_evaluation(cause):
            return False
        self._accumulation[run.run_id] = steps
        folder.event("retried", reason=cause.message, gradient_accumulation_steps=steps, micro_batch_size=size)
        message = f"↻ {run.name} · out of memory: again with micro-batches of {size}"
        self._console.print(message, markup=False)
        return True

    def _record(self, run: PlannedRun, folder: RunFolder, status: Status, cause: Cause) -> None:
        """Writes the result of a run whose launch died, unless another process has it by now."""
        own = claim(folder.path)
        if own is None:
            return
        with own:
            if not folder.is_done():
                self._record_owned(run, folder, status, cause)

    def _record_owned(self, run: PlannedRun, folder: RunFolder, status: Status, cause: Cause) -> None:
        if not folder.events():  # it was never opened
            folder.start(self._manifest.description(run), self._system)
        result = self._manifest.result(run, folder.path.name, folder.attempt(), status, cause)
        folder.finish(result)
        self._display.count(result, run.name)
        who = f"rank {cause.rank}: " if cause.rank is not None and "rank " not in cause.message else ""
        what = f"{cause.kind}: " if cause.traceback and cause.kind not in cause.message and cause.kind != "hang" else ""
        self._console.print(
            f"✗ {run.name} · {status}: {who}{what}{cause.message}\n  hint: {hint_for(status, cause, folder.path)}",
            markup=False,
            soft_wrap=True,
        )

    def _request_stop(self, number: int, _frame: object) -> None:
        self._stop_now = bool(self._stop_requested) and number == signal.SIGINT
        self._stop_requested = self._stop_requested or signal.Signals(number).name


def _batches(runs: list[PlannedRun], isolate: bool) -> list[list[PlannedRun]]:
    """One launch for each world size, or, isolated, for each run; in the plan's order."""
    if isolate:
        return [[run] for run in runs]
    by_world = sorted(runs, key=lambda run: run.spec.train.num_processes or 1)
    return [list(group) for _, group in itertools.groupby(by_world, key=lambda run: run.spec.train.num_processes)]
