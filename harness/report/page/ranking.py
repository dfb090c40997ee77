"""The page's table: a row for each config, a link for each of its runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from urllib.parse import quote

from harness.report.numbers.rows import Row
from harness.report.page.parts import Link, RankedColumn, RankedRow, Ranking
from harness.report.tables import Table
from harness.report.texts import one_line
from harness.results import columns as declared
from harness.results.columns import Column

MOST_ROWS = 400
MOST_RUNS = 12  # links of a row
SHOWN = 7  # columns at first


def ranking(table: Table, key: str, folder: str) -> Ranking:
    """Returns the table of one system.

    Args:
        key: of its element.
        folder: of the suite's results, from the page; empty or with a slash at its end.
    """
    columns = [(column, written) for column, written in zip(table.shown(), table.written(), strict=True)]
    columns = [one for one in columns if one[0].name not in ("on_front", "label")]
    first = {column.name for column, _ in sorted(columns, key=lambda one: one[1].priority)[:SHOWN]}
    kept = _kept(table)
    rows = []
    for row, index in kept:
        cells = tuple((written.cells[index], _value(row, column)) for column, written in columns)
        links = tuple(_links(row, folder))
        rows.append(
            RankedRow(
                one_line(row.label),
                bool(row.values["on_front"]),
                not row.ranked,
                cells,
                links[:MOST_RUNS],
                max(0, len(links) - MOST_RUNS),
            )
        )
    left = len(table.rows) - len(kept)
    return Ranking(
        key,
        f"{one_line(table.suite)} on {table.system}",
        tuple(RankedColumn(column.name, one.title, one.numeric, column.name in first) for column, one in columns),
        tuple(rows),
        f"{left:,} more configs are not on this page: table.csv and table.md have all {len(table.rows):,}."
        * (left > 0),
    )


def _kept(table: Table) -> list[tuple[Row, int]]:
    """Returns the rows that are shown, those of the front among them, with their places in the table."""
    every = [(row, index) for index, row in enumerate(table.rows)]
    if len(every) <= MOST_ROWS:
        return every
    wanted = sorted(every, key=lambda one: (not one[0].values["on_front"], one[1]))[:MOST_ROWS]
    return sorted(wanted, key=lambda one: one[1])


def _value(row: Row, column: Column) -> float | str | None:
    value = declared.number(row.values.get(column.name))
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    return None if value is None else one_line(str(value))


def _links(row: Row, folder: str) -> Iterator[Link]:
    for run in row.runs:
        place = f"{folder}{quote(run.run_id)}/{quote(run.system_id)}/"
        yield Link(f"seed {run.seed}", place, "" if run.status == "ok" else run.status)
