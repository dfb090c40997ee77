"""The results that count for a plan: of its suite, of other suites of the results root, and of one code a config."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from harness.counted import counted, was_were
from harness.records.comparable import untimed_by
from harness.records.read import SuiteResults, read_suite, read_system
from harness.records.result import FINAL, RunResult
from harness.records.store import RunFolder, run_folder


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


def done_elsewhere(
    root: Path, suite: str, run_ids: Collection[str], system_id: str = "", unreadable: dict[Path, str] | None = None
) -> list[RunResult]:
    """Returns the results of runs that are done under other suites.

    `elsewhere` of each names the suite that it was run under, `kept_under` the one whose folder holds it.

    Args:
        root: the results root.
        suite: whose own folders are left out.
        run_ids: of the runs.
        system_id: that they are done on; empty for any.
        unreadable: what does not count is added, with the reason.
    """
    found = []
    for folders in folders_elsewhere(root, suite, run_ids).values():
        here = {path.parent.name for folder in folders for path in folder.glob("*/result.json")}
        for name in sorted(here & {system_id}) if system_id else sorted(here):
            results = [
                (folder.parent.name, _read(folder / name, {} if unreadable is None else unreadable))
                for folder in folders
            ]
            done = [(where, result) for where, result in results if result and result.status in FINAL]
            if done:
                where, newest = max(done, key=lambda told: told[1].ended_at)
                ran_under = newest.suite if newest.suite != suite else where
                found.append(newest.model_copy(update={"elsewhere": ran_under, "kept_under": where}))
    return found


def folder_of(root: Path, suite: str, result: RunResult) -> RunFolder:
    """Returns where a result lies that counts for a suite, under it or under another one of the results root."""
    if result.folder:
        return RunFolder(result.folder)
    return run_folder(root, result.kept_under or suite, result.run_id, result.system_id)


def _read(folder: Path, unreadable: dict[Path, str]) -> RunResult | None:
    """Returns a record, or None where there is none or it does not count."""
    result, why = RunFolder(folder).read()
    if result:
        try:
            read_system(folder, folder.name)
        except (OSError, ValueError) as error:
            result, why = None, str(error)
    if why:
        unreadable[folder / "result.json"] = why
    return result


def read_planned(root: Path, suite: str, run_ids: Collection[str]) -> SuiteResults:
    """Reads the results that count for a plan, see `count_planned`."""
    return count_planned(read_suite(root, suite), root, suite, run_ids)


def count_planned(stored: SuiteResults, root: Path, suite: str, run_ids: Collection[str]) -> SuiteResults:
    """Returns the results of a suite, and those that runs of its plan have under other suites of the results root.

    Of a config's results on one system, those by the newest code count; see `of_newest`.

    Args:
        stored: the suite's own results.
        root: the results root.
        suite: its name.
        run_ids: of the plan.
    """
    return of_newest(with_elsewhere(stored, root, suite, run_ids), lambda result: result.run_id in run_ids)


def with_elsewhere(stored: SuiteResults, root: Path, suite: str, run_ids: Collection[str]) -> SuiteResults:
    """Returns the results of a suite, and those that runs have under other suites of the results root.

    Args:
        stored, root, suite, run_ids: see `count_planned`.
    """
    own = {(result.run_id, result.system_id) for result in stored.results if result.status in FINAL}
    unreadable = dict(stored.unreadable)
    elsewhere = done_elsewhere(root, suite, run_ids, unreadable=unreadable)
    more = [result for result in elsewhere if (result.run_id, result.system_id) not in own]
    systems = dict(stored.systems)
    for result in more:
        if result.system_id not in systems:
            systems[result.system_id] = read_system(folder_of(root, suite, result).path, result.system_id)
    taken = {(result.run_id, result.system_id) for result in more}
    results = [r for r in stored.results if (r.run_id, r.system_id) not in taken] + more
    return dataclasses.replace(stored, results=results, systems=systems, unreadable=unreadable)


def of_newest(stored: SuiteResults, counts: Callable[[RunResult], bool]) -> SuiteResults:
    """Returns the results without those whose config has newer ones by other code.

    The same of data: of a config's results on one system, those on the newest content of its data count. A mean over
    several codes or contents would be of none. Records that do not name their code count, and are told of.

    Args:
        counts: tells whether a result is of the plan; the others are kept as they are.
    """
    planned = [result for result in stored.results if counts(result)]
    other_data = by_older(planned, lambda result: result.data.fingerprint if result.data else None)
    outdated = {(result.run_id, result.system_id) for result in other_data}
    planned = [result for result in planned if (result.run_id, result.system_id) not in outdated]
    left_out = by_older_code(planned)
    outdated |= {(result.run_id, result.system_id) for result in left_out}
    kept = [result for result in stored.results if (result.run_id, result.system_id) not in outdated]
    done = [r for r in planned if r.status in FINAL and (r.run_id, r.system_id) not in outdated]
    tell_of_environments(done)
    unknown = _unknown_notes([result for result in planned if result.status in FINAL])
    notes = (*stored.notes, *_data_notes(other_data), *_older_notes(left_out), *_mixed_notes(done), *unknown)
    return dataclasses.replace(stored, results=kept, notes=notes)


def tell_of_environments(results: Iterable[RunResult]) -> None:
    """Tells each run whose environment is not that of most, on one system with as many processes, what those have.

    Of two environments with as many runs, that of the newest run counts. Runs whose times do not count are not asked.
    """
    groups: dict[tuple[str, int], list[RunResult]] = defaultdict(list)
    for result in results:
        result.usual_environment = None
        if result.status == "ok" and result.environment is not None and not untimed_by(result, with_resumed=True):
            groups[result.system_id, result.num_processes].append(result)
    for group in groups.values():
        group.sort(key=lambda result: result.ended_at, reverse=True)
        [(most, _)] = Counter(tuple(sorted((result.environment or {}).items())) for result in group).most_common(1)
        usual = dict(most)
        for result in group:
            result.usual_environment = usual if result.environment != usual else None


def by_older_code(results: Iterable[RunResult]) -> list[RunResult]:
    """Returns the results whose config has newer ones, on the same system, that other code has trained."""
    return by_older(results, lambda result: result.code)


def by_older(results: Iterable[RunResult], what: Callable[[RunResult], str | None]) -> list[RunResult]:
    """Returns the results whose config has newer ones, on the same system, that differ in something."""
    groups: dict[tuple[str, str], list[RunResult]] = defaultdict(list)
    for result in results:
        if result.status in FINAL and what(result):
            groups[result.config_id, result.system_id].append(result)
    newest = {key: what(max(group, key=lambda result: result.ended_at)) for key, group in groups.items()}
    return [result for key, group in groups.items() for result in group if what(result) != newest[key]]


def _data_notes(results: Sequence[RunResult]) -> list[str]:
    if not results:
        return []
    labels = ", ".join(sorted({f"“{result.label}”" for result in results})[:6])
    runs = counted(len(results), "run")
    return [f"Other data: {runs} of {labels} had other contents of the data than the newest runs; they are left out."]


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


def _mixed_notes(done: Sequence[RunResult]) -> list[str]:
    """Returns whether configs of the same plug-ins, whose code should be one, were trained by several codes."""
    codes: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for result in done:
        if result.code:
            sections = (result.spec.get(name) for name in ("model", "data", "optimizer", "schedule"))
            codes[tuple(str(section.get("name")) for section in sections if isinstance(section, dict))].add(result.code)
    mixed = sorted(code for found in codes.values() if len(found) > 1 for code in found)
    if not mixed:
        return []
    return [
        f"Configs here were trained by different code of the harness ({', '.join(mixed)}): a difference between them "
        "may be the code's. `harness run SUITE --renew` trains all by one."
    ]


def _unknown_notes(done: Sequence[RunResult]) -> list[str]:
    unknown = sum(result.code is None for result in done)
    return (
        [f"Code unknown: {unknown} of {counted(len(done), 'record')} {was_were(unknown)} made before it was recorded."]
        if unknown
        else []
    )
