"""One row per config and system, from the results of its runs."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.records.comparable import Mark, compares_with, marks
from harness.records.result import RunResult
from harness.results import columns as declared
from harness.results.columns import Column
from harness.results.measured import count_statuses
from harness.results.study import Study
from harness.results.summary import numbers_of, over_seeds
from harness.results.unplanned import as_json
from harness.spec import is_identity
from harness.spec.settings import value_at


@dataclass(frozen=True)
class Row:
    """A config on a system: its runs in the order of their seeds, and a value for every column.

    A value is a `Summary`, a plain number or text, or None where there is nothing to say.
    """

    system_id: str
    config_id: str
    label: str
    runs: tuple[RunResult, ...]
    values: Mapping[str, Any]
    with_resumed: bool = False

    @functools.cached_property
    def ok(self) -> list[RunResult]:
        """The runs that numbers are taken from."""
        return [run for run in self.runs if run.status == "ok"]

    def ok_for(self, metric_name: str) -> list[RunResult]:
        """Returns the runs that a number is taken from: those whose number compares with that of others."""
        resumed = self.with_resumed
        return [run for run, own in self._marks if compares_with(own, metric_name, with_resumed=resumed)]

    @functools.cached_property
    def _marks(self) -> list[tuple[RunResult, Mapping[Mark, str]]]:
        return [(run, marks(run)) for run in self.ok]

    @property
    def ranked(self) -> bool:
        """Whether the row may be compared with others: it has a result, on data that mean something."""
        return bool(self.values["rankable"]) and self.values["test_accuracy"] is not None

    def having(self, *values: Mapping[str, Any]) -> Row:
        """Returns the row with more values, or others in the place of its own."""
        return dataclasses.replace(
            self, values={name: one for own in (self.values, *values) for name, one in own.items()}
        )

    def place_by(self, column: Column) -> tuple[Any, ...]:
        """Returns what rows are sorted by: numbers come first, the best one foremost, and rows without a value last."""
        value = declared.number(self.values.get(column.name))
        if isinstance(value, int | float):
            return 0, -value if column.best == "high" else value, "", self.label
        return 2 if value is None else 1, 0.0, str(value), self.label


def build_rows(
    study: Study,
    runs: Sequence[RunResult],
    table: Mapping[str, Sequence[Any]],
    *,
    with_resumed: bool = False,
) -> tuple[list[Column], list[Row]]:
    """Returns the columns and the rows, in the order in which the configs were met.

    Args:
        runs: the study's results, anchors among them.
        table: of these runs, by column.
        with_resumed: times of runs that went on from a checkpoint count too.
    """
    places = {id(run): at for at, run in enumerate(runs)}
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for result in study.results:
        if not result.is_anchor:
            groups.setdefault((result.system_id, result.config_id), []).append(result)
    config_columns = config_columns_of([study.specs[config_id] for config_id in dict.fromkeys(i for _, i in groups)])
    rows: list[Row] = []
    for (system_id, config_id), unsorted in groups.items():
        own = tuple(sorted(unsorted, key=lambda run: (run.seed, run.started_at)))
        row = Row(system_id, config_id, study.labels[config_id], own, {}, with_resumed)
        named = {
            "system_id": system_id,
            "system": study.systems.get(system_id, {}).get("name") or system_id,
            "config_id": config_id,
            "label": row.label,
            "runs_ok": len(row.ok),
            "runs": count_statuses(run.status for run in own),
            "rankable": all(run.data.rankable for run in own if run.data) if any(run.data for run in own) else None,
        }
        varied = {column.name: _plain(value_at(study.specs[config_id], column.name)) for column in config_columns}
        measured = _measured(row, table, [places[id(run)] for run in row.ok])
        rows.append(row.having(measured, named, varied, {name: ran(own, name) for name, _, _ in declared.RAN}))
    ran_columns = [
        Column(name, title, priority=declared.RAN_PRIORITY)
        for name, title, asked in declared.RAN
        if _worth_a_column(rows, name, asked)
    ]
    measured_columns = [*declared.MEASURED, *declared.extra_columns(table)]
    return [*declared.IDENTITY, *config_columns, *ran_columns, *declared.RUNS, *measured_columns], rows


def config_columns_of(specs: list[Mapping[str, Any]]) -> list[Column]:
    """Returns a column for every field of the specs that differs between them."""
    paths = list(_differing(specs, ""))
    # The section says it all for a name, the field for the others, unless two fields share it.
    short = [path.removesuffix(".name") if path.endswith(".name") else path.rpartition(".")[2] for path in paths]
    titles = [name if short.count(name) == 1 else path for name, path in zip(short, paths, strict=True)]
    return [
        Column(path, title.replace("_", " "), priority=declared.CONFIG_PRIORITY)
        for path, title in zip(paths, titles, strict=True)
    ]


def _differing(sections: Sequence[Mapping[str, Any]], prefix: str) -> Iterator[str]:
    """Yields the dotted paths with more than one value among the configs that have the path.

    A parameter that only one plug-in has, with one value, follows from the plug-in's name.
    """
    for key in dict.fromkeys(key for section in sections for key in section):
        path = f"{prefix}{key}"
        values = [section[key] for section in sections if key in section]
        if not is_identity(path):
            continue
        if all(isinstance(value, dict) for value in values):
            yield from _differing(values, f"{path}.")
        elif len(set(map(as_json, values))) > 1:
            yield path


def _plain(value: Any) -> Any:
    """Returns a value that a cell can hold."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def ran(runs: Iterable[RunResult], name: str) -> str | int | None:
    """Returns one of the columns of `RAN`; where runs differ, all values in one text."""
    found = [getattr(run.resolved, name.partition(".")[2], None) if "." in name else run.num_processes for run in runs]
    distinct = list(dict.fromkeys(value for value in found if value is not None))
    return distinct[0] if len(distinct) == 1 else ", ".join(map(str, distinct)) or None


def _measured(row: Row, table: Mapping[str, Sequence[Any]], ok: Sequence[int]) -> dict[str, Any]:
    """Returns the values of the columns that summarise a number of the runs, and what else is of all of them."""
    numbers = numbers_of(table, ok, with_resumed=row.with_resumed)
    values = {column.name: over_seeds(column, own) for column, own in numbers}
    for name in ("test_accuracy", "train_seconds"):
        values[f"{name}_sd"] = values[name].sd if values[name] else None
    model = next((run.model for run in row.ok if run.model), None)
    values["parameters"] = model.parameters if model else None
    values["multiply_accumulates"] = model.multiply_accumulates if model else None
    return values


def _worth_a_column(rows: list[Row], name: str, asked: str) -> bool:
    pairs = [(value_at(row.runs[0].spec, asked), row.values[name]) for row in rows if row.values[name] is not None]
    if all(wanted == got for wanted, got in pairs):
        return False  # the config's own column says it, if they differ
    left_open = all(wanted is None for wanted, _ in pairs)
    return not left_open or len({str(got) for _, got in pairs}) > 1
