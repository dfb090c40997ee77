"""The answer and the table in a terminal, and in a pipe."""

from __future__ import annotations

import os
from collections.abc import Container, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from harness.counted import counted
from harness.report.formats.fitting import Fitted, fit
from harness.report.tables import Report, Table
from harness.report.texts import Beside, Written, notes_under, one_line

PIPE_WIDTH = 160
MOST_ROWS = 100  # more would scroll the best ones, which stand first, out of sight
MOST_CAUTIONS = 3
LEAST_ROWS = 3  # of a table, however small the terminal is
AROUND = 4  # lines: what is hidden, the files, and the prompt that follows
_GAP = 2  # one space of padding, and one that the box puts between columns


def show(report: Report, console: Console | None = None, *, explain: bool = False) -> None:
    """Writes to stdout, as wide as the terminal is: the answer, the table, and what could change a decision.

    Of a long table it writes the rows that the terminal has room for, the best and those on the front first; the files
    have every row. NO_COLOR is respected.

    Args:
        explain: also all columns' notes, and the tables of effects, prices and published numbers.
    """
    console = console or console_of()
    for table in report.tables:
        _show_answer(table, report.notes, console, explain=explain, alone=len(report.tables) == 1)
        if explain:
            _show_beside(table.beside(), console)
    _show_beside([report.normalised] if report.normalised else [], console)
    if not report.tables:
        _show_notes(report.notes, console)
    if explain and report.pictures:
        runs = len({picture.run for picture in report.pictures})
        _show_notes([f"Pictures: {len(report.pictures)}, of {counted(runs, 'run')}; table.md shows them."], console)


def _show_answer(table: Table, more: Sequence[str], console: Console, *, explain: bool, alone: bool) -> None:
    front = {index for index, row in enumerate(table.rows) if row.values["on_front"]}
    styles = ["bold green" if index in front else "" if row.ranked else "dim" for index, row in enumerate(table.rows)]
    title = Text(one_line(f"{table.suite} on {table.system}"), style="bold")
    sentences = [Text(one_line(sentence)) for sentence in table.answer]
    cautions = [*table.cautions, *more]
    notes = [*cautions, *table.notes] if explain else cautions[:MOST_CAUTIONS]
    if not explain and len(cautions) > MOST_CAUTIONS:
        notes.append(f"{counted(len(cautions) - MOST_CAUTIONS, 'more note')} of this kind in table.md.")
    for line in (title, *sentences):
        console.print(line)
    room = None
    if console.is_terminal and alone and not explain:
        used = sum(len(console.render_lines(line)) for line in (title, *sentences, *map(Text, map(one_line, notes))))
        room = max(LEAST_ROWS, console.height - used - AROUND)
    _show_table("", table.written(), styles, notes, console, always=front, room=room, with_column_notes=explain)


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
    *,
    room: int | None = None,
    with_column_notes: bool = True,
) -> None:
    """Writes a table and its notes.

    Args:
        always: rows that are shown before others, however many stand before them.
        room: lines for header and rows; None for as many as `MOST_ROWS` take.
    """
    rows = [index for index in range(len(styles)) if index < MOST_ROWS or index in always]
    fitted, left_out = fit(columns, console.width, _GAP)
    if room is not None:
        header = max((len(Text(one.column.title).wrap(console, one.width)) for one in fitted), default=1) + 1
        rows = _within(rows, room - header, fitted, console, always)
    grid = RichTable(
        title=Text(one_line(title), style="bold") if title else None,
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
    for index in rows:
        grid.add_row(*(Text(one.column.cells[index]) for one in fitted), style=styles[index])
    console.print(grid)
    _show_notes(notes_under([one.column for one in fitted], notes) if with_column_notes else notes, console)
    hidden = [counted(len(styles) - len(rows), "more row")] if len(rows) < len(styles) else []
    hidden += [counted(len(left_out), "more column")] if left_out else []
    if hidden:
        _show_notes([f"{' and '.join(hidden)} in {all_in}, or in a larger terminal."], console)
    if with_column_notes:
        console.print()


def _within(
    rows: Sequence[int], room: int, fitted: Sequence[Fitted], console: Console, always: Container[int]
) -> list[int]:
    """Returns the rows that have room: the first ones, then those on the front, then the others in their order."""
    label = next(one for one in fitted if one.column.name == "label")
    kept: list[int] = []
    for index in sorted(rows, key=lambda row: (row >= LEAST_ROWS, row not in always, row)):
        room -= len(Text(label.column.cells[index]).wrap(console, label.width))
        if room < 0 and len(kept) >= LEAST_ROWS:
            break
        kept.append(index)
    return sorted(kept)


def _show_notes(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        console.print(Text(one_line(note)), style="dim")
