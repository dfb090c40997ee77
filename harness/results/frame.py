"""The table of results: a row a run, with typed columns, from the records alone.

`read_results` is the way in for people; `runs.csv` and `runs.parquet` are the same table. `describe_columns` says what
the columns mean.
"""

from __future__ import annotations

import functools
import itertools
import json
import typing
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from harness.counted import counted
from harness.errors import HarnessError
from harness.records.comparable import marks
from harness.records.planned import of_newest
from harness.records.result import SPLITS, Metrics, RunResult
from harness.results.columns import EXTRA, EXTRA_DECLARES, measure_of
from harness.results.extra_metrics import with_extra_metrics
from harness.results.study import read_folders, suite_folders

if TYPE_CHECKING:
    import pandas

Kind = Literal["text", "count", "number", "flag"]
# Long, of the program alone, or told by other columns.
_LEFT_OUT = {"cause.traceback", "kept_under", "calibration", "metrics", "selected", "spec", "unavailable", "folder"}
ENVIRONMENTS = ("environment", "usual_environment")
_LEFT_OUT |= {"extra_metrics", *ENVIRONMENTS}
# As long as there are classes; it is in result.json.
_LEFT_OUT |= {f"metrics.{split}.recall_by_class" for split in SPLITS}
_LEFT_OUT |= {f"selected.{split}.test.recall_by_class" for split in SPLITS}
AT_ONCE = 200  # runs: a record lies together in memory, so all 10,000 at once, column by column, take twice as long
_PLAIN = {bool, int, float, str, list, NoneType}
_DTYPES: dict[Kind, str] = {"count": "Int64", "number": "float64", "flag": "boolean"}


