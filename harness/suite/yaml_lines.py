"""YAML read safely, with the line of every key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from harness.errors import HarnessError
from harness.paths import SUITES, nearest_file

_TAG = "tag:yaml.org,2002:"
# Numbers are those of YAML 1.2's core schema, and digits may stand in groups (50_000): YAML 1.1 reads 010 as 8, 1:30 as
# 90 and 1e-3 as a text. Dates are texts. As in YAML 1.1, yes, no, on and off are truth values.
_DIGITS = r"[0-9]+(_[0-9]+)*"
_PLAIN: dict[str, tuple[str, str]] = {  # the pattern of each type, and what it may begin with
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": ("yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    "int": (rf"[-+]?{_DIGITS}|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        rf"[-+]?(\.{_DIGITS}|{_DIGITS}(\.({_DIGITS})?)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": ("<<", "<"),
}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, with plain scalars as `_PLAIN` has them, and keys that are texts."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

    def plain(self, node: yaml.ScalarNode) -> Any:
        """Returns the value of a scalar that is none of a text."""
        name, text = node.tag.removeprefix(_TAG), str(self.construct_scalar(node))
        if not re.fullmatch(_PLAIN[name][0], text) or len(text) > LONGEST_NUMBER:  # `!!int x`
            raise yaml.constructor.ConstructorError(None, None, f"'{text[:40]}' is no {name}", node.start_mark)
        if name == "bool":
            return text.lower() in ("yes", "true", "on")
        if name == "int":
            number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            if abs(number) >= 2**63:  # tables of results and tensors hold no larger ones
                raise yaml.constructor.ConstructorError(None, None, f"{text} is beyond 64 bits", node.start_mark)
            return number
        return None if name == "null" else float(re.sub(r"\.(?=inf|nan)", "", text.lower()))


for _name, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), [*_first, *[""] * (_name == "null")])
    if _name != "merge":
        _Loader.add_constructor(_TAG + _name, _Loader.plain)

PLAIN_TAGS = {_TAG + name for name in (*_PLAIN, "str", "map", "seq")}
# Aliases can multiply a few lines without end, or lead back to themselves.
MOST_VALUES = 200_000
MOST_CHARACTERS = 10_000_000
DEEPEST = 50
LONGEST_NUMBER = 300
_TOO_MANY = (
    f"more than {MOST_VALUES:,} values or {MOST_CHARACTERS:,} characters, including what aliases repeat",
    "write lists into 'matrix' or 'zip', or split the suite",
)


EXAMPLE = "`harness list suites quickstart`"


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
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
        if len(text) > MOST_CHARACTERS:
            raise SuiteError(f"{path}:1: more than {MOST_CHARACTERS:,} characters", "name the YAML file of a suite")
        values = _load(text, str(path), lines)
    except OSError as error:
        raise SuiteError(f"cannot read {path}: {error.strerror}", nearest_file(path, SUITES)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise _syntax_error(path, error) from None
    if values is None:
        raise SuiteError(f"{path}:1: the file is empty", f"begin with a copy of another suite: {EXAMPLE}")
    if not isinstance(values, dict):
        raise SuiteError(
            f"{path}:1: a suite is a mapping, not a {type(values).__name__}",
            f"it begins with `name: ...`, as in {EXAMPLE}",
        )
    return Source(path, values, lines)


def parse_value(text: str) -> Any:
    """Returns the value of one YAML scalar or flow collection, as on a command line.

    Raises:
        HarnessError: it is no YAML.
    """
    line = " ".join(text.split())
    short = f"'{line[:60]}{'...' * (len(line) > 60)}'"
    try:
        return _load(text, short, {})
    except (yaml.YAMLError, ValueError) as error:
        message = f"{short} is not a YAML value: {_problem(error)}"
        raise HarnessError(message, "quote it for the shell, e.g. '[1, 2]'") from None


def _load(text: str, path: str, lines: dict[tuple[str, ...], int]) -> Any:
    _require_small(text, path)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Walk(path, lines).visit(node, ())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _require_small(text: str, path: str) -> None:
    """Looks at the text alone: nodes take hundreds of bytes each, and libyaml's binding crashes where many are nested.

    Raises:
        SuiteError: it is nested too deeply or has too many values.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text, _Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or count > 3 * MOST_VALUES:  # of a mapping's value: its key, its begin and its end
            problem = ("nested too deeply", "a suite is a few levels deep") if depth > DEEPEST else _TOO_MANY
            raise SuiteError(f"{path}:{event.start_mark.line + 1}: {problem[0]}", problem[1])


class _Walk:
    """Visits each value as often as aliases name it, before any is constructed: notes lines and keeps to the limits."""

    def __init__(self, path: str, lines: dict[tuple[str, ...], int]) -> None:
        self._path = path
        self._lines = lines
        self._values = self._characters = 0

    def visit(self, node: yaml.Node, at: tuple[str, ...]) -> None:
        """Notes the line of each key and item below `at`, and makes keys the texts that they are written as.

        Raises:
            SuiteError: a tag is not of a plain value, a key stands twice, or a limit is passed.
        """
        if node.tag not in PLAIN_TAGS:
            name = node.tag.removeprefix(_TAG).removeprefix("!")
            raise self._error(node, f"the tag !!{name} is not allowed", "a suite holds plain values only")
        self._count(1, len(node.value) if isinstance(node, yaml.ScalarNode) else 0, node)
        if len(at) > DEEPEST:
            raise self._error(node, "nested too deeply", "write aliases out, or split the suite")
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._lines[(*at, str(index))] = item.start_mark.line + 1
                self.visit(item, (*at, str(index)))
        elif isinstance(node, yaml.MappingNode):
            node.value = [(_as_text(key), value) for key, value in node.value]
            for key, value in node.value:
                self._count(0, len(str(key.value)), key)
                inner = (*at, *str(key.value).split("."))
                if inner in self._lines:
                    twice = f"the key '{key.value}' is given twice, also on line {self._lines[inner]}"
                    raise self._error(key, twice, "keep one of them")
                self._lines[inner] = key.start_mark.line + 1
                self.visit(value, inner)

    def _count(self, values: int, characters: int, node: yaml.Node) -> None:
        self._values += values
        self._characters += characters
        if self._values > MOST_VALUES or self._characters > MOST_CHARACTERS:
            raise self._error(node, *_TOO_MANY)

    def _error(self, node: yaml.Node, message: str, hint: str) -> SuiteError:
        return SuiteError(f"{self._path}:{node.start_mark.line + 1}: {message}", hint)


def _as_text(key: yaml.Node) -> yaml.Node:
    """Returns a key as a text: 1, ~ and `on` are then unknown names like others, and errors show them as written."""
    if not isinstance(key, yaml.ScalarNode) or key.tag not in PLAIN_TAGS or key.tag == f"{_TAG}merge":
        return key
    # A new node, as an alias may use the old one as a value.
    return yaml.ScalarNode(f"{_TAG}str", key.value, key.start_mark, key.end_mark)


def _syntax_error(path: Path, error: yaml.YAMLError | ValueError) -> SuiteError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    return SuiteError(f"{path}:{line}: not valid YAML: {_problem(error)}", "check the indentation, colons and quotes")


def _problem(error: yaml.YAMLError | ValueError) -> str:
    return str(getattr(error, "problem", None) or error).partition("\n")[0][:100]
