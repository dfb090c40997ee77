"""The report's files, in one folder."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO

from harness.records.files import recording, require_writable, write_atomically
from harness.report.charts.accuracy_over_time import accuracy_over_time
from harness.report.charts.curves import curves
from harness.report.charts.drawing import Chart, Drawing, Ending
from harness.report.charts.interactions import interactions
from harness.report.formats.latex import latex
from harness.report.formats.machine import (
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
from harness.report.formats.markdown import markdown
from harness.report.tables import Report, Table

CHART = "accuracy_over_time"
CURVES = "curves"
INTERACTIONS = "interactions"
_CHARTS: dict[str, Callable[[Table], Chart | None]] = {
    CHART: accuracy_over_time,
    CURVES: curves,
    INTERACTIONS: interactions,
}
_ENDINGS = ("csv", "parquet")
# What an import is called, and what installs it.
_PACKAGES = {"vl_convert": "vl-convert-python"}


def write_report(folder: Path, report: Report) -> list[Path]:
    """Writes all files of a report; see `ReportFiles`."""
    with ReportFiles(report) as files:
        return files.write(folder)


class ReportFiles:
    """The files of a report, whose charts are being drawn from here on until the context ends."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._missing: dict[str, list[str]] = {}
        self._charts = _charts(report)
        self._drawing: Drawing | None = None
        if self._charts:
            try:
                self._drawing = Drawing(self._charts)
            except ImportError as error:
                names = [f"{name}.{ending}" for name in self._charts for ending in _endings(name)]
                self._missing[error.name or str(error)] = names

    def __enter__(self) -> ReportFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawing:
            self._drawing.end()

    def write(self, folder: Path) -> list[Path]:
        """Writes all files and returns those that were written.

        What needs a library that is missing is named on stderr; the rest is written all the same. Charts and
        tables of an earlier report that this one does not have are removed.

        Raises:
            HarnessError: the folder cannot be written.
        """
        require_writable(folder)
        return _write_files(folder, self._report, self._drawing, self._charts if self._drawing else (), self._missing)


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


def _charts(report: Report) -> dict[str, Chart]:
    """Returns each chart, by its file's name without the ending."""
    made = {_file_name(stem, report, table): make(table) for stem, make in _CHARTS.items() for table in report.tables}
    return {name: chart for name, chart in made.items() if chart}


def _endings(name: str) -> tuple[Ending, ...]:
    return ("png", "svg", "html") if name.startswith(CURVES) else ("png",)


def _charts_of(stem: str, report: Report, charts: Collection[str]) -> dict[str, str]:
    """Returns the name of each system's chart of a kind, by system_id."""
    names = {table.system_id: _file_name(stem, report, table) for table in report.tables}
    return {system_id: name for system_id, name in names.items() if name in charts}


def _file_name(stem: str, report: Report, table: Table) -> str:
    suffix = f"_{re.sub(r'[^A-Za-z0-9._-]', '_', table.system_id)}" if len(report.tables) > 1 else ""
    return f"{stem}{suffix}"
