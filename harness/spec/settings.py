"""Settings: dotted paths of a RunSpec and their values, applied, matched and named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from harness.errors import HarnessError, nearest
from harness.spec.sections import PLUGIN_SECTIONS

Settings = dict[str, Any]
"""Dotted paths of a RunSpec and their values, e.g. {"train.epochs": 5}."""


def matches(match: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Tells whether a dumped RunSpec has all the values of `match` (dotted paths; a mapping may be partial)."""
    return all(_holds(value_at(spec, path), wanted) for path, wanted in match.items())


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(_holds(value_at(value, key), item) for key, item in wanted.items())
    if isinstance(value, Mapping):  # `model: resnet18` stands for {name: resnet18}
        return value.get("name") == wanted
    if wanted is False and value == "no":
        return True
    if isinstance(value, list | tuple) and isinstance(wanted, list | tuple):
        return list(value) == list(wanted)
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def value_at(values: Any, path: str) -> Any:
    for part in path.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def apply(values: Settings, settings: Settings) -> None:
    # A whole section before its parts, wherever in the file they stand.
    for path, value in sorted(settings.items(), key=lambda setting: setting[0].count(".")):
        _set(values, path, copied(value))


def copied(value: Any) -> Any:
    return {key: copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        inner = values.get(part)
        if not isinstance(inner, dict):
            inner = {"name": inner} if isinstance(inner, str) and part in PLUGIN_SECTIONS else {}
            values[part] = inner
        values = inner
    values[last] = value


def label_of(settings: Settings, by_name: Set[str] = frozenset()) -> str:
    """Names a config by what it changes: `resnet18 width=8, lr=0.1`.

    Args:
        settings: what it changes; its own `label` is taken as it is.
        by_name: sections whose values have names of their own, which say enough.
    """
    short = {path: path.rpartition(".")[2] for path in settings}
    parts = []
    for path, value in settings.items():
        if path == "label":
            return str(value)
        if path in by_name and isinstance(value, Mapping):
            parts.append(str(value["name"]))
        elif path in PLUGIN_SECTIONS or path.endswith(".name"):
            parts.append(_describe(value))
        else:
            key = short[path] if list(short.values()).count(short[path]) == 1 else path
            parts.append(f"{key}={_describe(value)}")
    return ", ".join(parts)


def named_apart(axes: Mapping[str, list[Any]]) -> set[str]:
    """Returns the sections among the axes whose values differ in their names."""
    found = set()
    for path, values in axes.items():
        names = [value.get("name") if isinstance(value, Mapping) else value for value in values]
        if path in PLUGIN_SECTIONS and all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            found.add(path)
    return found


def _describe(value: Any) -> str:
    if isinstance(value, Mapping):
        rest = [f"{key}={_describe(item)}" for key, item in value.items() if key != "name"]
        return " ".join([*([str(value["name"])] if "name" in value else []), *rest])
    return "no" if value is False else json.dumps(value).strip('"') if value is not True else "yes"


def require_field(where: str, path: str, dumps: Iterable[Settings]) -> None:
    known = {found for dump in dumps for found in paths_of(dump)}
    if known and path not in known:
        raise HarnessError(f"{where}: no config has a field '{path}'", nearest(path, known))


def paths_of(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from paths_of(value, f"{prefix}{key}.")
