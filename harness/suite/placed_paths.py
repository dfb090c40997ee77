"""Where `data.root` and files of `model.pretrained` begin: of a suite at its folder, of a call at the current one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.paths import user_path
from harness.spec import SpecError
from harness.spec.settings import Settings, apply, value_at
from harness.suite.file import Smoke, SuiteFile
from harness.suite.yaml_lines import Source
from harness.weights_files import loads_weights, names_a_file

_AT = ("data", "root")
# What may be a path, by section and field, and whether a text there is one.
_PATHS: dict[tuple[str, str], Callable[[str], bool]] = {
    _AT: lambda text: True,
    ("model", "pretrained"): names_a_file,
}


def placed(settings: Settings, folder: Path) -> Settings:
    """Returns settings with absolute paths, wherever they have one.

    Args:
        settings: by dotted path, or a config whose sections are mappings.
        folder: where a relative path begins.

    Raises:
        SpecError: the path is empty, or begins with the home of nobody.
    """
    found = dict(settings)
    for at, is_path in _PATHS.items():
        dotted, (name, field) = ".".join(at), at
        if isinstance(path := found.get(dotted), str) and is_path(path):
            found[dotted] = _absolute(at, path, folder)
        section = found.get(name)
        if name == "model" and isinstance(section, Mapping) and not loads_weights(str(section.get("name", "timm/"))):
            continue
        if isinstance(section, Mapping) and isinstance(path := section.get(field), str) and is_path(path):
            found[name] = {**section, field: _absolute(at, path, folder)}
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


def _absolute(at: tuple[str, str], written: str, folder: Path) -> str:
    if not written:
        hint = "leave it out for the default, or write . for the folder itself"
        raise SpecError(at, f"{'.'.join(at)} is empty", hint)
    try:
        path = folder.absolute() / user_path(written)
    except HarnessError as error:
        raise SpecError(at, error.message, error.hint) from None
    return str(path.resolve() if ".." in path.parts else path)
