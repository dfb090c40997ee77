"""Which columns stand in a table of a given width."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from harness.report.build import Table
from harness.report.columns import Column
from harness.report.texts import column_texts

LEAST_LABEL = 16


@dataclass(frozen=True)
class Fitted:
    """A column with its cells and the width it gets."""

    column: Column
    cells: list[str]
    width: int


def fit(table: Table, width: int, gap: int) -> tuple[list[Fitted], list[Column]]:
    """Chooses the most important columns that fit, in their usual order, and those left out.

    A column is never cut; only the label may fold, and gets at least two fifths of the width where it needs them.
    Columns of the config come last, as the label usually tells them.
    """
    fitted = {column.name: _natural(column, column_texts(column, table.cells(column))) for column in table.shown()}
    label = fitted["label"]
    label_least = min(label.width, max(LEAST_LABEL, width * 2 // 5))
    room = width - label_least
    kept: set[str] = {"label"}
    for one in sorted(fitted.values(), key=lambda one: one.column.priority or 0):
        essential = (one.column.priority or 0) <= 2
        if one.column.name != "label" and (essential or one.width + gap <= room):
            kept.add(one.column.name)
            room -= one.width + gap
    label_width = max(min(label.width, LEAST_LABEL), min(label.width, label_least + room))
    fitted["label"] = Fitted(label.column, label.cells, label_width)
    return (
        [one for name, one in fitted.items() if name in kept],
        [one.column for name, one in fitted.items() if name not in kept],
    )


def _natural(column: Column, cells: list[str]) -> Fitted:
    """A heading may break between words, a cell may not."""
    words = max((cell_len(word) for word in column.title.split()), default=1)
    return Fitted(column, cells, max(words, *map(cell_len, cells)))
