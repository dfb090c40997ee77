"""What a shell offers after Tab. Whatever goes wrong, it offers nothing: a person is typing."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import typer

from harness.paths import LAUNCH_CONFIGS, REPORTS, SUITES, shipped_names

SUFFIXES = (".yaml", ".yml", ".jsonl")
MOST_RECORDS = 20  # of a suite that are looked at: its runs have the same metrics, but for what was added since


def suites(incomplete: str) -> list[str]:
    """Returns suites that ship, suite files and manifests that begin so, and the folders that may hold some."""
    return sorted([*_names(SUITES, incomplete), *_files(incomplete)])


def reports(incomplete: str) -> list[str]:
    """Returns the published reports that can be reproduced."""
    return _names(REPORTS, incomplete)


def launch_configs(incomplete: str) -> list[str]:
    """Returns configs of Accelerate's launcher that ship, YAML files and folders."""
    return sorted([*_names(LAUNCH_CONFIGS, incomplete), *_files(incomplete)])


def _names(folder: str, incomplete: str) -> list[str]:
    return [name for name in shipped_names(folder) if name.startswith(incomplete)]


def columns(context: typer.Context, incomplete: str) -> list[str]:
    """Returns the columns that a table can be sorted by."""
    from harness.results.columns import IDENTITY, MEASURED, RUNS, sortable

    found = {*sortable([*IDENTITY, *RUNS, *MEASURED]), *(f"test_{name}" for name in _extra_metrics(context))}
    return sorted(name for name in found if name.startswith(incomplete))


def _extra_metrics(context: typer.Context) -> set[str]:
    """Returns the metrics of plug-ins: those that are known here, and those of some records of what was named."""
    from harness import registry
    from harness.cli.app import RESULTS
    from harness.records.files import read_object

    named = [
        str(one) for one in (context.params.get("suite"), *(context.params.get("suites") or ()), *context.args) if one
    ]
    roots = context.params.get("output") or RESULTS
    found: set[str] = set()
    with contextlib.suppress(Exception):
        folders = [Path(one) for one in named if Path(one).is_dir()]
        for suite in filter(_may_be_suite, named):
            from harness.suite.plan import load_suite

            name = load_suite(Path(suite)).name  # which makes its own metrics known
            folders += [Path(root) / name for root in (roots if isinstance(roots, list) else [roots])]
        found |= set(registry.names("metric"))
        for folder in folders:
            for path in itertools.islice(folder.glob("*/*/result.json"), MOST_RECORDS):
                found |= read_object(path).get("extra_metrics", {}).keys()
    return found


def words(context: typer.Context, incomplete: str) -> list[str]:
    """Returns what `compare` may be given next: a suite, and after it the labels of its configs."""
    return labels(context, incomplete) or suites(incomplete)


def labels(context: typer.Context, incomplete: str) -> list[str]:
    """Returns the labels of the suite that was named before."""
    named = [str(one) for one in (*(context.params.get("words") or ()), *context.args) if one]
    suite = next((one for one in named if _may_be_suite(one)), None)
    if not suite:
        return []
    from harness.suite.plan import load_suite

    with contextlib.suppress(Exception):
        found = dict.fromkeys(spec.label for spec in load_suite(Path(suite)).configs().values())
        return [label for label in found if label.startswith(incomplete)]
    return []


def paths(context: typer.Context, incomplete: str) -> list[str]:
    """Returns the fields of the suite that was named before, each with what follows it, `=`."""
    # An option that still lacks its value leaves the suite among what was not understood.
    named = [context.params.get("suite"), *(context.params.get("suites") or ()), *context.args]
    suite = next((str(one) for one in named if one and _may_be_suite(str(one))), None)
    if not suite:
        return []
    from harness.spec.settings import paths_of
    from harness.suite.plan import load_suite

    with contextlib.suppress(Exception):
        specs = load_suite(Path(suite)).configs().values()
        found = {path for spec in specs for path in paths_of(spec.model_dump(mode="json"))}
        return sorted(f"{path}=" for path in found if path.startswith(incomplete))
    return []


def _may_be_suite(text: str) -> bool:
    return text.endswith(SUFFIXES) or text in shipped_names(SUITES)


def _files(incomplete: str) -> Iterator[str]:
    folder, _, start = incomplete.rpartition("/")
    prefix = f"{folder}/" if "/" in incomplete else ""
    with contextlib.suppress(OSError, RuntimeError), os.scandir(Path(prefix or ".").expanduser()) as entries:
        for entry in entries:
            if not entry.name.startswith(start) or (entry.name.startswith(".") and not start):
                continue
            if entry.is_dir():
                yield f"{prefix}{entry.name}/"
            elif entry.name.endswith(SUFFIXES):
                yield f"{prefix}{entry.name}"
