"""The tables in a terminal, and in a pipe."""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from harness.counted import counted
from harness.report.formats.fitting import fit
from harness.report.tables import Report
from harness.report.texts import Beside, Written, notes_under, one_line

PIPE_WIDTH = 160
MOST_ROWS = 100  # more would scroll the best ones, which stand first, out of sight
_GAP = 2  # one space of padding, and one that the box puts between columns


def show(report: Report, console: Console | None = None) -> None:
    """Writes the tables to stdout, as wide as the terminal is; NO_COLOR is respected.

    Of a long table it writes the first rows, and all that are on the front; the files have every row.
    """
    console = console or console_of()
    for table in report.tables:
        front = {index for index, row in enumerate(table.rows) if row.values["on_front"]}
        styles = [
            "bold green" if index in front else "" if row.ranked else "dim" for index, row in enumerate(table.rows)
        ]
        title = f"{one_line(table.suite)} on {table.system}"
        _show_table(title, table.written(), styles, table.notes, console, always=front)
        _show_beside(table.beside(), console)
    _show_beside(report.beside(), console)
    _show_notes(report.notes, console)
    if report.pictures:
        runs = len({picture.run for picture in report.pictures})
        _show_notes([f"Pictures: {len(report.pictures)}, of {counted(runs, 'run')}; table.md shows them."], console)


def show_one(table: Beside, notes: Sequence[str], console: Console, all_in: str) -> None:
    """Writes a table that stands by itself, and notes below it, as `show` does.

    Args:
        all_in: where the columns are that a narrow terminal leaves out.
    """
    styles = ["dim" if faint else "" for faint in table.faint]
    _show_table(table.title, table.columns, styles, table.notes, console, all_in)
    _show_notes(notes, console)


def _show_beside(tables: Sequence[Beside], console: Console) -> None:
    for beside in tables:
        styles = ["dim" if faint else "" for faint in beside.faint]
        _show_table(beside.title, beside.columns, styles, beside.notes, console)


def console_of() -> Console:
    """Returns a console on stdout; a pipe gets a fixed width."""
    console = Console()
    narrow_pipe = not console.is_terminal and "COLUMNS" not in os.environ
    return Console(width=PIPE_WIDTH) if narrow_pipe else console


def _show_table(
    title: str,
    columns: Sequence[Written],
    styles: Sequence[str],
    notes: Sequence[str],
    console: Console,
    all_in: str = "table.md",
    always: Container[int] = (),
) -> None:
    """Writes a table and its notes; `always` are rows that are shown however many stand before them."""
    rows = [index for index in range(len(styles)) if index < MOST_ROWS or index in always]
    shown = [replace(column, cells=[column.cells[index] for index in rows]) for column in columns]
    fitted, left_out = fit(shown, console.width, _GAP)
    grid = RichTable(
        title=Text(one_line(title), style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - 1, 0, 0),
        header_style="bold",
    )
    for one in fitted:
        grid.add_column(
            Text(one.column.title),
            justify="right" if one.column.numeric else "left",
            vertical="top",
            overflow="fold",
            width=one.width,
        )
    for number, index in enumerate(rows):
        grid.add_row(*(Text(one.column.cells[number]) for one in fitted), style=styles[index])
    console.print(grid)
    _show_notes(notes_under([one.column for one in fitted], notes), console)
    if hidden := len(styles) - len(rows):
        _show_notes([f"{counted(hidden, 'more row')} in {all_in}."], console)
    if left_out:
        columns_there = f"{counted(len(left_out), 'more column')} in {all_in}"
        _show_notes([f"{columns_there}, or in a wider terminal."], console)
    console.print()


def _show_notes(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        console.print(Text(one_line(note)), style="dim")
