"""A report as text: its tables as GitHub Markdown and LaTeX; for programs CSV and JSON, with every column."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from harness.records.comparable import marks
from harness.report.tables import Report, Table
from harness.report.texts import FRONT, TextTable, fit, one_line
from harness.results.columns import fields

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet's formula begins with
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


def markdown(report: Report, curves: Mapping[str, str] | None = None) -> str:
    """Returns a section per system: its tables, and the notes of each as a list.

    Args:
        curves: the name of each system's chart of curves, without its ending, by system_id.
    """
    parts = [f"# {_escaped(report.suite)}"]
    for table in report.tables:
        parts.append(f"## {_escaped(table.system)}")
        parts.append(" ".join(map(_escaped, table.answer)))
        parts.append("\n".join(_section(table.ranking)))
        if name := (curves or {}).get(table.system_id):
            chart = quote(name)
            parts.append(f"![Test accuracy over train time]({chart}.png)\n\nThe same as [SVG]({chart}.svg).")
        parts += ["\n".join(_section(one, "###")) for one in table.beside()]
    if report.pictures:
        parts.append("## Pictures")
    for picture in report.pictures:
        place = quote(f"{'../' * bool(report.place)}{picture.path.as_posix()}")
        parts.append(
            f"{_escaped(picture.run)}: {_escaped(picture.caption)}\n\n![{_escaped(picture.path.stem)}]({place})"
        )
    if report.notes:
        parts.append("\n".join(f"- {_escaped(note)}" for note in report.notes))
    return "\n\n".join(parts) + "\n"


def _section(table: TextTable, heading: str = "") -> Iterator[str]:
    if heading:
        yield f"{heading} {_escaped(table.title)}\n"
    yield _line(_all_escaped([column.title for column in table.columns]))
    yield f"|{'|'.join('---:' if column.numeric else ':---' for column in table.columns)}|"
    yield from map(_line, zip(*(_all_escaped(column.cells) for column in table.columns), strict=True))
    yield ""
    yield from (f"- {_escaped(note)}" for note in table.notes)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _all_escaped(texts: Sequence[str]) -> list[str]:
    """Returns each text escaped; a table has tens of thousands, and one call for all is faster."""
    return _as_markdown("\n".join(map(one_line, texts))).split("\n") if texts else []


def _escaped(text: str) -> str:
    return _as_markdown(one_line(text))


def _as_markdown(text: str) -> str:
    entities = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*\[\]|~$])", r"\\\1", entities)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)  # inside a word it does not emphasise


def latex(report: Report) -> str:
    """Returns a tabular for each table of each system, with the columns that a page has room for."""
    tables = [one for table in report.tables for one in (table.ranking, *table.beside())]
    head = "% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}."
    return "\n\n".join([head, *("\n".join(_tabular(one)) for one in tables), *map(_comment, report.notes)]) + "\n"


def _tabular(table: TextTable) -> Iterator[str]:
    kept = [column for column, _ in fit(table.columns, PAGE_WIDTH, gap=2)[0]]
    yield _comment(table.title)
    yield f"\\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in kept)}}}"
    yield "\\toprule"
    yield _latex_line([column.title for column in kept])
    yield "\\midrule"
    yield from map(_latex_line, zip(*(column.cells for column in kept), strict=True))
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield from map(_comment, table.notes)


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(_latex_escaped(cell) for cell in cells) + r" \\"


def _latex_escaped(text: str) -> str:
    escaped = _PATTERN.sub(lambda match: _SPECIAL[match.group()], one_line(text))
    # After a row's `\\`, LaTeX would read a bracket as an option.
    return f"{{{escaped}}}" if escaped.startswith(("[", "*")) else escaped


def _comment(text: str) -> str:
    return f"% {one_line(text)}"


def rows_of_files(report: Report) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of each CSV file by its name: flat mappings, those of a file all with the same keys.

    `table` has one per config and system, in the order of the tables, `references` one per published number and system,
    `what_mattered` one per effect, number and system, `prices` one per step along a front and system; without a
    table of that kind there is none.
    """
    found: dict[str, list[dict[str, Any]]] = {"table": summary_rows(report)}
    for name, of in (("references", "published"), ("what_mattered", "mattered"), ("prices", "prices")):
        found[name] = []
        for table in report.tables:
            named = {"system_id": table.system_id, "system": table.rows[0].values["system"]}
            beside = getattr(table, of)
            found[name] += [named | record for record in beside.records] if beside else []
    return found


def summary_rows(report: Report) -> list[dict[str, Any]]:
    """Returns the rows of `table.csv`."""
    return [row for table in report.tables for row in _table_rows(table)]


def as_json(report: Report) -> dict[str, Any]:
    """Returns the report for `--json`; a number that is not finite becomes null, as JSON has none."""
    rows = rows_of_files(report)
    return {
        "suite": report.suite,
        "systems": [
            {
                "system_id": table.system_id,
                "system": table.system,
                "calibration": table.calibration.model_dump(mode="json") if table.calibration else None,
                "configs": _all_finite(_table_rows(table)),
                "drift": table.drift and dataclasses.asdict(table.drift),
                "marked": [
                    {"run_id": run.run_id, "label": row.label, "seed": run.seed, "marks": marks(run)}
                    for row in table.rows
                    for run in row.ok
                    if marks(run)
                ],
                "answer": list(table.answer),
                "race": _all_finite(table.race.records) if table.race else None,
                "cautions": list(table.cautions),
                "notes": list(table.notes),
            }
            for table in report.tables
        ],
        **{name: _all_finite(rows[name]) for name in ("references", "prices", "what_mattered")},
        "pictures": [
            {"path": picture.path.as_posix(), "run": picture.run, "caption": picture.caption}
            for picture in report.pictures
        ],
        "notes": list(report.notes),
    }


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Returns the values of each column of rows with the same keys."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def as_csv(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Returns a table as CSV: null is an empty cell; what a spreadsheet would run has a `'` before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*map(_no_formulas, columns.values()), strict=True))
    return text.getvalue().encode()


def _no_formulas(values: Sequence[Any]) -> Sequence[Any]:
    if str not in set(map(type, values)):
        return values
    return [f"'{one}" if isinstance(one, str) and one.startswith(_FORMULA) else one for one in values]


def _table_rows(table: Table) -> Iterator[dict[str, Any]]:
    for row in table.rows:
        flat: dict[str, Any] = {}
        for column in table.columns:
            flat |= fields(column, row.values.get(column.name))
        yield flat


def _all_finite(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in rows
    ]
