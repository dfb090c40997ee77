"""The tables for programs: CSV, Parquet and JSON, with every column that docs/columns.md defines."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from typing import IO, Any

from harness.records.comparable import marks
from harness.records.result import RunResult
from harness.report.numbers.columns import field_values, fields
from harness.report.tables import Report, Table

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet's formula begins with
_NOT_FLAT = {"cause.traceback"}  # long, and in result.json


def summary_rows(report: Report) -> list[dict[str, Any]]:
    """Returns one flat mapping per config and system, all with the same keys, in the order of the tables."""
    return [row for table in report.tables for row in _table_rows(table)]


def run_rows(report: Report) -> list[dict[str, Any]]:
    """Returns one flat mapping per run, all with the same keys; dotted names as in result.json."""
    rows = [_flat_run(run) for run in report.runs]
    names = list(dict.fromkeys(name for row in rows for name in row))
    # A section that is null in one run and has fields in another is told by its fields.
    sections = {name for name in names if any(other.startswith(f"{name}.") for other in names)}
    names = [name for name in names if name not in sections or any(row.get(name) is not None for row in rows)]
    return [{name: row.get(name) for name in names} for row in rows]


def reference_rows(report: Report) -> list[dict[str, Any]]:
    """Returns one flat mapping per published number and system; of a suite without results, without a system."""
    tables = [table.published for table in report.tables] or [report.published]
    return [row for beside in tables if beside for row in beside.records]


def price_rows(report: Report) -> list[dict[str, Any]]:
    """Returns one flat mapping per step along a front and system."""
    return [row for table in report.tables if table.prices for row in table.prices.records]


def normalised_rows(report: Report) -> list[dict[str, Any]]:
    """Returns one flat mapping per config and system, in the order of the normalised table; none without it."""
    return list(report.normalised.records) if report.normalised else []


def mattered_rows(report: Report) -> list[dict[str, Any]]:
    """Returns one flat mapping per effect, number and system."""
    return [row for table in report.tables if table.mattered for row in table.mattered.records]


def as_json(report: Report) -> dict[str, Any]:
    """Returns the report for `--json`; a number that is not finite becomes null, as JSON has none."""
    tables = [
        {
            "system_id": table.system_id,
            "system": table.system,
            "calibration": table.calibration.model_dump(mode="json") if table.calibration else None,
            "configs": [_all_finite(row) for row in _table_rows(table)],
            "drift": table.drift and table.drift.as_json(),
            "marked": [_marked(row.label, run) for row in table.rows for run in row.ok if marks(run)],
            "outliers": [outlier.as_json() for outlier in table.outliers],
            "answer": list(table.answer),
            "cautions": list(table.cautions),
            "notes": list(table.notes),
        }
        for table in report.tables
    ]
    return {
        "suite": report.suite,
        "systems": tables,
        "normalised": [_all_finite(row) for row in normalised_rows(report)],
        "references": [_all_finite(row) for row in reference_rows(report)],
        "prices": [_all_finite(row) for row in price_rows(report)],
        "what_mattered": [_all_finite(row) for row in mattered_rows(report)],
        "pictures": [
            {"path": picture.path.as_posix(), "run": picture.run, "caption": picture.caption}
            for picture in report.pictures
        ],
        "notes": list(report.notes),
    }


def write_csv(file: IO[bytes], rows: list[dict[str, Any]]) -> None:
    """Writes the rows; null is an empty cell, and what a spreadsheet would take for a formula has a `'` before it."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows({name: _no_formula(value) for name, value in row.items()} for row in rows)
    file.write(text.getvalue().encode())


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def write_parquet(file: IO[bytes], rows: list[dict[str, Any]]) -> None:
    """Writes the rows, each column with one type.

    Raises:
        ImportError: pyarrow is not installed.
    """
    import pyarrow
    import pyarrow.parquet

    names = list(rows[0]) if rows else []
    columns = {name: _one_type([row[name] for row in rows]) for name in names}
    pyarrow.parquet.write_table(pyarrow.table(columns), file)


def _table_rows(table: Table) -> Iterable[dict[str, Any]]:
    for row in table.rows:
        flat: dict[str, Any] = {}
        for column in table.columns:
            flat.update(zip(fields(column), field_values(column, row.values.get(column.name)), strict=True))
        yield flat


def _marked(label: str, run: RunResult) -> dict[str, Any]:
    return {"run_id": run.run_id, "label": label, "seed": run.seed, "marks": marks(run)}


def _flat_run(run: RunResult) -> dict[str, Any]:
    dumped = run.model_dump(exclude={"selected": {"__all__": {"selected_on"}}})
    dumped["selected"] = {
        choice.selected_on: rest for choice, rest in zip(run.selected, dumped["selected"], strict=True)
    }
    dumped["unavailable"] = dumped["unavailable"] or None
    dumped["elsewhere"] = run.elsewhere
    dumped["marks"] = ", ".join(marks(run)) or None
    flat: dict[str, Any] = {}
    _flatten(dumped, "", flat)
    return flat


def _flatten(mapping: dict[str, Any], prefix: str, into: dict[str, Any]) -> None:
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name != "unavailable":
            _flatten(value, f"{name}.", into)
        elif name not in _NOT_FLAT:
            into[name] = json.dumps(value) if isinstance(value, list | tuple | dict) else value


def _one_type(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]


def _all_finite(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
