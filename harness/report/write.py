"""The report's files, in one folder."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Any

from harness.records.files import recording, require_writable, write_atomically
from harness.report.build import Report, Table
from harness.report.chart import accuracy_over_time, plotted
from harness.report.curve_lines import drawn
from harness.report.curves_chart import accuracy_curves
from harness.report.drawing import Drawing, Ending
from harness.report.interaction_chart import interactions, with_interactions
from harness.report.latex import latex
from harness.report.machine import (
    factor_rows,
    mattered_rows,
    normalised_rows,
    price_rows,
    reference_rows,
    run_rows,
    summary_rows,
    write_csv,
    write_parquet,
)
from harness.report.markdown import markdown

CHART = "accuracy_over_time"
CURVES = "curves"
INTERACTIONS = "interactions"
_Chart = Callable[[], Any]
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
    charts = _charts(report)
    drawing = _begin_drawing(charts, missing)  # first: it goes on in another process while the rest is written
    try:
        return _write_files(folder, report, drawing, charts if drawing else (), missing)
    finally:
        if drawing:
            drawing.end()


def _write_files(
    folder: Path, report: Report, drawing: Drawing | None, charts: Collection[str], missing: dict[str, list[str]]
) -> list[Path]:
    files: dict[str, Callable[[IO[bytes]], object]] = {
        "table.md": lambda file: file.write(
            markdown(report, _charts_of(CURVES, report, charts), _charts_of(INTERACTIONS, report, charts)).encode()
        ),
        "table.tex": lambda file: file.write(latex(report).encode()),
    }
    records = {"table": summary_rows(report), "runs": run_rows(report)}
    beside = {
        "references": reference_rows(report),
        "factors": factor_rows(report),
        "what_mattered": mattered_rows(report),
        "prices": price_rows(report),
        "normalised": normalised_rows(report),
    }
    records |= {name: rows for name, rows in beside.items() if rows}
    files |= {f"{name}.csv": functools.partial(write_csv, rows=rows) for name, rows in records.items()}
    files |= {f"{name}.parquet": functools.partial(write_parquet, rows=rows) for name, rows in records.items()}
    if drawing:
        for name in charts:
            for ending in _endings(name):
                files[f"{name}.{ending}"] = functools.partial(drawing.write, name=name, ending=ending)
    stems, endings = (CHART, CURVES, INTERACTIONS), ("png", "svg", "html")
    pictures = [path for stem in stems for end in endings for path in folder.glob(f"{stem}*.{end}")]
    earlier = [*pictures, *(folder / f"{name}.{end}" for name in beside for end in _ENDINGS)]
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


def _begin_drawing(charts: Mapping[str, _Chart], missing: dict[str, list[str]]) -> Drawing | None:
    """Begins to draw what there is; names the files that a missing library leaves out."""
    if not charts:
        return None
    try:
        return Drawing(charts)
    except ImportError as error:
        missing[error.name or str(error)] = [f"{name}.{ending}" for name in charts for ending in _endings(name)]
        return None


def _charts(report: Report) -> dict[str, _Chart]:
    """Returns what makes each chart, by its file's name without the ending."""
    wanted = [(CHART, accuracy_over_time, table) for table in report.tables if plotted(table)]
    wanted += [(CURVES, accuracy_curves, table) for table in report.tables if drawn(table)]
    wanted += [(INTERACTIONS, interactions, table) for table in report.tables if with_interactions(table)]
    return {_file_name(stem, report, table): functools.partial(make, table) for stem, make, table in wanted}


def _endings(name: str) -> tuple[Ending, ...]:
    return ("png", "svg", "html") if name.startswith(CURVES) else ("png",)


def _charts_of(stem: str, report: Report, charts: Collection[str]) -> dict[str, str]:
    """Returns the name of each system's chart of a kind, by system_id."""
    names = {table.system_id: _file_name(stem, report, table) for table in report.tables}
    return {system_id: name for system_id, name in names.items() if name in charts}


def _file_name(stem: str, report: Report, table: Table) -> str:
    suffix = f"_{re.sub(r'[^A-Za-z0-9._-]', '_', table.system_id)}" if len(report.tables) > 1 else ""
    return f"{stem}{suffix}"
