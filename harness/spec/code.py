"""The code of a run: the harness's own goes into its record, that of plug-ins from outside into its identity."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from harness import registry
from harness.plugin_files import PACKAGE
from harness.plugin_source import Plugin
from harness.source_code import code_hash, with_local_imports

# What trains and measures. Of the folders of plug-ins only those that a run uses count, with what they import.
TRAINS = ("compiled.py", "data", "measure", "models", "running", "training", "without_compiler.py")
PLUGINS = ("data/datasets", "models", "training/optimizers", "training/schedules")


def own_code(plugins: Mapping[str, str]) -> str:
    """Returns the hash of the harness's own code that trains a run.

    Args:
        plugins: the names of its plug-ins, by their kind.
    """
    used = (path for one in _used(plugins).values() for path in (one.file.local if one.file else (one.path,)))
    return _own_code(frozenset(used), PACKAGE, registry.version())


def code_from_outside(plugins: Mapping[str, str]) -> dict[str, str]:
    """Returns the hash of each plug-in from outside the package and of the local modules that it imports, by kind."""
    return dict(_code_from_outside(tuple(plugins.items()), registry.version()))


@functools.lru_cache(maxsize=4096)  # asked for each config of a plan
def _code_from_outside(plugins: tuple[tuple[str, str], ...], version: int) -> Mapping[str, str]:
    return {kind: one.file.code for kind, one in _used(dict(plugins)).items() if one.file}


def files_from_outside(plugins: Mapping[str, str]) -> dict[Path, str]:
    """Returns the files outside the package that a call or a suite must name for these plug-ins, with their hashes."""
    files = [one.file for one in _used(plugins).values() if one.file and one.file.must_have_plugins]
    return {file.path: file.code for file in files}


def _used(plugins: Mapping[str, str]) -> dict[str, Plugin]:
    return {kind: registry.find(kind, name) for kind, name in plugins.items()}


@functools.cache
def _own_code(used: frozenset[Path], package: Path, version: int = 0) -> str:
    trains = [file for name in TRAINS for file in _modules(package / name)]
    plugins = [package / folder for folder in PLUGINS]
    shared = {file for file in trains if not any(file.is_relative_to(folder) for folder in plugins)}
    imported = with_local_imports(sorted(used), package.parent, lambda file: file.is_relative_to(package))
    return code_hash(shared | (imported & set(trains)), package)


def _modules(path: Path) -> list[Path]:
    return [path] if path.suffix else sorted(path.rglob("*.py"))
