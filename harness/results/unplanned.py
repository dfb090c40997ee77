"""Stored results that are of no run of a plan: in what they differ from it."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.counted import counted
from harness.records.result import RunResult
from harness.spec import is_identity
from harness.suite.plan import Plan

MOST_FIELDS = 3
MOST_CONFIGS = 100  # of the results, and of the plan: each is held beside each


def in_what_they_differ(results: Sequence[RunResult], plans: Sequence[Plan]) -> str:
    """Returns e.g. `train.epochs: 4, planned 40`, of the config of the plan that is nearest; the field that most
    configs differ in comes first. Where no field differs, the content of the data does.

    Args:
        results: of no run of the plans; at least one.
    """
    planned = [dict(flat_identity(spec.model_dump(mode="json"))) for plan in plans for spec in plan.configs().values()]
    planned = planned[:MOST_CONFIGS]
    seeds = {run.spec.seed for plan in plans for run in plan.runs}
    found: Counter[str] = Counter()
    for one in list({run.config_id: run for run in results}.values())[:MOST_CONFIGS]:
        stored = dict(flat_identity(one.spec))
        nearest = min((_differing(stored, own) for own in planned), key=len, default=[])
        if nearest:
            found[", ".join(nearest[:MOST_FIELDS]) + _more(len(nearest) - MOST_FIELDS)] += 1
        elif one.seed not in seeds:
            found[f"seed: {one.seed}, planned {', '.join(map(str, sorted(seeds)[:6]))}"] += 1
        else:
            found["the content of their data"] += 1
    (first, _), *others = found.most_common()
    return first + (f"; and {counted(len(others), 'other difference')}" if others else "")


def _more(count: int) -> str:
    return f" and {counted(count, 'more field')}" if count > 0 else ""


def _differing(stored: Mapping[str, Any], planned: Mapping[str, Any]) -> list[str]:
    return [
        f"{path}: {json.dumps(stored.get(path))}, planned {json.dumps(planned.get(path))}"
        for path in dict.fromkeys([*stored, *planned])
        if stored.get(path) != planned.get(path)
    ]


def as_json(value: Any) -> str:
    """Returns a value of a config as JSON, by which values are told apart: 1 is not 1.0."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else _plain_as_json(value)


@functools.lru_cache(maxsize=None, typed=True)  # a thousand configs have a hundred values each, most of them alike
def _plain_as_json(value: Any) -> str:
    return json.dumps(value)


def flat_identity(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields what identifies a config, by dotted path."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if not is_identity(path):
            continue
        if isinstance(value, dict) and value:  # ten times as fast as for a Mapping
            yield from flat_identity(value, f"{path}.")
        else:
            yield path, value
