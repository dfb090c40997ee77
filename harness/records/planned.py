"""The results that count for a plan: of its suite, of other suites of the results root, and of one code a config."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from harness.records.result import FINAL, RunResult
from harness.records.store import RunFolder, SuiteResults, read_suite, read_system


def folders_elsewhere(root: Path, suite: str, run_ids: Collection[str]) -> dict[str, list[Path]]:
    """Returns where runs are recorded under other suites of a results root: folders that hold one for each system.

    Args:
        root: the results root.
        suite: whose own folders are left out.
        run_ids: of the runs.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    wanted = set(run_ids)
    for other in sorted(root.iterdir()) if root.is_dir() and wanted else ():
        if other.name != suite and not other.name.startswith(".") and other.is_dir():
            for name in wanted.intersection(os.listdir(other)):  # noqa: PTH208 - one look for all runs
                found[name].append(other / name)
    return found


def done_elsewhere(root: Path, suite: str, run_ids: Collection[str], system_id: str) -> dict[str, RunResult]:
    """Returns the results of runs that are done on a system under other suites, by run_id."""
    folders = folders_elsewhere(root, suite, run_ids)
    return {run_id: done for run_id, found in folders.items() if (done := _newest_done(found, system_id))}


def _newest_done(
    folders: Iterable[Path], system_id: str, unreadable: dict[Path, str] | None = None
) -> RunResult | None:
    """Returns the newest result of a run in several suites; what does not count is added to `unreadable`."""
    done = []
    for folder in folders:
        result, why = RunFolder(folder / system_id).read()
        if result and result.status in FINAL:
            done.append(result.model_copy(update={"elsewhere": folder.parent.name}))
        elif why and unreadable is not None:
            unreadable[folder / system_id / "result.json"] = why
    return max(done, key=lambda result: result.ended_at, default=None)


def read_planned(root: Path, suite: str, run_ids: Collection[str]) -> SuiteResults:
    """Returns the results of a suite, and those that runs of its plan have under other suites of the results root.

    Of a config's results on one system, those by the newest code count; a mean over several would be of none. Records
    that do not name their code count, and are told of.

    Args:
        root: the results root.
        suite: its name.
        run_ids: of the plan.
    """
    stored = read_suite(root, suite)
    own = {(result.run_id, result.system_id) for result in stored.results if result.status in FINAL}
    systems, unreadable, more = dict(stored.systems), dict(stored.unreadable), []
    for run_id, folders in folders_elsewhere(root, suite, run_ids).items():
        for system_id in sorted({path.parent.name for folder in folders for path in folder.glob("*/result.json")}):
            result = None if (run_id, system_id) in own else _newest_done(folders, system_id, unreadable)
            if not result:
                continue
            folder = root / str(result.elsewhere) / run_id / system_id
            try:
                if system_id not in systems:
                    systems[system_id] = read_system(folder, system_id)
            except (OSError, ValueError) as error:
                unreadable[folder / "result.json"] = str(error)
            else:
                more.append(result)
    taken = {(result.run_id, result.system_id) for result in more}
    results = [r for r in stored.results if (r.run_id, r.system_id) not in taken] + more
    planned = [result for result in results if result.run_id in run_ids]
    left_out = by_older_code(planned)
    outdated = {(result.run_id, result.system_id) for result in left_out}
    kept = [result for result in results if (result.run_id, result.system_id) not in outdated]
    notes = (*_older_notes(left_out), *_unknown_notes([r for r in planned if r.status in FINAL]))
    return dataclasses.replace(
        stored, results=kept, systems=systems, unreadable=unreadable, notes=(*stored.notes, *notes)
    )


def by_older_code(results: Iterable[RunResult]) -> list[RunResult]:
    """Returns the results whose config has newer ones, on the same system, that other code has trained."""
    groups: dict[tuple[str, str], list[RunResult]] = defaultdict(list)
    for result in results:
        if result.status in FINAL and result.code:
            groups[result.config_id, result.system_id].append(result)
    newest = {key: max(group, key=lambda result: result.ended_at).code for key, group in groups.items()}
    return [result for key, group in groups.items() for result in group if result.code != newest[key]]


def _older_notes(results: Sequence[RunResult]) -> list[str]:
    groups: dict[tuple[str, str], list[RunResult]] = defaultdict(list)
    for result in results:
        groups[result.label, str(result.code)].append(result)
    notes = []
    for (label, code), group in groups.items():
        seeds = ", ".join(map(str, sorted({result.seed for result in group})))
        until = max(result.ended_at for result in group)[:10]
        notes.append(
            f"Other code of the harness trained {len(group)} of the runs of {label} (code {code}, seeds {seeds}, until "
            f"{until}): they are left out. `harness run SUITE --renew` trains them again."
        )
    return notes


def _unknown_notes(done: Sequence[RunResult]) -> list[str]:
    unknown = sum(result.code is None for result in done)
    return [f"Code unknown: {unknown} of {len(done)} records are of before it was recorded."] if unknown else []
