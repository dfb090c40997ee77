"""The code of a run: the harness's own goes into its record, that of plug-ins from outside into its identity."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from harness import registry
from harness.registry import PACKAGE
from harness.source_code import code_hash, with_local_imports

# What trains and measures. Of the folders of plug-ins only those that a run uses count, with what they import.
TRAINS = ("compiled.py", "data", "measure", "models", "running", "training", "without_compiler.py")
PLUGINS = ("data/datasets", "models", "training/optimizers", "training/schedules")


def own_code(plugins: Mapping[str, str]) -> str:
    """Returns the hash of the harness's own code that trains a run.

    Args:
        plugins: the names of its plug-ins, by their kind.
    """
    return _own_code(frozenset(_files(plugins)), PACKAGE)


def code_from_outside(plugins: Mapping[str, str]) -> dict[str, str]:
    """Returns the hash of each plug-in from outside the package and of the local modules that it imports, by kind."""
    return dict(_code_from_outside(tuple(plugins.items()), tuple(registry.OUTSIDE)))


@functools.cache  # asked for each config of a plan
def _code_from_outside(plugins: tuple[tuple[str, str], ...], outside: tuple[Path, ...]) -> Mapping[str, str]:
    found = {}
    for (kind, _), path in zip(plugins, _files(dict(plugins)), strict=True):
        if path in outside:
            root = _root_of(path)
            files = with_local_imports([path], root)
            found[kind] = code_hash((file for file in files if not file.is_relative_to(PACKAGE)), root)
    return found


def _files(plugins: Mapping[str, str]) -> list[Path]:
    return [registry.find(kind, name).path for kind, name in plugins.items()]


@functools.cache
def _own_code(used: frozenset[Path], package: Path) -> str:
    trains = [file for name in TRAINS for file in _modules(package / name)]
    plugins = [package / folder for folder in PLUGINS]
    shared = {file for file in trains if not any(file.is_relative_to(folder) for folder in plugins)}
    imported = {file for path in used for file in with_local_imports([path], package.parent, package)}
    return code_hash(shared | (imported & set(trains)), package)


def _modules(path: Path) -> list[Path]:
    return [path] if path.suffix else sorted(path.rglob("*.py"))


def _root_of(path: Path) -> Path:
    """Returns the folder that the absolute imports of a module outside the package are looked for in."""
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder
