"""Which runs of a plan are done, failed or open, on each system."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from harness.counted import counted
from harness.launching.slurm.submission import SUBMISSIONS
from harness.records.ongoing import OngoingRun, ongoing_run
from harness.records.planned import done_elsewhere, folder_of
from harness.records.read import names_in, read_system
from harness.records.result import FINAL, RunResult, Status
from harness.records.store import RunFolder
from harness.results.race import RACES
from harness.results.study import suite_folders
from harness.suite.plan import Plan

NO_RUNS = frozenset({RACES, SUBMISSIONS})  # other folders beside those of runs
FEW, MOST_PROCESSES = 2000, 4  # runs that one process reads, and processes that read more: login nodes are shared


@dataclass(frozen=True)
class SystemStatus:
    """The runs of a plan on one system.

    Attributes:
        counts: by status; `open` are those without a result.
        with_checkpoint: runs that are not done and go on from a checkpoint when they are run again.
        running: the runs that go on now; they are among the open ones, or those that are to be done again.
    """

    name: str
    counts: dict[str, int]
    with_checkpoint: int
    problems: list[dict[str, Any]]
    running: list[OngoingRun]


@dataclass(frozen=True)
class SuiteStatus:
    """The runs of a plan, by system_id."""

    suite: str
    total: int
    systems: dict[str, SystemStatus]
    unreadable: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self)

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


class _Record(NamedTuple):
    """What lies in the folder of a run on a system; of 10,000 results no more is kept.

    Attributes:
        status: None where there is no result that counts.
        running: where a process does the run now.
    """

    run_id: str
    system_id: str
    status: Status | None = None
    ended_at: str = ""
    problem: dict[str, Any] | None = None
    system: str = ""
    has_checkpoint: bool = False
    folder: str = ""
    unreadable: str = ""
    running: OngoingRun | None = None

    @staticmethod
    def of(result: RunResult, system: str) -> _Record:
        problem = None
        if result.status != "ok":
            cause, step = (result.cause.message, result.cause.step) if result.cause else ("", None)
            own = {"label": result.label, "seed": result.seed, "status": result.status}
            problem = {**own, "cause": cause, "step": step}
        return _Record(result.run_id, result.system_id, result.status, result.ended_at, problem, system)

    @property
    def rank(self) -> tuple[bool, str]:
        """Orders those of the same run, as `harness.records.read.counts_over`."""
        return self.status in FINAL, self.ended_at


def suite_status(plan: Plan, *roots: Path) -> SuiteStatus:
    """Reads the records of a suite in results roots, and counts the plan's runs on each system by status."""
    name, planned = plan.suite.name, {run.run_id for run in plan.runs}
    found = _read([root / name for root in roots])
    for root in roots:
        for result in done_elsewhere(root, name, planned):
            found.append(_Record.of(result, _name(folder_of(root, name, result).path, result.system_id)))
    return _status(name, found, planned)


def folder_status(*folders: Path) -> SuiteStatus:
    """Does so for folders `ROOT/SUITE` of records, without the suite's file: open are runs that have begun."""
    found = _read(folders)
    return _status(folders[0].resolve().name, found, {record.run_id for record in found})


def stored_suites(root: Path) -> dict[str, str]:
    """Returns how the runs of each suite in a results root ended, in one line, by the suite's folder."""
    found = {}
    for folder in suite_folders(root):
        systems = folder_status(folder).systems.values()
        counts = [(", ".join(f"{n} {status}" for status, n in one.counts.items()), one.name) for one in systems]
        found[str(folder)] = "; ".join(f"{told} on {name}" for told, name in counts)
    return found


def _read(folders: Sequence[Path]) -> list[_Record]:
    """Reads the records in a suite's folders; many of them in several processes."""
    runs = [(str(suite), run_id) for suite in folders for run_id in names_in(suite) if run_id not in NO_RUNS]
    processes = min(len(os.sched_getaffinity(0)), MOST_PROCESSES) if len(runs) > FEW else 1
    if processes == 1:
        return _read_runs(runs)
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    parts = [runs[at * len(runs) // processes : (at + 1) * len(runs) // processes] for at in range(processes)]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        return [record for part in pool.map(_read_runs, parts) for record in part]


def _read_runs(runs: Sequence[tuple[str, str]]) -> list[_Record]:
    """Reads the records of runs, each given by the folder of its suite and its id."""
    found, names, now = [], {}, time.time()
    for suite, run_id in runs:
        for system_id in names_in(f"{suite}/{run_id}"):
            folder = f"{suite}/{run_id}/{system_id}"
            result, why = RunFolder(Path(folder)).read()
            is_final = bool(result and result.status in FINAL)
            running = None if is_final else ongoing_run(folder, run_id, now)
            try:
                if (result or running) and system_id not in names:
                    names[system_id] = _name(Path(folder), system_id)
            except (OSError, ValueError) as error:
                result, why = None, str(error) if result else why
            name = names.get(system_id, "")
            record = _Record.of(result, name) if result else _Record(run_id, system_id, system=name)
            has_checkpoint = not record.rank[0] and any(
                name.startswith("step-") for name in names_in(f"{folder}/checkpoints")
            )
            found.append(record._replace(has_checkpoint=has_checkpoint, folder=folder, unreadable=why, running=running))
    return found


def _status(suite: str, records: Sequence[_Record], planned: Collection[str]) -> SuiteStatus:
    best: dict[tuple[str, str], _Record] = {}
    with_checkpoint, names = Counter[str](), {}
    for record in records:
        names[record.system_id] = names.get(record.system_id) or record.system
        if record.run_id not in planned:
            continue
        with_checkpoint[record.system_id] += record.has_checkpoint
        key = record.run_id, record.system_id
        if record.status and (key not in best or record.rank > best[key].rank):
            best[key] = record
    systems = {}
    for system_id in names:
        own = [record for record in best.values() if record.system_id == system_id]
        counts = Counter[str](str(record.status) for record in own)
        counts["open"] = len(planned) - len(own)
        going = [one.running for one in records if one.running and one.system_id == system_id and one.run_id in planned]
        if own or with_checkpoint[system_id] or going:
            systems[system_id] = SystemStatus(
                names[system_id] or system_id,
                {status: counts[status] for status in (*get_args(Status), "open") if counts[status]},
                with_checkpoint[system_id],
                [record.problem for record in own if record.problem],
                sorted(going, key=lambda run: (run.label, run.seed or 0, run.run_id)),
            )
    unreadable = {f"{record.folder}/result.json": record.unreadable for record in records if record.unreadable}
    return SuiteStatus(suite, len(planned), systems, unreadable)


def _name(folder: Path, system_id: str) -> str:
    return str(read_system(folder, system_id).get("name", ""))


def _told(problem: dict[str, Any]) -> str:
    at = f" at step {problem['step']}" if problem["status"] == "preempted" and problem["step"] is not None else ""
    return f"{problem['label']} · seed {problem['seed']} · {problem['status']}{at}: {problem['cause']}"
