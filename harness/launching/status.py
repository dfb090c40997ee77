"""Which runs of a plan are done, failed or open, on each system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

from harness.counted import counted
from harness.records.planned import done_elsewhere, folder_of
from harness.records.read import names_in, read_result, read_system, run_folders
from harness.records.result import FINAL, RunResult, Status
from harness.suite.plan import Plan


@dataclass(frozen=True)
class SystemStatus:
    """The runs of a plan on one system.

    Attributes:
        counts: by status; `open` are those without a result.
        with_checkpoint: runs that are not done and go on from a checkpoint when they are run again.
        problems: what there is to say of each result that is not ok.
    """

    name: str
    counts: dict[str, int]
    with_checkpoint: int
    problems: list[dict[str, Any]]


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
    label: str
    seed: int
    cause: str
    step: int | None


@dataclass
class _Seen:
    """The planned runs that a system has begun."""

    name: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    with_checkpoint: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    def count(self, ended: _Ended) -> None:
        """Takes how a run ended."""
        self.counts[ended.status] += 1
        if ended.status != "ok":
            told = {"label": ended.label, "seed": ended.seed, "status": ended.status}
            self.problems.append({**told, "cause": ended.cause, "step": ended.step})


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


@dataclass
class _Records:
    """What was read of a suite's records.

    Attributes:
        begun: the runs that count and have a folder, by run_id.
        results: those that count, by run_id and system_id.
    """

    systems: dict[str, _Seen] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    results: dict[tuple[str, str], _Ended] = field(default_factory=dict)

    @staticmethod
    def read(folders: Iterable[Path], planned: Collection[str] | None) -> _Records:
        """Reads the records in a suite's folders; of the planned runs, or of all."""
        found = _Records()
        for run_id, system_id, folder in (one for suite in folders for one in run_folders(suite)):
            seen = found.systems.setdefault(system_id, _Seen())
            try:
                result = _read(folder, system_id, seen)
            except (OSError, ValueError) as error:
                found.unreadable[f"{folder}/result.json"] = str(error)
                result = None
            if planned is not None and run_id not in planned:
                continue
            found.begun.add(run_id)
            if result:
                found.count(result, folder)
            if result is None or result.status not in FINAL:
                seen.with_checkpoint += _has_checkpoint(f"{folder}/checkpoints")
        return found

    def count(self, result: RunResult, folder: str) -> None:
        """Takes a result, but where there is a better one of the same run."""
        key, cause = (result.run_id, result.system_id), result.cause
        told = result.label, result.seed, cause.message if cause else "", cause.step if cause else None
        ended = _Ended(result.status in FINAL, result.ended_at, result.status, *told)
        if key not in self.results or ended[:2] > self.results[key][:2]:  # as `harness.records.read.counts_over`
            self.results[key] = ended
            seen = self.systems.setdefault(result.system_id, _Seen())
            seen.name = seen.name or str(read_system(Path(folder), result.system_id).get("name", ""))

    def status(self, suite: str, total: int) -> SuiteStatus:
        """Returns what there is of so many runs."""
        for (_, system_id), ended in self.results.items():
            self.systems[system_id].count(ended)
        told = {i: one for i, one in self.systems.items() if one.counts or one.with_checkpoint}
        return SuiteStatus(suite, total, {i: _status(i, one, total) for i, one in told.items()}, self.unreadable)


def _read(folder: str, system_id: str, seen: _Seen) -> RunResult | None:
    try:
        result = read_result(Path(f"{folder}/result.json"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not seen.name:
        seen.name = str(read_system(Path(folder), system_id).get("name", ""))
    return result


def _status(system_id: str, seen: _Seen, planned: int) -> SystemStatus:
    counts = {status: seen.counts[status] for status in get_args(Status) if seen.counts[status]}
    if open_runs := planned - seen.counts.total():
        counts["open"] = open_runs
    return SystemStatus(seen.name or system_id, counts, seen.with_checkpoint, seen.problems)


def _has_checkpoint(path: str) -> bool:
    return any(name.startswith("step-") for name in names_in(path))


def _told(problem: dict[str, Any]) -> str:
    at = f" at step {problem['step']}" if problem["status"] == "preempted" and problem["step"] is not None else ""
    return f"{problem['label']} · seed {problem['seed']} · {problem['status']}{at}: {problem['cause']}"
