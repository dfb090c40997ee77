"""The tables for programs: CSV and JSON, with every column that docs/columns.md defines."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.records.comparable import marks
from harness.report.tables import Report, Table
from harness.results.columns import field_values, fields

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet's formula begins with


def rows_of_files(report: Report) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of each CSV file by its name: flat mappings, those of a file all with the same keys.

    `table` has one per config and system, in the order of the tables, `references` one per published number and system,
    `what_mattered` one per effect, number and system, `prices` one per step along a front and system; without a
    table of that kind there is none.
    """
    found: dict[str, list[dict[str, Any]]] = {"table": summary_rows(report)}
    for name, of in (("references", "published"), ("what_mattered", "mattered"), ("prices", "prices")):
        found[name] = []
        for table in report.tables:
            named = {"system_id": table.system_id, "system": table.rows[0].values["system"]}
            beside = getattr(table, of)
            found[name] += [named | record for record in beside.records] if beside else []
    return found


def summary_rows(report: Report) -> list[dict[str, Any]]:
    """Returns the rows of `table.csv`."""
    return [row for table in report.tables for row in _table_rows(table)]


def as_json(report: Report) -> dict[str, Any]:
    """Returns the report for `--json`; a number that is not finite becomes null, as JSON has none."""
    rows = rows_of_files(report)
    return {
        "suite": report.suite,
        "systems": [
            {
                "system_id": table.system_id,
                "system": table.system,
                "calibration": table.calibration.model_dump(mode="json") if table.calibration else None,
                "configs": _all_finite(_table_rows(table)),
                "drift": table.drift and dataclasses.asdict(table.drift),
                "marked": [
                    {"run_id": run.run_id, "label": row.label, "seed": run.seed, "marks": marks(run)}
                    for row in table.rows
                    for run in row.ok
                    if marks(run)
                ],
                "answer": list(table.answer),
                "cautions": list(table.cautions),
                "notes": list(table.notes),
            }
            for table in report.tables
        ],
        **{name: _all_finite(rows[name]) for name in ("references", "prices", "what_mattered")},
        "pictures": [
            {"path": picture.path.as_posix(), "run": picture.run, "caption": picture.caption}
            for picture in report.pictures
        ],
        "notes": list(report.notes),
    }


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Returns the values of each column of rows with the same keys."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def as_csv(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Returns a table as CSV: null is an empty cell; what a spreadsheet would run has a `'` before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*map(_no_formulas, columns.values()), strict=True))
    return text.getvalue().encode()


def _no_formulas(values: Sequence[Any]) -> Sequence[Any]:
    if str not in set(map(type, values)):
        return values
    return [f"'{one}" if isinstance(one, str) and one.startswith(_FORMULA) else one for one in values]


def _table_rows(table: Table) -> Iterator[dict[str, Any]]:
    for row in table.rows:
        flat: dict[str, Any] = {}
        for column in table.columns:
            flat.update(zip(fields(column), field_values(column, row.values.get(column.name)), strict=True))
        yield flat


def _all_finite(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in rows
    ]