@dataclass(frozen=True)
class RunColumn:
    """A column of the table of runs.

    Attributes:
        name: dotted, as in `result.json`.
        unit: empty where it has none.
        meaning: in words; empty where the name says it.
        better: `higher` or `lower`; empty where neither is.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    better: Literal["higher", "lower", ""]


def read_results(*paths: str | Path) -> pandas.DataFrame:
    """Reads runs from disk: one row a run, in the order of suite, config, seed and system; see `describe_columns`.

    Neither the suite's file nor its data, nor plug-ins are needed. Of a run that is in several folders, the record that
    is done, or ended last, counts. Of a config's runs those by the newest code and on the newest content of the data
    count, as in a report; `frame.attrs["notes"]` says what is left out for that. Records that cannot be read are left
    out with a warning; `frame.attrs["left_out"]` has each with its reason. Metrics that are known here, and not in a
    record, are computed from its predictions.

    Args:
        paths: folders `results/SUITE`, or whole results roots.

    Raises:
        HarnessError: there is no folder, or no record in it.
    """
    folders: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        found = suite_folders(path)
        if not found:
            raise HarnessError(f"no results in {path}", "name a folder such as results/SUITE, or a results root")
        for folder in found:
            folders.setdefault(folder.resolve().name, []).append(folder)
    results: list[tuple[str, RunResult]] = []
    names: dict[str, str] = {}
    left_out: dict[str, str] = {}
    notes: list[str] = []
    if not paths:
        raise HarnessError("read_results was given no folder", 'e.g. harness.read_results("results/SUITE")')
    for suite, own in folders.items():
        stored = of_newest(read_folders(own), lambda _: True)
        own_results, missing = with_extra_metrics(stored.results)
        notes += [f"{suite}: {note}" for note in (*stored.notes, *missing)]
        results += [(suite, result) for result in own_results]
        names |= {system_id: str(facts.get("name") or system_id) for system_id, facts in stored.systems.items()}
        left_out |= {str(path): reason for path, reason in stored.unreadable.items()}
    if left_out:
        path, reason = next(iter(left_out.items()))
        warnings.warn(f"{counted(len(left_out), 'record')} left out, e.g. {path}: {reason}", stacklevel=2)
    if not results:
        where = ", ".join(map(str, paths))
        odd = "; ".join(f"{path}: {reason}" for path, reason in list(left_out.items())[:3])
        raise HarnessError(f"no record in {where} can be read", odd)
    frame = named_frame(results, names)
    frame.attrs |= {"left_out": left_out, "notes": notes}
    return frame


def named_frame(results: list[tuple[str, RunResult]], names: Mapping[str, str]) -> pandas.DataFrame:
    """Returns the table of runs with the suite that each counts for, and the names of the systems.

    Args:
        results: each with its suite.
        names: of systems, by system_id.
    """
    results = sorted(results, key=lambda one: (one[0], one[1].label, one[1].seed, one[1].system_id, one[1].started_at))
    frame = run_frame(result for _, result in results)
    frame.insert(0, "system", [names.get(system_id, system_id) for system_id in frame["system_id"]])
    frame["suite"] = [suite for suite, _ in results]
    return frame


def run_frame(results: Iterable[RunResult]) -> pandas.DataFrame:
    """Returns the table of runs, a row each in their order; columns that are null in all of them are kept."""
    import pandas

    known: dict[str, Kind] = {column.name: column.kind for column in run_columns()}
    columns = {}
    for name, values in run_values(results).items():
        kind: Kind = known[name] if name in known else _kind_of(values)
        columns[name] = values if kind == "text" else pandas.array(values, dtype=_DTYPES[kind])
    return pandas.DataFrame(columns)


def run_values(results: Iterable[RunResult]) -> dict[str, list[Any]]:
    """Returns the same as plain lists, by column, without pandas: an int, float, bool, text or None each."""
    runs = list(results)
    table: dict[str, list[Any]] = {
        column.name: [] for column in run_columns() if not column.name.startswith(("metrics.", "selected."))
    }
    for start in range(0, len(runs), AT_ONCE):
        for name, values in _some_values(runs[start : start + AT_ONCE]).items():
            own = table.setdefault(name, [])
            own += [*[None] * (start - len(own)), *values]
    return {name: _alike([*own, *[None] * (len(runs) - len(own))]) for name, own in table.items()}


def _some_values(runs: Sequence[RunResult]) -> dict[str, list[Any]]:
    selected = [{one.selected_on: {"epoch": one.epoch, "test": one.test} for one in run.selected} for run in runs]
    metrics, specs = [run.metrics for run in runs], [run.spec for run in runs]
    extra = [run.extra_metrics for run in runs]
    found = columns_below({"": runs, "metrics.": metrics, EXTRA: extra, "selected.": selected, "spec.": specs})
    found["folder"] = [str(run.folder) if run.folder else None for run in runs]
    found["marks"] = [", ".join(marks(run)) or None for run in runs]
    found["unavailable"] = [json.dumps(run.unavailable) if run.unavailable else None for run in runs]
    for name in ENVIRONMENTS:
        values = [getattr(run, name) for run in runs]
        found[name] = [None if value is None else json.dumps(value) for value in values]
    return found


def describe_columns(frame: pandas.DataFrame | None = None) -> pandas.DataFrame:
    """Returns name, unit, meaning and better of the columns of a table of runs, or of all that there may be."""
    import pandas

    known = {column.name: column for column in run_columns()}
    wanted = list(known) if frame is None else list(map(str, frame.columns))
    rows = []
    for name in wanted:
        column = known.get(name)
        unit, better = (column.unit, column.better) if column else _unit_and_better(name)
        meaning = column.meaning if column else "of the run's config" if name.startswith("spec.") else ""
        if frame is not None and name.startswith(EXTRA) and name.endswith(".value"):  # as the records declare it
            named = [f"{name.removesuffix('value')}{key}" for key in EXTRA_DECLARES]
            declared = [frame[one] if one in wanted else () for one in named]
            unit, meaning, better = (next((one for one in own if isinstance(one, str)), "") for own in declared)
        rows.append({"name": name, "unit": unit, "meaning": meaning, "better": better})
    return pandas.DataFrame(rows)


@functools.cache
def run_columns() -> tuple[RunColumn, ...]:
    """Returns the columns that a table of runs may have, but for those of the config (`spec.…`)."""
    found = list(_columns_of(RunResult, ""))
    for split in SPLITS:
        found += _columns_of(Metrics, f"metrics.{split}.")
    for split in ("validation", "test"):
        found.append(_column(f"selected.{split}.epoch", int, "best on this split"))
        found += _columns_of(Metrics, f"selected.{split}.test.")
    marked = "why its times do not count, e.g. disturbed; null where they do"
    folder = _column("folder", str, "that holds the record")
    texts = {"marks": marked, "unavailable": "reasons of nulls, as JSON"}
    texts |= {name: f"{RunResult.model_fields[name].description}; as JSON" for name in ENVIRONMENTS}
    return (*found, folder, *(_column(name, str, meaning) for name, meaning in texts.items()))


def _columns_of(model: type[BaseModel], prefix: str) -> Iterator[RunColumn]:
    for key, info in model.model_fields.items():
        name = f"{prefix}{key}"
        if name in _LEFT_OUT:
            continue
        section = next(
            (one for one in _types(info.annotation) if isinstance(one, type) and issubclass(one, BaseModel)), None
        )
        if section is not None:
            yield from _columns_of(section, f"{name}.")
        else:
            yield _column(name, info.annotation, info.description or "")


def _types(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) is typing.Annotated:
        return _types(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return tuple(one for part in typing.get_args(annotation) for one in _types(part))
    return (annotation,)


def _column(name: str, annotation: Any, meaning: str) -> RunColumn:
    kinds: dict[Any, Kind] = {int: "count", float: "number", bool: "flag"}
    found: list[Kind] = [kinds[one] for one in _types(annotation) if one in kinds]
    kind: Kind = found[0] if found else "text"
    unit, better = _unit_and_better(name)
    return RunColumn(name, kind, unit, meaning, better)


def _unit_and_better(name: str) -> tuple[str, Literal["higher", "lower", ""]]:
    unit, _, better = measure_of(name)
    return unit, "" if name.startswith(("spec.", "disturbance.")) else better


def columns_below(rows_of: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Returns the values inside of records or mappings by column, under dotted names; lists are JSON texts.

    A column stands where the first row that has it does, in the order of that row.

    Args:
        rows_of: a record, a mapping or None of each row, by the prefix of their names, with a dot at its end. What is
            null in all rows gives a column only below a prefix.
    """
    found = [one for prefix, rows in rows_of.items() for one in _columns_below(prefix, rows)]
    return {name: values for _, name, values in sorted(found, key=lambda one: one[0])}


