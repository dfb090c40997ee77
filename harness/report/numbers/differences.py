"""In which fields the configs of a table differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.results.columns import CONFIG_PRIORITY, Column
from harness.spec import NOT_IDENTITY

# Dotted paths of what is no part of a config.
NOT_PART = {
    path
    for key, fields in NOT_IDENTITY.items()
    for path in ([key] if isinstance(fields, bool) else [f"{key}.{field}" for field in fields])
}


def at(mapping: Any, path: str) -> Any:
    """Returns what stands at a dotted path, or None."""
    for part in path.split("."):
        mapping = mapping.get(part) if isinstance(mapping, Mapping) else None
    return mapping


def config_columns_of(specs: list[Mapping[str, Any]]) -> list[Column]:
    """Returns a column for every field of the specs that differs between them."""
    paths = list(_differing(specs, ""))
    # The section says it all for a name, the field for the others, unless two fields share it.
    short = [path.removesuffix(".name") if path.endswith(".name") else path.rpartition(".")[2] for path in paths]
    titles = [name if short.count(name) == 1 else path for name, path in zip(short, paths, strict=True)]
    return [
        Column(path, title.replace("_", " "), priority=CONFIG_PRIORITY)
        for path, title in zip(paths, titles, strict=True)
    ]


def _differing(sections: Sequence[Mapping[str, Any]], prefix: str) -> Iterator[str]:
    """Yields the dotted paths with more than one value among the configs that have the path.

    A parameter that only one plug-in has, with one value, follows from the plug-in's name.
    """
    for key in dict.fromkeys(key for section in sections for key in section):
        path = f"{prefix}{key}"
        values = [section[key] for section in sections if key in section]
        if path in NOT_PART:
            continue
        if all(isinstance(value, Mapping) for value in values):
            yield from _differing(values, f"{path}.")
        elif len({json.dumps(value, sort_keys=True) for value in values}) > 1:
            yield path


def plain(value: Any) -> Any:
    """Returns a value that a cell can hold."""
    return json.dumps(value) if isinstance(value, list | dict) else value
