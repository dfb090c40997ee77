"""The report's files, in one folder."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO

from harness.records.files import recording, require_writable, write_atomically
from harness.report.charts.chart import Chart
from harness.report.charts.drawing import Drawing
from harness.report.charts.of_report import CURVES, INTERACTIONS, Wanted, chart_name, charts_of, endings_of, stems
from harness.report.formats.latex import latex
from harness.report.formats.machine import (
    columns_of,
    mattered_rows,
    normalised_rows,
    price_rows,
    reference_rows,
    summary_rows,
    write_csv,
)
from harness.report.formats.markdown import markdown
from harness.report.tables import Report
from harness.results.frame import run_values

# Files of earlier versions, which would contradict the others.
_FORMER = ("factors.csv", "curves.html", "beside_published*.*", "learning_curves_by_*.*", "{}.parquet")
# What an import is called, and what installs it.
_PACKAGES = {"vl_convert": "vl-convert-python"}


def write_report(folder: Path, report: Report) -> list[Path]:
    """Writes all files of a report; see `ReportFiles`."""
    with ReportFiles(report) as files:
        return files.write(folder)


class ReportFiles:
    """The files of a report, whose charts are being drawn from here on until the context ends.

    Args:
        for_page: the charts of the page, too.
    """

    def __init__(self, report: Report, *, for_page: bool = False) -> None:
        self._report, self._for_page = report, for_page
        self._missing: dict[str, list[str]] = {}
        self._charts = charts_of(report, for_page=for_page)
        self._drawing: Drawing | None = None
        if self._charts:
            try:
                self._drawing = Drawing({name: (one.chart.spec, one.endings) for name, one in self._charts.items()})
            except ImportError as error:
                self._missing[error.name or str(error)] = _chart_files(self._charts)

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
        charts = self._charts if self._drawing else {}
        return _write_files(folder, self._report, self._drawing, charts, self._missing, for_page=self._for_page)

    @property
    def charts(self) -> dict[str, Chart]:
        """The charts by their names; none where they cannot be drawn."""
        return {name: wanted.chart for name, wanted in self._charts.items()} if self._drawing else {}

    def charts_missing(self) -> str:
        """Says why there are no charts, where a library is missing; empty otherwise."""
        missing = [name for name, files in self._missing.items() if any(file.endswith(".png") for file in files)]
        return f"There are no charts: {', '.join(missing)} is not installed." if missing else ""


def _write_files(
    folder: Path,
    report: Report,
    drawing: Drawing | None,
    charts: Mapping[str, Wanted],
    missing: dict[str, list[str]],
    *,
    for_page: bool,
) -> list[Path]:
    files: dict[str, Callable[[IO[bytes]], object]] = {
        "table.md": lambda file: file.write(
            markdown(report, _charts_of(CURVES, report, charts), _charts_of(INTERACTIONS, report, charts)).encode()
        ),
        "table.tex": lambda file: file.write(latex(report).encode()),
    }
    runs = run_values(report.runs)
    runs.pop("folder", None)  # a path of this machine
    beside = {
        "references": reference_rows(report),
        "what_mattered": mattered_rows(report),
        "prices": price_rows(report),
        "normalised": normalised_rows(report),
    }
    records = {"table": columns_of(summary_rows(report)), "runs": runs}
    records |= {name: columns_of(rows) for name, rows in beside.items() if rows}
    files |= {f"{name}.csv": functools.partial(write_csv, columns=own) for name, own in records.items()}
    if drawing:
        for name, wanted in charts.items():
            for ending in wanted.endings:
                files[f"{name}.{ending}"] = functools.partial(drawing.write, name=name, ending=ending)
    # A page that was written earlier keeps the files that are its own.
    own = [(stem, ending) for stem in stems(for_page=for_page) for ending in endings_of(stem, for_page=for_page)]
    pictures = [path for stem, ending in own for path in folder.glob(f"{stem}*.{ending}")]
    tables = ("table", "runs", "factors", *beside)
    former = {path for pattern in _FORMER for name in tables for path in folder.glob(pattern.format(name))}
    earlier = [*pictures, *(folder / f"{name}.csv" for name in beside), *former]
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


def _chart_files(charts: Mapping[str, Wanted]) -> list[str]:
    return [f"{name}.{ending}" for name, wanted in charts.items() for ending in wanted.endings]


def _charts_of(stem: str, report: Report, charts: Collection[str]) -> dict[str, str]:
    """Returns the name of each system's chart of a kind, by system_id."""
    names = {table.system_id: chart_name(stem, report, table) for table in report.tables}
    return {system_id: name for system_id, name in names.items() if name in charts}
