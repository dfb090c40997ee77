"""Which runs of a plan are done, failed or open, on each system."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

from harness.counted import counted
from harness.records.planned import done_elsewhere, folder_of
from harness.records.read import names_in, read_system
from harness.records.result import FINAL, RunResult, Status
from harness.records.store import RunFolder
from harness.results.study import suite_folders
from harness.suite.plan import Plan

FEW, MOST_PROCESSES = 2000, 4  # runs that one process reads, and processes that read more: login nodes are shared


@dataclass
class SystemStatus:
    """The runs of a plan on one system.

    Attributes:
        name: of the system.
        counts: by status; `open` are those without a result.
        with_checkpoint: runs that are not done and go on from a checkpoint when they are run again.
        problems: what there is to say of each result that is not ok.
    """

    name: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    with_checkpoint: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class SuiteStatus:
    """The runs of a plan, by system_id."""

    suite: str
    total: int
    systems: dict[str, SystemStatus]
    unreadable: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        systems = {system_id: vars(status) for system_id, status in self.systems.items()}
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
        lines += [f"  unreadable: {path}: {reason}" for path, reason in self.unreadable.items()]
        return "\n".join(lines)


class _Ended(NamedTuple):
    """How a run ended; of 10,000 results no more is kept."""

    done: bool
    ended_at: str
    status: Status
    problem: dict[str, Any] | None


def suite_status(plan: Plan, *roots: Path) -> SuiteStatus:
    """Reads the records of a suite in results roots, and counts the plan's runs on each system by status."""
    name, planned = plan.suite.name, {run.run_id for run in plan.runs}
    found = _Records.read([root / name for root in roots], planned)
    for root in roots:
        for result in done_elsewhere(root, name, planned):
            found.count(result, str(folder_of(root, name, result).path))
    return found.status(name, len(plan.runs))


def folder_status(*folders: Path) -> SuiteStatus:
    """Does so for folders `ROOT/SUITE` of records, without the suite's file: open are runs that have begun."""
    found = _Records.read(folders, None)
    return found.status(folders[0].resolve().name, len(found.begun))


def stored_suites(root: Path) -> dict[str, str]:
    """Returns how the runs of each suite in a results root ended, in one line, by the suite's folder."""
    found = {}
    for folder in suite_folders(root):
        systems = folder_status(folder).systems.values()
        counts = [(", ".join(f"{n} {status}" for status, n in one.counts.items()), one.name) for one in systems]
        found[str(folder)] = "; ".join(f"{told} on {name}" for told, name in counts)
    return found


@dataclass
class _Records:
    """What was read of a suite's records.

    Attributes:
        systems: those that have a folder of a run.
        unreadable: records that do not count, with the reason.
        begun: the runs that count and have a folder, by run_id.
        results: those that count, by run_id and system_id.
    """

    systems: dict[str, SystemStatus] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    results: dict[tuple[str, str], _Ended] = field(default_factory=dict)

    @staticmethod
    def read(folders: Iterable[Path], planned: Collection[str] | None) -> _Records:
        """Reads the records in a suite's folders; of the planned runs, or of all."""
        every = [(str(suite), run_id) for suite in folders for run_id in names_in(suite)]
        processes = min(len(os.sched_getaffinity(0)), MOST_PROCESSES) if len(every) > FEW else 1
        if processes == 1:
            return _Records._read(every, planned)
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        parts = [every[at * len(every) // processes : (at + 1) * len(every) // processes] for at in range(processes)]
        with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
            first, *others = pool.map(_Records._read, parts, [planned] * processes)
        for other in others:
            first._take(other)
        return first

    @staticmethod
    def _read(runs: Iterable[tuple[str, str]], planned: Collection[str] | None) -> _Records:
        """Does so for some runs: folder of the suite, and run_id."""
        found = _Records()
        for suite, run_id, system_id in ((*run, name) for run in runs for name in names_in("/".join(run))):
            folder = f"{suite}/{run_id}/{system_id}"
            system = found.systems.setdefault(system_id, SystemStatus())
            result, why = RunFolder(Path(folder)).read()
            try:
                system.name = system.name or (_name(folder, system_id) if result else "")
            except (OSError, ValueError) as error:
                result, why = None, str(error)
            if why:
                found.unreadable[f"{folder}/result.json"] = why
            if planned is not None and run_id not in planned:
                continue
            found.begun.add(run_id)
            if result:
                found.count(result, folder)
            if result is None or result.status not in FINAL:
                system.with_checkpoint += any(name.startswith("step-") for name in names_in(f"{folder}/checkpoints"))
        return found

    def _take(self, other: _Records) -> None:
        """Takes what was read of other runs."""
        for system_id, system in other.systems.items():
            own = self.systems.setdefault(system_id, SystemStatus())
            own.name = own.name or system.name
            own.with_checkpoint += system.with_checkpoint
        self.unreadable |= other.unreadable
        self.begun |= other.begun
        for key, ended in other.results.items():
            self._keep(key, ended)

    def count(self, result: RunResult, folder: str) -> None:
        """Takes a result, but where there is a better one of the same run."""
        key, status, cause = (result.run_id, result.system_id), result.status, result.cause
        told = {"cause": cause.message if cause else "", "step": cause.step if cause else None}
        problem = {"label": result.label, "seed": result.seed, "status": status, **told}
        ended = _Ended(status in FINAL, result.ended_at, status, problem if status != "ok" else None)
        self._keep(key, ended)
        system = self.systems.setdefault(result.system_id, SystemStatus())
        system.name = system.name or _name(folder, result.system_id)

    def _keep(self, key: tuple[str, str], ended: _Ended) -> None:
        if key not in self.results or ended[:2] > self.results[key][:2]:  # as `harness.records.read.counts_over`
            self.results[key] = ended

    def status(self, suite: str, total: int) -> SuiteStatus:
        """Returns what there is of so many runs."""
        told = {}
        for system_id, system in self.systems.items():
            ended = [one for (_, of), one in self.results.items() if of == system_id]
            if not ended and not system.with_checkpoint:
                continue
            counts = Counter[str](one.status for one in ended)
            counts["open"] = total - len(ended)
            system.counts = {status: counts[status] for status in (*get_args(Status), "open") if counts[status]}
            system.problems = [one.problem for one in ended if one.problem]
            system.name = system.name or system_id
            told[system_id] = system
        return SuiteStatus(suite, total, told, self.unreadable)


def _name(folder: str, system_id: str) -> str:
    return str(read_system(Path(folder), system_id).get("name", ""))


def _told(problem: dict[str, Any]) -> str:
    at = f" at step {problem['step']}" if problem["status"] == "preempted" and problem["step"] is not None else ""
    return f"{problem['label']} · seed {problem['seed']} · {problem['status']}{at}: {problem['cause']}"