def _columns_below(prefix: str, rows: Sequence[Any]) -> Iterator[tuple[int, str, list[Any]]]:
    """Yields the first row that has a column, its name and its values."""
    parts = [row if type(row) is dict else {} if row is None else vars(row) for row in rows]
    keys = dict.fromkeys(itertools.chain.from_iterable(parts))
    for key, found in zip(keys, zip(*(tuple(map(part.get, keys)) for part in parts), strict=True), strict=True):
        if (name := f"{prefix}{key}") in _LEFT_OUT:
            continue
        values = list(found)
        kinds = set(map(type, values))
        if list in kinds:
            values = [value if type(value) is not list else json.dumps(value) if value else "[]" for value in values]
        inner = kinds - _PLAIN
        if inner:
            yield from _columns_below(f"{name}.", [value if type(value) in inner else None for value in values])
            values = [None if type(value) in inner else value for value in values]
        if prefix or any(value is not None for value in values):
            has_it = (at for at, part in enumerate(parts) if key in part and type(part[key]) not in inner)
            if (at := next(has_it, None)) is not None:
                yield at, name, values


def _kind_of(values: Iterable[Any]) -> Kind:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "flag"
    return "text" if not kinds or not kinds <= {int, float} else "number" if float in kinds else "count"


def _alike(values: list[Any]) -> list[Any]:
    """Returns values of one type: where they are mixed, as parameters of several plug-ins may be, all as texts."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 or kinds == {int, float}:
        return values
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
