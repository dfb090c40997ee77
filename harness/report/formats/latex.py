"""The tables as LaTeX, to be put into a float of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from harness.report.tables import Report
from harness.report.texts import FRONT, Beside, fit, notes_under, one_line

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
    """Returns a tabular for each table of each system, with the columns that a page has room for."""
    tables = [one for table in report.tables for one in (table.ranking, *table.beside())]
    head = "% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}."
    return "\n\n".join([head, *("\n".join(_tabular(one)) for one in tables), *map(_comment, report.notes)]) + "\n"


def _tabular(table: Beside) -> Iterator[str]:
    kept = [column for column, _ in fit(table.columns, PAGE_WIDTH, gap=2)[0]]
    yield _comment(table.title)
    yield f"\\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in kept)}}}"
    yield "\\toprule"
    yield _line([column.title for column in kept])
    yield "\\midrule"
    yield from map(_line, zip(*(column.cells for column in kept), strict=True))
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield from map(_comment, notes_under(kept, table.notes))


def _line(cells: Sequence[str]) -> str:
    return " & ".join(_escaped(cell) for cell in cells) + r" \\"


def _escaped(text: str) -> str:
    escaped = _PATTERN.sub(lambda match: _SPECIAL[match.group()], one_line(text))
    # After a row's `\\`, LaTeX would read a bracket as an option.
    return f"{{{escaped}}}" if escaped.startswith(("[", "*")) else escaped


def _comment(text: str) -> str:
    return f"% {one_line(text)}"
