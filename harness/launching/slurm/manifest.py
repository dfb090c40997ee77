"""Runs frozen in a file, one a line, that the live suite is never read for again."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.counted import counted
from harness.errors import HarnessError
from harness.launching.manifest import Manifest
from harness.problems import first_problem
from harness.records.files import open_file, read_object, write_atomically
from harness.records.planned import folders_elsewhere
from harness.records.store import RunFolder
from harness.spec import SpecError
from harness.suite.file import Target
from harness.suite.mirroring import Mirroring
from harness.suite.plan import PlannedRun

NAME = "manifest.jsonl"
COMMON = "submission.json"  # beside it: what its runs have in common


def freeze(runs: Sequence[PlannedRun], folder: Path) -> None:
    """Writes runs into a new manifest."""
    lines = (json.dumps(run.model_dump(mode="json")) + "\n" for run in runs)
    write_atomically(folder / NAME, lambda file: file.writelines(line.encode() for line in lines))


def read_common(folder: Path) -> dict[str, Any]:
    """Returns what the runs of a manifest have in common.

    Raises:
        HarnessError: it cannot be read.
    """
    try:
        return read_object(folder / COMMON)
    except (OSError, ValueError) as error:
        raise _unreadable(folder / COMMON, error) from None


def read_manifest(path: Path, lines: str = "") -> Manifest:
    """Reads a frozen manifest, or some of its lines, without the runs that have been done since.

    Args:
        path: `manifest.jsonl`.
        lines: `FIRST-LAST`, counted from 1; empty for all.

    Raises:
        HarnessError: there are no such lines, they cannot be read, or this harness understands them otherwise.
    """
    value = read_common(path.parent)
    total = len(value["run_ids"])
    match = re.fullmatch(r"(\d+)-(\d+)", lines or f"1-{total}")
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= first <= last <= total:
        raise HarnessError(f"--lines {lines}: {path} has {counted(total, 'line')}", "FIRST-LAST, e.g. 1-4")
    try:
        with open_file(path) as file:
            runs = [_thaw(json.loads(line), path) for line in itertools.islice(file, first - 1, last)]
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    output, suite = Path(value["output"]), value["suite"]
    # A task that starts again may be on another system than the one that its first runs were done on.
    folders = folders_elsewhere(output, suite, [run.run_id for run in runs])
    for run in runs:
        folders[run.run_id].append(output / suite / run.run_id)
    runs = [run for run in runs if not any(_is_done(folder, value["systems"]) for folder in folders[run.run_id])]
    target = Target.model_validate(value["target"]) if value["target"] else None
    mirroring = Mirroring.model_validate_json(json.dumps(value.get("mirroring", {})))
    counts = 0, len(runs), value["warm_up_seconds"]
    return Manifest(suite, output, target, tuple(runs), *counts, mirroring=mirroring)


def _is_done(folder: Path, systems: list[str] | None) -> bool:
    here = (RunFolder(path.parent) for path in folder.glob("*/result.json"))
    return any(run.is_done() for run in here if systems is None or run.path.name in systems)


def _thaw(value: dict[str, Any], path: Path) -> PlannedRun:
    hint = "submit again: this harness and the one that wrote it are of different versions"
    try:
        run = PlannedRun.model_validate(value)
    except SpecError as error:
        raise HarnessError(f"{path}: {error.message}", hint) from None
    except ValidationError as error:
        raise HarnessError(f"{path}: {first_problem(error, value)[0]['msg']}", hint) from None
    if run.spec.config_id() != run.config_id:
        raise HarnessError(f"{path}: run {run.run_id} is another config now", hint)
    return run


def _unreadable(path: Path, error: Exception) -> HarnessError:
    return HarnessError(f"cannot read {path}: {error}", "it is written by `harness submit`")
