"""The report of a suite: one table per system, since run times of different systems share no ranking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.errors import HarnessError, nearest
from harness.records.result import RunResult
from harness.report import columns as declared
from harness.report.columns import Column
from harness.report.notes import same_in_all, table_notes
from harness.report.rows import Reference, Row, build_rows
from harness.report.texts import one_line

DEFAULT_SORT = "test_accuracy"


class PlannedConfig(Protocol):
    """A config of the plan."""

    @property
    def config_id(self) -> str: ...
    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class Table:
    """The configs of a suite on one system, ranked."""

    suite: str
    system_id: str
    system: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def shown(self) -> list[Column]:
        """Returns the columns that tell a reader something; the others are only in the files."""
        return [column for column in self.columns if column.priority is not None and self._tells(column)]

    def cells(self, column: Column) -> list[Any]:
        """Returns a column's values, a row each."""
        return [row.values.get(column.name) for row in self.rows]

    def _tells(self, column: Column) -> bool:
        cells = self.cells(column)
        if column.name == "on_front":
            return any(cells)
        if column.name == "peak_host_rss_bytes":
            on_device = ("peak_device_allocated_bytes", "peak_device_process_bytes")
            return not any(row.values[name] for row in self.rows for name in on_device) and any(cells)
        if column.priority in (declared.CONFIG_PRIORITY, declared.RAN_PRIORITY):
            return not same_in_all(self.rows, column)
        return any(cell is not None for cell in cells)


@dataclass(frozen=True)
class Report:
    """All that the renderings need."""

    suite: str
    tables: tuple[Table, ...]
    columns: tuple[Column, ...]
    runs: tuple[RunResult, ...]
    notes: tuple[str, ...]


def build_report(
    suite: str,
    results: Iterable[RunResult],
    systems: Mapping[str, Mapping[str, Any]],
    references: Mapping[str, Sequence[Reference]] | None = None,
    sort: str = DEFAULT_SORT,
    notes: Sequence[str] = (),
    planned: Sequence[PlannedConfig] = (),
) -> Report:
    """Makes the report of a suite.

    Args:
        systems: by system_id; `name` is the title of its table.
        references: published numbers by config_id.
        sort: a column's name; accuracies and throughputs descend, times and sizes ascend.
        notes: what to say under all tables, e.g. overrides or records that could not be read.
        planned: the configs of the suite, with their labels of today; may name a config more than once.

    Raises:
        HarnessError: there is no column named `sort`.
    """
    runs = tuple(results)
    labels = {config.config_id: config.label or config.config_id for config in planned}
    columns, rows = build_rows(runs, systems, references or {}, labels)
    sortable = declared.sortable(columns)
    if runs and sort not in sortable:
        raise HarnessError(f"cannot sort by '{sort}': no such column", nearest(sort, sortable))

    by_system: dict[str, list[Row]] = {}
    for row in rows:
        by_system.setdefault(row.system_id, []).append(row)
    names = {system_id: one_line(str(own[0].values["system"])) for system_id, own in by_system.items()}
    same_name = Counter(names.values())
    said = [column for column in columns if column.priority in (declared.CONFIG_PRIORITY, declared.RAN_PRIORITY)]
    said += [column for column in columns if column.name.endswith("_source")]
    tables = [
        Table(
            suite=suite,
            system_id=system_id,
            system=names[system_id] + (f" ({system_id})" if same_name[names[system_id]] > 1 else ""),
            columns=tuple(columns),
            rows=tuple(_ranked(own, sortable[sort])),
            notes=tuple(table_notes(own, said, labels)),
        )
        for system_id, own in sorted(by_system.items(), key=lambda item: (names[item[0]], item[0]))
    ]
    no_results = () if runs else (f"No results of {suite} yet.",)
    return Report(suite, tuple(tables), tuple(columns), runs, (*no_results, *notes))


def _ranked(rows: list[Row], column: Column) -> list[Row]:
    """Sorts the rows; those that are not ranked, and then those without a result, come last."""
    upwards = -1 if column.best == "high" else 1

    def place(row: Row) -> tuple[Any, ...]:
        value = declared.number(row.values.get(column.name))
        group = 0 if row.ranked else 1 if row.ok else 2
        if isinstance(value, int | float):
            return group, 0, upwards * value, "", row.label
        return group, 2 if value is None else 1, 0.0, str(value), row.label

    return sorted(rows, key=place)
