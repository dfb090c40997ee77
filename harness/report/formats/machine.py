"""The tables for programs: CSV and JSON, with every column that docs/columns.md defines."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from harness.records.comparable import marks
from harness.records.result import RunResult
from harness.report.tables import Report, Table
from harness.results.columns import field_values, fields

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet's formula begins with


def summary_rows(report: Report) -> list[dict[str, Any]]:
    """Returns one flat mapping per config and system, all with the same keys, in the order of the tables."""
    return [row for table in report.tables for row in _table_rows(table)]


def reference_rows(report: Report) -> list[dict[str, Any]]:
    """Returns one flat mapping per published number and system."""
    return [row for table in report.tables if table.published for row in table.published.records]


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


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Returns the values of each column of rows with the same keys."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def write_csv(file: IO[bytes], columns: Mapping[str, Sequence[Any]]) -> None:
    """Writes a table; null is an empty cell, and what a spreadsheet would take for a formula has a `'` before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*(map(_no_formula, values) for values in columns.values()), strict=True))
    file.write(text.getvalue().encode())


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _table_rows(table: Table) -> Iterable[dict[str, Any]]:
    for row in table.rows:
        flat: dict[str, Any] = {}
        for column in table.columns:
            flat.update(zip(fields(column), field_values(column, row.values.get(column.name)), strict=True))
        yield flat


def _marked(label: str, run: RunResult) -> dict[str, Any]:
    return {"run_id": run.run_id, "label": label, "seed": run.seed, "marks": marks(run)}


def _all_finite(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
