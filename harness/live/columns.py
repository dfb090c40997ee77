"""Cells under each other, as lines of text: as many lines as rows, never wider than there is room."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

GAP = 2
LEAST_NAME = 12


def lay_out(rows: Sequence[Sequence[Text]], width: int, *, name: int, optional: Sequence[int] = ()) -> list[Text]:
    """Returns a line for each row.

    Args:
        rows: of cells, all of one length.
        width: in columns of the terminal.
        name: the column that is aligned left and cut first; those after it are numbers, aligned right.
        optional: columns that are left out where the name would be cut below a dozen characters, in this order.
    """
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    kept = list(range(len(widths)))
    for column in (*optional, *reversed(range(name + 1, len(widths)))):
        if _room_for_name(widths, kept, name, width) >= min(widths[name], LEAST_NAME):
            break
        if column in kept:
            kept.remove(column)
    widths[name] = max(1, min(widths[name], _room_for_name(widths, kept, name, width)))
    return [_line([row[column] for column in kept], [widths[column] for column in kept], kept, name) for row in rows]


def _room_for_name(widths: list[int], kept: list[int], name: int, width: int) -> int:
    return width - sum(widths[column] + GAP for column in kept if column != name)


def _line(cells: list[Text], widths: list[int], kept: list[int], name: int) -> Text:
    line = Text(no_wrap=True, overflow="crop")
    for place, (cell, width, column) in enumerate(zip(cells, widths, kept, strict=True)):
        cell = cell.copy()
        cell.truncate(width, overflow="ellipsis")
        space = " " * (width - cell.cell_len)
        parts = (cell, space) if column <= name else (space, cell)
        line.append(" " * GAP if place else "")
        for part in parts:
            line.append(part)
    line.rstrip()
    return line
