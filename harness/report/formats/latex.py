"""The tables as LaTeX, to be put into a float of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from harness.report.formats.fitting import fit
from harness.report.tables import Report
from harness.report.texts import FRONT, Written, notes_under, one_line

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
    head = "% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}."
    tabulars = []
    for table in report.tables:
        tabulars.append(_tabular(f"{table.suite} on {table.system}", table.written(), table.every_note))
        tabulars += [_tabular(beside.title, beside.columns, beside.notes) for beside in table.beside()]
    if beside := report.normalised:
        tabulars.append(_tabular(beside.title, beside.columns, beside.notes))
    parts = [head, *("\n".join(tabular) for tabular in tabulars), *(_comment(note) for note in report.notes)]
    return "\n\n".join(parts) + "\n"


def _tabular(title: str, columns: Sequence[Written], notes: Sequence[str]) -> Iterator[str]:
    kept = [one.column for one in fit(columns, PAGE_WIDTH, gap=2)[0]]
    yield _comment(title)
    yield f"\\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in kept)}}}"
    yield "\\toprule"
    yield _line([column.title for column in kept])
    yield "\\midrule"
    yield from (_line(list(cells)) for cells in zip(*(column.cells for column in kept), strict=True))
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield from map(_comment, notes_under(kept, notes))


def _line(cells: list[str]) -> str:
    return " & ".join(_escaped(cell) for cell in cells) + r" \\"


def _escaped(text: str) -> str:
    escaped = _PATTERN.sub(lambda match: _SPECIAL[match.group()], one_line(text))
    # After a row's `\\`, LaTeX would read a bracket as an option.
    return f"{{{escaped}}}" if escaped.startswith(("[", "*")) else escaped


def _comment(text: str) -> str:
    return f"% {one_line(text)}"
