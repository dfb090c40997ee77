"""What pydantic found wrong, as one problem with its path and a hint in words."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def first_problem(error: ValidationError, values: Any) -> tuple[ErrorDetails, tuple[str | int, ...], str]:
    """Returns the problem to tell of, the path to it in `values`, and a hint at what should stand there.

    An unknown field comes first, for a misspelt one is also missing; of a union's problems the innermost.
    """
    problems = [(problem, _path_in(values, problem)) for problem in error.errors(include_url=False)]
    problems.sort(key=lambda found: found[0]["type"] != "extra_forbidden")
    start = problems[0][1]
    first, path = max((found for found in problems if found[1][: len(start)] == start), key=lambda found: len(found[1]))
    if first["type"] == "missing" and isinstance(path[-1], int):  # too few items for a tuple
        return {**first, "type": "too_short"}, path[:-1], f"it should have at least {path[-1] + 1} items"
    messages = dict.fromkeys(_wanted(problem) for problem, at in problems if at == path)
    wanted = " or ".join(messages)
    return first, path, f"it should be {wanted}" if first["msg"].startswith("Input should be ") else wanted


_WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a finite number": "a number, neither NaN nor infinite",
    "a valid string": "a text",
    "a valid boolean": "true or false",
    "a valid array": "a list",
    "an object": "a mapping",
}


def _wanted(problem: ErrorDetails) -> str:
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    value = problem["input"]
    if message.startswith("a valid integer") and isinstance(value, float) and value.is_integer():
        return f"a whole number without point and exponent, below {1 << 63:,}"
    for foreign, own in _WORDS.items():
        message = message.replace(foreign, own)
    return message


def shown(value: Any) -> str:
    """Returns a value as a message shows it: as JSON, cut short."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _path_in(values: Any, problem: ErrorDetails) -> tuple[str | int, ...]:
    """Drops the names of union members that pydantic puts into a location."""
    path: list[str | int] = []
    location = problem["loc"]
    for depth, part in enumerate(location):
        absent = problem["type"] == "missing" and depth == len(location) - 1
        if isinstance(values, dict) and (part in values or absent):
            path.append(part)
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int):
            path.append(part)
            values = values[part] if part < len(values) else None
    return tuple(path)


def fields_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    for part in path:
        annotation = model.model_fields[str(part)].annotation
        nested = [kind for kind in (annotation, *getattr(annotation, "__args__", ())) if isinstance(kind, type)]
        model = next((kind for kind in nested if issubclass(kind, BaseModel)), model)
    return list(model.model_fields)
