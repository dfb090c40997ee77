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


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


class SuiteError(HarnessError):
    """Something in a suite file is wrong; the message begins with file and line."""


@dataclass(frozen=True)
class Source:
    """A YAML file: its values, and the line of each key, by its dotted path split at the dots."""

    path: Path
    values: dict[str, Any]
    lines: dict[tuple[str, ...], int]

    def line(self, path: tuple[str | int, ...]) -> int:
        """Returns the line of a path, or of the nearest one above it."""
        return self.depth_and_line(path)[1]

    def depth_and_line(self, path: tuple[str | int, ...]) -> tuple[int, int]:
        """Returns how much of a path stands in the file, and on which line."""
        parts = tuple(part for key in path for part in str(key).split("."))
        for depth in range(len(parts), 0, -1):
            if parts[:depth] in self.lines:
                return depth, self.lines[parts[:depth]]
        return 0, 1

    def error(self, path: tuple[str | int, ...], message: str, hint: str = "") -> SuiteError:
        """Returns an error that names this file and the line of `path`."""
        return SuiteError(f"{self.path}:{self.line(path)}: {message}", hint)


def read_yaml(path: Path) -> Source:
    """Reads a YAML mapping.

    Raises:
        SuiteError: the file is missing, is no YAML, holds an object or a key twice, or is no mapping.
    """
    loader = None
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        lines: dict[tuple[str, ...], int] = {}
        if node is not None:
            _collect(path, node, (), lines)
        values = loader.construct_document(node) if node is not None else {}
    except OSError as error:
        others = [str(other) for other in path.parent.glob("*.yaml")] or [
            str(p) for p in Path("benchmarks").glob("*.yaml")
        ]
        raise SuiteError(f"cannot read {path}: {error.strerror}", nearest(str(path), others)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _syntax_error(path, error) from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(values, dict):
        raise SuiteError(f"{path}:1: a suite is a mapping, not a {type(values).__name__}", "see docs/suites.md")
    return Source(path, values, lines)


def parse_value(text: str) -> Any:
    """Returns the value of one YAML scalar or flow collection, as on a command line.

    Raises:
        HarnessError: it is no YAML.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError:
        raise HarnessError(f"'{text}' is not a YAML value", "quote it for the shell, e.g. '[1, 2]'") from None
    finally:
        if loader is not None:
            loader.dispose()


def _collect(path: Path, node: yaml.Node, at: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*at, str(index))] = item.start_mark.line + 1
            _collect(path, item, (*at, str(index)), lines)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise SuiteError(f"{path}:{line}: the key '{key.value}' stands twice", "keep one of them")
            seen.add(str(key.value))
            inner = (*at, *str(key.value).split("."))
            lines[inner] = line
            _collect(path, value, inner, lines)


def _syntax_error(path: Path, error: yaml.YAMLError | UnicodeDecodeError) -> SuiteError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    problem = str(getattr(error, "problem", None) or error).partition("\n")[0]
    tag = re.search(r"constructor for the tag '(?:tag:yaml\.org,2002:)?([^']*)'", problem)
    if tag:
        return SuiteError(f"{path}:{line}: the tag !!{tag[1]} is not allowed", "a suite holds plain values only")
    return SuiteError(f"{path}:{line}: not valid YAML: {problem}", "check the indentation, colons and quotes")
