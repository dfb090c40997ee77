"""What there is to choose from: suites and plug-ins, with their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import registry
from harness.errors import HarnessError, nearest
from harness.spec import PLUGIN_SECTIONS
from harness.suite.yaml_lines import read_yaml

SUITES = Path("benchmarks")


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
    """Returns all names, or those of one kind (`architectures`, `suites`, ...).

    Raises:
        HarnessError: there is no such kind.
    """
    kinds = [*registry.FOLDERS, "suite"]
    if kind:
        kinds = [name for name in kinds if kind in (name, f"{name}s")]
        if not kinds:
            raise HarnessError(
                f"there is no kind '{kind}'", nearest(kind, [*(f"{k}s" for k in registry.FOLDERS), "suites", "results"])
            )
    return Catalogue({f"{name}s": _suites() if name == "suite" else _plugins(name) for name in kinds})


def describe(kind: str, name: str) -> Catalogue:
    """Returns the parameters of one plug-in: its own, and those that all of its kind have.

    Raises:
        HarnessError: there is no such kind or name.
    """
    singular = kind.removesuffix("s")
    if singular not in registry.FOLDERS:
        raise HarnessError(f"there is no kind '{kind}'", nearest(kind, [f"{k}s" for k in registry.FOLDERS]))
    plugin = registry.find(singular, name)
    # A picture stands in no suite, so that there is nothing that all of them share.
    base = next((base for known, base in PLUGIN_SECTIONS.values() if known == singular), registry.Parameters)
    own = {key: _parameter(info.description, info) for key, info in plugin.parameters().model_fields.items()}
    shared = {key: _parameter(info.description, info) for key, info in base.model_fields.items() if key != "name"}
    title = f"{singular} {name}: {plugin.summary}"
    return Catalogue({title: own} | ({f"and of every {singular}": shared} if shared else {}))


def _parameter(description: str | None, info: Any) -> str:
    default = "required" if info.is_required() else f"default {info.get_default()!r}"
    return f"{default}  {description or ''}".rstrip()


def _plugins(kind: str) -> dict[str, str]:
    return {", ".join(plugin.names): plugin.summary for plugin in registry.plugins(kind)}


def _suites() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(SUITES.glob("*.yaml")):
        try:
            description = str(read_yaml(path).values.get("description", "")).strip().partition("\n")[0]
        except HarnessError as error:
            description = f"unreadable: {error.message}"
        found[str(path)] = description
    return found
