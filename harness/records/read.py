"""The records that count, of one run and of a suite.

A record belongs to its run_id and system_id. Wherever one is read, by whatever command, it counts only if
- it is a file, lies in the folder of its own ids, is of this schema version, and each of its fields is in its range;
- its events are a file, too, and their last lines are of no later owner than the one that wrote the result;
- its `spec.json` is a file, or there is none.
What does not count is left out and named with the reason; it keeps no other record from being read. Its run is open.
A record in the folder of another suite than its own counts, and `elsewhere` names its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.records.events import EVENTS, first_problem, generation_at_end
from harness.records.files import OddFile, read_file, read_object, require_no_odd_file
from harness.records.ranges import require_plain
from harness.records.result import FINAL, SCHEMA_VERSION, RunResult

SPEC = "spec.json"


def read_result(path: Path) -> RunResult:
    """Reads one `result.json`.

    Raises:
        ValueError: it does not count, as the module says; in one line.
        OSError: there is none, or it cannot be read.
    """
    content = read_file(path)
    try:
        result = RunResult.model_validate_json(content)
    except ValidationError as error:
        version = read_object(path).get("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema version {str(version)[:40]}; this harness reads {SCHEMA_VERSION}") from None
        raise ValueError(first_problem(error)) from None
    folder = path.parent
    suite = require_own_place(folder, result.run_id, result.system_id)
    elsewhere = None if suite == result.suite else result.suite
    vars(result).update(elsewhere=elsewhere, kept_under=None, folder=folder)  # a third of the time of attributes
    try:
        newest = generation_at_end(f"{folder}/{EVENTS}")
    except OddFile as error:
        raise ValueError(f"{EVENTS} is {error}") from None
    try:
        require_no_odd_file(f"{folder}/{SPEC}")
    except OddFile as error:
        raise ValueError(f"{SPEC} is {error}") from None
    if newest > result.generation:
        raise ValueError(f"written by a former owner, of generation {result.generation}; the run is of {newest}")
    return result


def require_own_place(folder: Path, run_id: str, system_id: str) -> str:
    """Checks that a record lies in the folder of its run and system, and returns the suite whose folder holds that.

    Raises:
        ValueError: it is a copy, which counts nowhere.
    """
    parts = f"/{folder}".rsplit("/", 3)  # texts: there may be 10,000 records
    if len(parts) < 4 or ".." in parts[1:]:
        parts = str(folder.resolve()).rsplit("/", 3)
    if parts[-2:] != [run_id, system_id]:
        raise ValueError(f"a copy of run {run_id} on system {system_id}: it does not lie in {run_id}/{system_id}")
    return parts[-3]


def read_system(folder: Path, system_id: str) -> dict[str, Any]:
    """Reads the `system.json` beside a record.

    Raises:
        ValueError: it is of another system, or is not what it should be.
        OSError: there is none, or it cannot be read.
    """
    try:
        system = require_plain(read_object(folder / "system.json"))
    except ValueError as error:
        raise ValueError(f"system.json: {error}") from None
    if system.get("system_id", system_id) != system_id:
        raise ValueError(f"system.json is of system {system['system_id']}")
    return system


@dataclass(frozen=True)
class SuiteResults:
    """All results of a suite, the records that could not be read, with the reason, and what else is to be told."""

    results: list[RunResult]
    systems: dict[str, dict[str, Any]]
    unreadable: dict[Path, str]
    notes: tuple[str, ...] = ()


def run_folders(suite: Path) -> Iterator[tuple[str, str, str]]:
    """Yields run_id, system_id and folder of each run, sorted; texts, as 10,000 Paths take longer than their files."""
    for run_id in names_in(str(suite)):
        for system_id in names_in(f"{suite}/{run_id}"):
            yield run_id, system_id, f"{suite}/{run_id}/{system_id}"


def names_in(path: Path | str) -> list[str]:
    """Returns what is in a folder, sorted; nothing for a file, or where there is none."""
    try:
        return sorted(os.listdir(path))  # noqa: PTH208 - see above
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_suite(root: Path, suite: str) -> SuiteResults:
    """Reads the results of a suite on all systems, in the order of their folders' names."""
    results: list[RunResult] = []
    systems: dict[str, dict[str, Any]] = {}
    unreadable: dict[Path, str] = {}
    for _, _, folder in run_folders(root / suite):
        path = Path(f"{folder}/result.json")
        try:
            result = read_result(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            unreadable[path] = str(error)
            continue
        try:
            if result.system_id not in systems:
                systems[result.system_id] = read_system(path.parent, result.system_id)
        except (OSError, ValueError) as error:
            unreadable[path] = str(error)
        else:
            results.append(result)
    return SuiteResults(results, systems, unreadable)


def counts_over(one: RunResult, other: RunResult) -> bool:
    """Tells which of two records of the same run counts, where they lie in several roots."""
    return (one.status in FINAL, one.ended_at) > (other.status in FINAL, other.ended_at)


def merged(parts: Sequence[SuiteResults]) -> SuiteResults:
    """Returns the results of several roots together.

    Of a run that is in several, the one that is done counts, and of those alike the one that ended last.
    """
    newest: dict[tuple[str, str], RunResult] = {}
    systems: dict[str, dict[str, Any]] = {}
    unreadable: dict[Path, str] = {}
    for part in parts:
        for result in part.results:
            key = result.run_id, result.system_id
            if key not in newest or counts_over(result, newest[key]):
                newest[key] = result
        systems = part.systems | systems
        unreadable |= part.unreadable
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return SuiteResults(list(newest.values()), systems, unreadable, notes)
