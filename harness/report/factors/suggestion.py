"""What a suite that changes one factor at a time would have to say for its interactions to be seen."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from harness.counted import counted
from harness.errors import HarnessError
from harness.report.numbers.differences import at
from harness.spec.settings import Settings, apply, copied
from harness.suite.plan import Suite

# From here on the full product is large, and a fraction of it is proposed.
LARGE = 32


def interaction_notes(suite: Suite, paths: Sequence[str]) -> Iterator[str]:
    """Yields a warning that interactions were not looked at, then the lines of a suite that would.

    Args:
        paths: what is changed, one at a time; with one alone there is nothing to warn of.
    """
    if len(paths) < 2:
        return
    origin = _origin(suite)
    matrix = {path: _levels(suite, path, suite.file.one_at_a_time[path], origin) for path in paths}
    product = math.prod(map(len, matrix.values()))
    warning = "Interactions of what was changed were not looked at: two changes together may do something else."
    for design in ("fractional", None) if product > LARGE else (None,):
        try:
            configs = _configs(suite, matrix, design)
        except HarnessError:
            continue
        seeds = len(suite.seeds())
        runs = f"{counted(configs, 'config')} x {counted(seeds, 'seed')} = {counted(configs * seeds, 'run')}"
        yield f"{warning} In place of one_at_a_time, this would show them, in {runs}:"
        yield f"matrix: {_flow(matrix)}"
        if design:
            yield f"design: {design}"
        return
    yield f"{warning} All combinations together are no valid suite; cross some of them in a matrix."


def _configs(suite: Suite, matrix: dict[str, list[Any]], design: str | None) -> int:
    """Returns how many configs the suite would have with this matrix."""
    alone: dict[str, Any] = {"one_at_a_time": {}, "include": [], "exclude": [], "references": [], "target": None}
    file = suite.file.model_copy(update={**alone, "matrix": matrix, "design": design})
    return len(dataclasses.replace(suite, file=file).configs())


def _origin(suite: Suite) -> Any:
    """Returns the dumped base."""
    alone: dict[str, Any] = {"one_at_a_time": {}, "zip": [], "include": [], "exclude": [], "references": []}
    file = suite.file.model_copy(update={**alone, "target": None})
    (spec,) = dataclasses.replace(suite, file=file).configs().values()
    return spec.model_dump(mode="json")


def _levels(suite: Suite, path: str, values: list[Any], origin: Any) -> list[Any]:
    """Returns the base's value, as it stands in the file or by default, and the others."""
    base: Settings = {}
    apply(base, copied(suite.file.base))
    value = at(base, path)
    return [at(origin, path) if value is None else value, *values]


def _flow(value: Any) -> str:
    """Returns a value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)
