"""The answer and the table in a terminal, and in a pipe."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from harness.counted import counted
from harness.report.tables import Report, Table
from harness.report.texts import TextTable, fit, one_line

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
        for beside in table.beside() if explain else ():
            show_one(beside, (), console, "table.md")
    if not report.tables:
        _show_notes(report.notes, console)
    if explain and report.pictures:
        runs = len({picture.run for picture in report.pictures})
        _show_notes([f"Pictures: {len(report.pictures)}, of {counted(runs, 'run')}; table.md shows them."], console)


def _show_answer(table: Table, more: Sequence[str], console: Console, *, explain: bool, alone: bool) -> None:
    ranking = table.ranking
    cautions = [*table.cautions, *more]
    notes = [*cautions, *table.every_note[len(table.cautions) :]] if explain else cautions[:MOST_CAUTIONS]
    if not explain and len(cautions) > MOST_CAUTIONS:
        notes.append(f"{counted(len(cautions) - MOST_CAUTIONS, 'more note')} of this kind in table.md.")
    lines = [Text(one_line(ranking.title), style="bold"), *(Text(one_line(sentence)) for sentence in table.answer)]
    for line in lines:
        console.print(line)
    room = None
    if console.is_terminal and alone and not explain:
        used = sum(len(console.render_lines(line)) for line in (*lines, *map(Text, map(one_line, notes))))
        room = max(LEAST_ROWS, console.height - used - AROUND)
    shown = dataclasses.replace(ranking, title="", notes=tuple(notes))
    front = {index for index, row in enumerate(table.rows) if row.values["on_front"]}
    _show_table(shown, console, front=front, room=room)
    if explain:
        console.print()


def show_one(table: TextTable, notes: Sequence[str], console: Console, all_in: str) -> None:
    """Writes a table that stands by itself, and notes below it, as `show` does.

    Args:
        all_in: where the columns are that a narrow terminal leaves out.
    """
    _show_table(table, console, all_in)
    console.print()
    _show_notes(notes, console)


def console_of() -> Console:
    """Returns a console on stdout; a pipe gets a fixed width."""
    console = Console()
    narrow_pipe = not console.is_terminal and "COLUMNS" not in os.environ
    return Console(width=PIPE_WIDTH) if narrow_pipe else console


def _show_table(
    table: TextTable,
    console: Console,
    all_in: str = "table.md",
    *,
    front: Collection[int] = (),
    room: int | None = None,
) -> None:
    """Writes a table and its notes.

    Args:
        front: rows that stand out, and are shown before others, however many stand before them.
        room: lines for header and rows; None for as many as `MOST_ROWS` take.
    """
    rows = [index for index in range(len(table.faint)) if index < MOST_ROWS or index in front]
    fitted, left_out = fit(table.columns, console.width, _GAP)
    if room is not None:
        header = max((len(Text(column.title).wrap(console, width)) for column, width in fitted), default=1) + 1
        [(labels, width)] = [(column.cells, width) for column, width in fitted if column.name == "label"]
        heights = {index: len(Text(labels[index]).wrap(console, width)) for index in rows}
        rows = _within(heights, room - header, front)
    grid = RichTable(
        title=Text(one_line(table.title), style="bold") if table.title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - 1, 0, 0),
        header_style="bold",
    )
    for column, width in fitted:
        grid.add_column(
            Text(column.title),
            justify="right" if column.numeric else "left",
            vertical="top",
            overflow="fold",
            width=width,
        )
    for index in rows:
        style = "bold green" if index in front else "dim" if table.faint[index] else ""
        grid.add_row(*(Text(column.cells[index]) for column, _ in fitted), style=style)
    console.print(grid)
    _show_notes(table.notes, console)
    hidden = [counted(len(table.faint) - len(rows), "more row")] if len(rows) < len(table.faint) else []
    hidden += [counted(left_out, "more column")] if left_out else []
    if hidden:
        _show_notes([f"{' and '.join(hidden)} in {all_in}, or in a larger terminal."], console)


def _within(heights: dict[int, int], room: int, front: Collection[int]) -> list[int]:
    """Returns the rows that have room: the first ones, then those on the front, then the others in their order.

    Args:
        heights: of the rows, in lines.
    """
    kept: list[int] = []
    for index in sorted(heights, key=lambda row: (row >= LEAST_ROWS, row not in front, row)):
        room -= heights[index]
        if room < 0 and len(kept) >= LEAST_ROWS:
            break
        kept.append(index)
    return sorted(kept)


def _show_notes(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        console.print(Text(one_line(note)), style="dim")
