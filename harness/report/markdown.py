"""The tables as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.report.build import Report, Table
from harness.report.texts import column_texts, one_line


def markdown(report: Report) -> str:
    """Returns a section per system: its table, and the notes as a list."""
    parts = [f"# {_escaped(report.suite)}"]
    parts += ["\n".join(_section(table)) for table in report.tables]
    if report.notes:
        parts.append("\n".join(f"- {_escaped(note)}" for note in report.notes))
    return "\n\n".join(parts) + "\n"


def _section(table: Table) -> Iterator[str]:
    columns = table.shown()
    texts = [column_texts(column, table.cells(column)) for column in columns]
    yield f"## {_escaped(table.system)}\n"
    yield _line([column.title for column in columns])
    yield f"|{'|'.join(':---' if column.kind in ('text', 'flag') else '---:' for column in columns)}|"
    yield from (_line(list(cells)) for cells in zip(*texts, strict=True))
    yield ""
    yield from (f"- {_escaped(note)}" for note in table.notes)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    entities = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*\[\]|~$])", r"\\\1", entities)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)  # inside a word it does not emphasise
