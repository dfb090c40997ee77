"""The tables in a terminal, and in a pipe."""

from __future__ import annotations

import os

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from harness.report.build import Report, Table
from harness.report.fitting import fit
from harness.report.texts import one_line

PIPE_WIDTH = 160
_GAP = 2  # one space of padding, and one that the box puts between columns


def show(report: Report, console: Console | None = None) -> None:
    """Writes the tables to stdout, as wide as the terminal is; NO_COLOR is respected."""
    console = console or _console()
    for table in report.tables:
        left_out = _show_table(table, console)
        notes = [*table.notes]
        if left_out:
            notes.append(f"{left_out} more columns in table.md, or in a wider terminal.")
        _show_notes(notes, console)
        console.print()
    _show_notes(report.notes, console)


def _console() -> Console:
    console = Console()
    narrow_pipe = not console.is_terminal and "COLUMNS" not in os.environ
    return Console(width=PIPE_WIDTH) if narrow_pipe else console


def _show_table(table: Table, console: Console) -> int:
    fitted, left_out = fit(table, console.width, _GAP)
    grid = RichTable(
        title=Text(f"{one_line(table.suite)} on {table.system}", style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - 1, 0, 0),
        header_style="bold",
    )
    for one in fitted:
        text = one.column.kind in ("text", "flag")
        grid.add_column(
            Text(one.column.title),
            justify="left" if text else "right",
            vertical="top",
            overflow="fold",
            width=one.width,
        )
    for index, row in enumerate(table.rows):
        style = "bold green" if row.values["on_front"] else "dim" if not row.ranked else ""
        grid.add_row(*(Text(one.cells[index]) for one in fitted), style=style)
    console.print(grid)
    return len(left_out)


def _show_notes(notes: list[str] | tuple[str, ...], console: Console) -> None:
    for note in notes:
        console.print(Text(one_line(note)), style="dim")
