"""The report's files, in one folder."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO

from harness.records.files import recording, require_writable, write_atomically
from harness.report.build import Report, Table
from harness.report.chart import Drawing, accuracy_over_time, plotted
from harness.report.interaction_chart import interactions, with_interactions
from harness.report.latex import latex
from harness.report.machine import (
    factor_rows,
    mattered_rows,
    reference_rows,
    run_rows,
    summary_rows,
    write_csv,
    write_parquet,
)
from harness.report.markdown import markdown

CHART = "accuracy_over_time"
INTERACTIONS = "interactions"
_ENDINGS = ("csv", "parquet")
# What an import is called, and what installs it.
_PACKAGES = {"vl_convert": "vl-convert-python"}


def write_report(folder: Path, report: Report) -> list[Path]:
    """Writes all files of the report and returns those that were written.

    What needs a library that is missing is named on stderr; the rest is written all the same. Charts and
    tables of an earlier report that this one does not have are removed.

    Raises:
        HarnessError: the folder cannot be written.
    """
    require_writable(folder)
    missing: dict[str, list[str]] = {}
    drawings = _begin_drawing(report, missing)  # first: it goes on in other processes while the rest is written
    try:
        return _write_files(folder, report, drawings, missing)
    finally:
        for drawing in drawings.values():
            drawing.end()


def _write_files(
    folder: Path, report: Report, drawings: dict[str, Drawing], missing: dict[str, list[str]]
) -> list[Path]:
    files: dict[str, Callable[[IO[bytes]], object]] = {
        "table.md": lambda file: file.write(markdown(report, _interactions_of(report, drawings)).encode()),
        "table.tex": lambda file: file.write(latex(report).encode()),
    }
    records = {"table": summary_rows(report), "runs": run_rows(report)}
    beside = {"references": reference_rows(report), "factors": factor_rows(report)}
    beside["what_mattered"] = mattered_rows(report)
    records |= {name: rows for name, rows in beside.items() if rows}
    files |= {f"{name}.csv": functools.partial(write_csv, rows=rows) for name, rows in records.items()}
    files |= {f"{name}.parquet": functools.partial(write_parquet, rows=rows) for name, rows in records.items()}
    files |= {name: drawing.write for name, drawing in drawings.items()}
    charts = [path for name in (CHART, INTERACTIONS) for path in folder.glob(f"{name}*.png")]
    earlier = [*charts, *(folder / f"{name}.{end}" for name in beside for end in _ENDINGS)]
    for path in earlier:
        if path.name not in files:
            path.unlink(missing_ok=True)  # an earlier report's would contradict the other files

    written: list[Path] = []
    for name, write in files.items():
        try:
            with recording(folder):
                write_atomically(folder / name, write)
        except ImportError as error:
            (folder / name).unlink(missing_ok=True)
            missing.setdefault(error.name or str(error), []).append(name)
        else:
            written.append(folder / name)
    if missing:
        names = ", ".join(name for files in missing.values() for name in files)
        packages = " ".join(sorted({_PACKAGES.get(name.split(".")[0], name.split(".")[0]) for name in missing}))
        sys.stderr.write(f"not written: {names}\nhint: pip install {packages}\n")
    return written


def _begin_drawing(report: Report, missing: dict[str, list[str]]) -> dict[str, Drawing]:
    drawings: dict[str, Drawing] = {}
    wanted = [(CHART, accuracy_over_time, table) for table in report.tables if plotted(table)]
    wanted += [(INTERACTIONS, interactions, table) for table in report.tables if with_interactions(table)]
    for stem, chart, table in wanted:
        name = _file_name(stem, report, table)
        try:
            drawings[name] = Drawing(chart(table))
        except ImportError as error:
            missing.setdefault(error.name or str(error), []).append(name)
    return drawings


def _interactions_of(report: Report, drawings: Collection[str]) -> dict[str, str]:
    """Returns the file of each system's interaction chart, by system_id."""
    names = {table.system_id: _file_name(INTERACTIONS, report, table) for table in report.tables}
    return {system_id: name for system_id, name in names.items() if name in drawings}


def _file_name(stem: str, report: Report, table: Table) -> str:
    suffix = f"_{re.sub(r'[^A-Za-z0-9._-]', '_', table.system_id)}" if len(report.tables) > 1 else ""
    return f"{stem}{suffix}.png"
