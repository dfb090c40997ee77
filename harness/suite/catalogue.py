"""What there is to choose from: suites and plug-ins, with their parameters."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import registry
from harness.errors import HarnessError, nearest
from harness.paths import LAUNCH_CONFIGS, PACKAGE, SLURM_SCRIPTS, SUITES, shipped
from harness.plugin_source import FOLDERS, Parameters
from harness.spec import PLUGIN_SECTIONS
from harness.suite.yaml_lines import read_yaml


@dataclass(frozen=True)
class Catalogue:
    """Names by kind, each with one line on it."""

    kinds: dict[str, dict[str, str]]

    def text(self) -> str:
        """Returns lines for a person."""
        lines: list[str] = []
        for kind, entries in self.kinds.items():
            width = max(map(len, entries), default=0)
            lines += [f"{kind}:", *(f"  {name:<{width}}  {summary}" for name, summary in entries.items()), ""]
        return "\n".join(lines).rstrip()


def catalogue(kind: str = "") -> Catalogue:
    """Returns all names, or those of one kind (`architectures`, `suites`, `files`, ...).

    Raises:
        HarnessError: there is no such kind.
    """
    shows = {plugin: functools.partial(_plugins, plugin) for plugin in FOLDERS}
    shows |= {"suite": _suites, "file": _files}
    kinds = [name for name in shows if kind in ("", name, f"{name}s")]
    if not kinds:
        raise HarnessError(f"there is no kind '{kind}'", nearest(kind, [*(f"{name}s" for name in shows), "results"]))
    return Catalogue({f"{name}s": shows[name]() for name in kinds})


def text_of(kind: str, name: str) -> str | None:
    """Returns the text of a suite or another file that ships; None where the kind is one of plug-ins.

    Raises:
        HarnessError: there is no file of that name.
    """
    found = {"suite": _suite_paths, "file": _file_paths}.get(kind.removesuffix("s"))
    if not found:
        return None
    paths = found()
    if name not in paths:
        raise HarnessError(f"there is no {kind.removesuffix('s')} '{name}'", nearest(name, paths))
    return paths[name].read_text(encoding="utf-8")


def describe(kind: str, name: str) -> Catalogue:
    """Returns the parameters of one plug-in, its own and those that all of its kind have; or what a metric declares.

    Raises:
        HarnessError: there is no such kind or name.
    """
    singular = kind.removesuffix("s")
    if singular not in FOLDERS:
        raise HarnessError(f"there is no kind '{kind}'", nearest(kind, [f"{k}s" for k in FOLDERS]))
    plugin = registry.find(singular, name)
    # A picture stands in no suite, so that there is nothing that all of them share.
    base = next((base for known, base in PLUGIN_SECTIONS.values() if known == singular), Parameters)
    own = {key: _parameter(info.description, info) for key, info in plugin.parameters().model_fields.items()}
    own |= {key: str(value) for key, value in plugin.declaration or ()}
    shared = {key: _parameter(info.description, info) for key, info in base.model_fields.items() if key != "name"}
    title = f"{singular} {name}: {plugin.summary}"
    return Catalogue({title: own} | ({f"and of every {singular}": shared} if shared else {}))


def _parameter(description: str | None, info: Any) -> str:
    default = "required" if info.is_required() else f"default {info.get_default()!r}"
    return f"{default}  {description or ''}".rstrip()


def _plugins(kind: str) -> dict[str, str]:
    return {", ".join(plugin.names): plugin.summary for plugin in registry.plugins(kind)}


def _suite_paths() -> dict[str, Path]:
    return {path.stem: path for path in sorted(shipped(SUITES).glob("*.yaml"))}


def _suites() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, path in _suite_paths().items():
        try:
            description = str(read_yaml(path).values.get("description", "")).strip().partition("\n")[0]
        except HarnessError as error:
            description = f"unreadable: {error.message}"
        found[name] = description
    return found


def _file_paths() -> dict[str, Path]:
    found = [*shipped(LAUNCH_CONFIGS).glob("*.yaml"), *shipped(SLURM_SCRIPTS).glob("*.sbatch")]
    found += [PACKAGE / "launching/slurm/task.sh", shipped(SUITES) / "suite.schema.json"]
    return {path.name: path for path in sorted(found) if path.is_file()}


def _files() -> dict[str, str]:
    found = {}
    for name, path in _file_paths().items():
        lines = path.read_text(encoding="utf-8").splitlines()
        comment = next(
            (line for line in lines if line.startswith("# ")), "# The JSON schema of suite files, for editors."
        )
        found[name] = comment.removeprefix("# ").partition(". ")[0].rstrip(".") + "."
    return found
