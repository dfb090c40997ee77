"""Which runs of a plan are done, failed or open, on each system."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from harness.counted import counted
from harness.records.ongoing import OngoingRun, ongoing_run
from harness.records.planned import done_elsewhere, folder_of
from harness.records.read import counts_over, names_in, read_system, run_folders
from harness.records.result import FINAL, RunResult, Status
from harness.records.store import RunFolder
from harness.results.race import RACES
from harness.results.study import suite_folders
from harness.suite.plan import Plan


@dataclass(frozen=True)
class SystemStatus:
    """The runs of a plan on one system.

    Attributes:
        name: of the system.
        counts: by status; `open` are those without a result.
        with_checkpoint: runs that are not done and go on from a checkpoint when they are run again.
        problems: what there is to say of each result that is not ok.
        running: the runs that go on now; they are among the open ones, or those that are to be done again.
    """

    name: str
    counts: dict[str, int]
    with_checkpoint: int
    problems: list[dict[str, Any]]
    running: list[OngoingRun] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {**vars(self), "running": [vars(run) for run in self.running]}


@dataclass(frozen=True)
class SuiteStatus:
    """The runs of a plan, by system_id."""

    suite: str
    total: int
    systems: dict[str, SystemStatus]
    unreadable: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        systems = {system_id: status.as_json() for system_id, status in self.systems.items()}
        return {"suite": self.suite, "total": self.total, "systems": systems, "unreadable": self.unreadable}

    def text(self) -> str:
        """Returns lines for a person."""
        lines = [f"{self.suite}: {counted(self.total, 'run')}"]
        if not self.systems:
            lines.append("  none has been run yet")
        for system_id, status in self.systems.items():
            counts = ", ".join(f"{count} {name}" for name, count in status.counts.items())
            lines.append(f"  on {status.name} ({system_id}): {counts}")
            if status.with_checkpoint:
                lines.append(f"    not done, to go on from a checkpoint: {status.with_checkpoint}")
            lines += [f"    {_told(problem)}" for problem in status.problems]
            if status.running:
                lines.append(f"    running now: {len(status.running)}")
                lines += [f"      {run.text()}" for run in status.running]
        lines += [f"  unreadable: {path}: {reason}" for path, reason in self.unreadable.items()]
        return "\n".join(lines)


class _Records:
    """What lies in the folders of a suite.

    Attributes:
        run_ids: of all folders.
        results: those that count, by run_id and system_id.
        names: of the systems, by system_id; empty where no run on it tells.
        running: the runs that go on, each with its system_id.
        with_checkpoint: run_id and system_id of those that are not done and go on from a checkpoint.
        unreadable: why a record does not count, by its path.
    """

    def __init__(self) -> None:
        self.run_ids: set[str] = set()
        self.results: dict[tuple[str, str], RunResult] = {}
        self.names: dict[str, str] = {}
        self.running: list[tuple[str, OngoingRun]] = []
        self.with_checkpoint: list[tuple[str, str]] = []
        self.unreadable: dict[str, str] = {}

    def read(self, suite: Path) -> None:
        now = time.time()
        for run_id, system_id, folder in run_folders(suite):
            self.run_ids.add(run_id)
            self.names.setdefault(system_id, "")
            result, why = RunFolder(Path(folder)).read()
            running = None if result and result.status in FINAL else ongoing_run(folder, run_id, now)
            try:
                if result or running:
                    self._name(system_id, Path(folder))
            except (OSError, ValueError) as error:
                result, why = None, str(error) if result else why
            if result:
                self.add(result)
            if why:
                self.unreadable[f"{folder}/result.json"] = why
            if running:
                self.running.append((system_id, running))
            is_done = result and result.status in FINAL
            if not is_done and any(name.startswith("step-") for name in names_in(f"{folder}/checkpoints")):
                self.with_checkpoint.append((run_id, system_id))

    def read_elsewhere(self, root: Path, suite: str, planned: Collection[str]) -> None:
        for result in done_elsewhere(root, suite, planned):
            self._name(result.system_id, folder_of(root, suite, result).path)
            self.add(result)

    def add(self, result: RunResult) -> None:
        key = result.run_id, result.system_id
        if key not in self.results or counts_over(result, self.results[key]):
            self.results[key] = result

    def status(self, suite: str, planned: Collection[str]) -> SuiteStatus:
        systems = {}
        for system_id, name in self.names.items():
            own = [each for (run_id, system), each in self.results.items() if system == system_id and run_id in planned]
            counts = Counter[str](result.status for result in own)
            counts["open"] = len(planned) - len(own)
            saved = sum(system == system_id and run_id in planned for run_id, system in self.with_checkpoint)
            running = [run for system, run in self.running if system == system_id and run.run_id in planned]
            if own or saved or running:
                systems[system_id] = SystemStatus(
                    name or system_id,
                    {status: counts[status] for status in (*get_args(Status), "open") if counts[status]},
                    saved,
                    [_problem(result) for result in own if result.status != "ok"],
                    sorted(running, key=lambda run: (run.label, run.seed or 0, run.run_id)),
                )
        return SuiteStatus(suite, len(planned), systems, self.unreadable)

    def _name(self, system_id: str, folder: Path) -> None:
        if not self.names.get(system_id):
            self.names[system_id] = str(read_system(folder, system_id).get("name", ""))


def _problem(result: RunResult) -> dict[str, Any]:
    cause, step = (result.cause.message, result.cause.step) if result.cause else ("", None)
    return {"label": result.label, "seed": result.seed, "status": result.status, "cause": cause, "step": step}


def suite_status(plan: Plan, *roots: Path) -> SuiteStatus:
    """Reads the records of a suite in results roots, and counts the plan's runs on each system by status."""
    name, planned, found = plan.suite.name, {run.run_id for run in plan.runs}, _Records()
    for root in roots:
        found.read(root / name)
    for root in roots:
        found.read_elsewhere(root, name, planned)
    return found.status(name, planned)


def folder_status(*folders: Path) -> SuiteStatus:
    """Does so for folders `ROOT/SUITE` of records, without the suite's file: open are runs that have begun."""
    found = _Records()
    for folder in folders:
        found.read(folder)
    return found.status(folders[0].resolve().name, found.run_ids - {RACES})


def stored_suites(root: Path) -> dict[str, str]:
    """Returns how the runs of each suite in a results root ended, in one line, by the suite's folder."""
    found = {}
    for folder in suite_folders(root):
        systems = folder_status(folder).systems.values()
        counts = [(", ".join(f"{n} {status}" for status, n in one.counts.items()), one.name) for one in systems]
        found[str(folder)] = "; ".join(f"{told} on {name}" for told, name in counts)
    return found


def _told(problem: dict[str, Any]) -> str:
    at = f" at step {problem['step']}" if problem["status"] == "preempted" and problem["step"] is not None else ""
    return f"{problem['label']} · seed {problem['seed']} · {problem['status']}{at}: {problem['cause']}"
