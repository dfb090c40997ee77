"""Which columns stand in a table of a given width."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len

from harness.report.texts import Written

LEAST_LABEL = 16


@dataclass(frozen=True)
class Fitted:
    """A column and the width it gets."""

    column: Written
    width: int


def fit(columns: Iterable[Written], width: int, gap: int) -> tuple[list[Fitted], list[Written]]:
    """Chooses the most important columns that fit, in their usual order, and those left out.

    A column is never cut; only the label may fold, and gets at least two fifths of the width where it needs them.
    Columns of the config come last, as the label usually tells them.
    """
    fitted = {column.name: _natural(column) for column in columns}
    label = fitted["label"]
    label_least = min(label.width, max(LEAST_LABEL, width * 2 // 5))
    room = width - label_least
    kept: set[str] = {"label"}
    for one in sorted(fitted.values(), key=lambda one: one.column.priority):
        essential = one.column.priority <= 2
        if one.column.name != "label" and (essential or one.width + gap <= room):
            kept.add(one.column.name)
            room -= one.width + gap
    label_width = max(min(label.width, LEAST_LABEL), min(label.width, label_least + room))
    fitted["label"] = Fitted(label.column, label_width)
    return (
        [one for name, one in fitted.items() if name in kept],
        [one.column for name, one in fitted.items() if name not in kept],
    )


def _natural(column: Written) -> Fitted:
    """A heading may break between words, a cell may not."""
    words = max((cell_len(word) for word in column.title.split()), default=1)
    return Fitted(column, max([words, *map(cell_len, column.cells)]))
