"""YAML read safely, with the line of every key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError, nearest


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, with the numbers of YAML 1.2: in YAML 1.1 `1e-3` is a string."""


# Nor is 2026-01-31 a date: a suite has strings and numbers only.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)

PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}
# Aliases can multiply a few lines without end, or lead back to themselves.
MOST_VALUES = 200_000
DEEPEST = 50


class SuiteError(HarnessError):
    """Something in a suite file is wrong; the message begins with file and line."""


@dataclass(frozen=True)
class Source:
    """A YAML file: its values, and the line of each key, by its dotted path split at the dots."""

    path: Path
    values: dict[str, Any]
    lines: dict[tuple[str, ...], int]

    def line(self, path: tuple[str | int, ...]) -> int:
        """Returns the line of a path or of the first below it, else of the nearest one above it."""
        parts = _split(path)
        for depth in range(len(parts), 0, -1):
            found = [line for key, line in self.lines.items() if key[:depth] == parts[:depth]]
            if found:
                return min(found)
        return 1

    def depth(self, path: tuple[str | int, ...]) -> int:
        """Returns how many parts of a path stand in the file."""
        parts = _split(path)
        return next((depth for depth in range(len(parts), 0, -1) if parts[:depth] in self.lines), 0)

    def error(self, path: tuple[str | int, ...], message: str, hint: str = "") -> SuiteError:
        """Returns an error that names this file and the line of `path`."""
        return SuiteError(f"{self.path}:{self.line(path)}: {message}", hint)


def _split(path: tuple[str | int, ...]) -> tuple[str, ...]:
    return tuple(part for key in path for part in str(key).split("."))


def read_yaml(path: Path) -> Source:
    """Reads a YAML mapping.

    Raises:
        SuiteError: the file is missing or empty, is no YAML, holds an object or a key twice, or is no mapping.
    """
    lines: dict[tuple[str, ...], int] = {}
    try:
        values = _load(path.read_text(encoding="utf-8"), str(path), lines)
    except OSError as error:
        others = [str(other) for other in path.parent.glob("*.yaml")] or [
            str(p) for p in Path("benchmarks").glob("*.yaml")
        ]
        raise SuiteError(f"cannot read {path}: {error.strerror}", nearest(str(path), others)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise _syntax_error(path, error) from None
    if values is None:
        raise SuiteError(f"{path}:1: the file is empty", "see docs/suites.md, or begin with a copy of another suite")
    if not isinstance(values, dict):
        raise SuiteError(f"{path}:1: a suite is a mapping, not a {type(values).__name__}", "see docs/suites.md")
    return Source(path, values, lines)


def parse_value(text: str) -> Any:
    """Returns the value of one YAML scalar or flow collection, as on a command line.

    Raises:
        HarnessError: it is no YAML.
    """
    try:
        return _load(text, f"'{text}'", {})
    except (yaml.YAMLError, ValueError):
        raise HarnessError(f"'{text}' is not a YAML value", "quote it for the shell, e.g. '[1, 2]'") from None


def _load(text: str, path: str, lines: dict[tuple[str, ...], int]) -> Any:
    _require_shallow(text, path)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _collect(path, node, (), lines)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _require_shallow(text: str, path: str) -> None:
    depth = 0
    for event in yaml.parse(text, _Loader):  # without recursion, which in libyaml's binding ends in a crash
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise SuiteError(f"{path}:{event.start_mark.line + 1}: nested too deeply", "a suite is a few levels deep")


def _collect(path: str, node: yaml.Node, at: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> None:
    here = f"{path}:{node.start_mark.line + 1}"
    if node.tag not in PLAIN_TAGS:
        name = node.tag.removeprefix("tag:yaml.org,2002:").removeprefix("!")
        raise SuiteError(f"{here}: the tag !!{name} is not allowed", "a suite holds plain values only")
    if len(lines) > MOST_VALUES or len(at) > DEEPEST:
        what = "nested too deeply" if len(at) > DEEPEST else f"more than {MOST_VALUES} values"
        raise SuiteError(f"{here}: {what}", "write aliases out, or split the suite")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*at, str(index))] = item.start_mark.line + 1
            _collect(path, item, (*at, str(index)), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            inner = (*at, *str(key.value).split("."))
            if inner in lines:
                twice = f"the key '{key.value}' stands twice, also on line {lines[inner]}"
                raise SuiteError(f"{path}:{line}: {twice}", "keep one of them")
            lines[inner] = line
            _collect(path, value, inner, lines)


def _syntax_error(path: Path, error: yaml.YAMLError | ValueError) -> SuiteError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    problem = str(getattr(error, "problem", None) or error).partition("\n")[0]
    return SuiteError(f"{path}:{line}: not valid YAML: {problem}", "check the indentation, colons and quotes")
