"""Where `data.root` begins: that of a suite at the suite's folder, that of a call at the current one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.paths import user_path
from harness.spec import SpecError
from harness.spec.settings import Settings, apply, value_at
from harness.suite.file import Smoke, SuiteFile
from harness.suite.yaml_lines import Source

_AT = ("data", "root")


def placed(settings: Settings, folder: Path) -> Settings:
    """Returns settings with an absolute `data.root`, wherever they have one.

    Args:
        settings: by dotted path, or a config whose sections are mappings.
        folder: where a relative path begins.

    Raises:
        SpecError: the path is empty, or begins with the home of nobody.
    """
    found = dict(settings)
    if isinstance(root := found.get("data.root"), str):
        found["data.root"] = _absolute(root, folder)
    data = found.get("data")
    if isinstance(data, Mapping) and isinstance(root := data.get("root"), str):
        found["data"] = {**data, "root": _absolute(root, folder)}
    return found


def placed_values(selection: dict[str, list[Any]], folder: Path) -> dict[str, list[Any]]:
    """Returns a selection as `--only` has it, in the same way."""
    return {path: [placed({path: value}, folder)[path] for value in values] for path, values in selection.items()}


def with_roots(file: SuiteFile, folder: Path) -> SuiteFile:
    """Returns a suite whose matches have absolute paths; in its configs they are placed as these are made."""
    exclude = [placed(match, folder) for match in file.exclude]
    references = [one.model_copy(update={"match": placed(one.match, folder)}) for one in file.references]
    return file.model_copy(update={"exclude": exclude, "references": references})


def smoke_with_roots(source: Source, smoke: Smoke, overrides: Settings) -> Smoke:
    """Returns the `smoke` of a suite with absolute paths.

    Raises:
        SuiteError: that path is wrong, and no override takes its place.
    """
    folder = source.path.parent
    try:
        set_ = placed(smoke.set, folder)
        written: Settings = {}
        apply(written, smoke.set)
        if isinstance(root := value_at(written, "data.root"), str) and not overrides.keys() & {"data", "data.root"}:
            require_beside(root, folder)
    except SpecError as error:
        raise source.error(("smoke", "set", *error.path), error.message, error.hint) from None
    return smoke.model_copy(update={"set": set_, "only": placed_values(smoke.only, folder)})


def require_beside(root: str, folder: Path) -> None:
    """Refuses a path that leads to data from the current folder alone: suites once meant that.

    Args:
        root: as the suite has it.
        folder: of the suite.

    Raises:
        SpecError: with the path that leads there from the suite's folder.
    """
    written = user_path(root)
    meant, here = folder.absolute() / written, written.absolute()
    if here.exists() and not meant.exists():
        message = f"data.root begins at the suite's folder, and there is no {meant}"
        from_suite = os.path.relpath(here.resolve(), folder.resolve())
        raise SpecError(_AT, message, f"{here} is there: write root: {from_suite}, or call with --set data.root={root}")


def _absolute(root: str, folder: Path) -> str:
    if not root:
        raise SpecError(_AT, "data.root is empty", "leave it out for the default, or write . for the folder itself")
    try:
        path = folder.absolute() / user_path(root)
    except HarnessError as error:
        raise SpecError(_AT, error.message, error.hint) from None
    return str(path.resolve() if ".." in path.parts else path)
