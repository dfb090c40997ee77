"""The tables as LaTeX, to be put into a float of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.report.build import Report, Table
from harness.report.fitting import fit
from harness.report.texts import FRONT, one_line

PAGE_WIDTH = 110
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"\ensuremath{\pm}",
    FRONT: r"\ensuremath{\star}",
    "…": r"\ldots{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}
_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))


def latex(report: Report) -> str:
    """Returns a tabular per system, with the columns that a page has room for."""
    head = "% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}."
    parts = [head, *("\n".join(_tabular(table)) for table in report.tables)]
    parts += [_comment(note) for note in report.notes]
    return "\n\n".join(parts) + "\n"


def _tabular(table: Table) -> Iterator[str]:
    columns, _ = fit(table, PAGE_WIDTH, gap=2)
    yield _comment(f"{table.suite} on {table.system}")
    yield f"\\begin{{tabular}}{{{''.join('l' if one.column.kind in ('text', 'flag') else 'r' for one in columns)}}}"
    yield "\\toprule"
    yield _line([one.column.title for one in columns])
    yield "\\midrule"
    yield from (_line(list(cells)) for cells in zip(*(one.cells for one in columns), strict=True))
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield from map(_comment, table.notes)


def _line(cells: list[str]) -> str:
    return " & ".join(_escaped(cell) for cell in cells) + r" \\"


def _escaped(text: str) -> str:
    escaped = _PATTERN.sub(lambda match: _SPECIAL[match.group()], one_line(text))
    # After a row's `\\`, LaTeX would read a bracket as an option.
    return f"{{{escaped}}}" if escaped.startswith(("[", "*")) else escaped


def _comment(text: str) -> str:
    return f"% {one_line(text)}"
