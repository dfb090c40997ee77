"""The report's files, in one folder."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.records.files import recording, require_writable, write_atomically
from harness.report.charts.chart import Chart
from harness.report.charts.drawing import Drawing, FileEnding
from harness.report.charts.of_report import CURVES, INTERACTIONS, chart_name, charts_of, endings_of, stems
from harness.report.formats.latex import latex
from harness.report.formats.machine import columns_of, rows_of_files, write_csv
from harness.report.formats.markdown import markdown
from harness.report.tables import Report

# Of earlier versions: tables that contradict these, and a page that ran scripts.
_FORMER = ("factors.csv", "curves.html", "beside_published*.*", "learning_curves_by_*.*", "*.parquet")
# What an import is called, and what installs it.
_PACKAGES = {"vl_convert": "vl-convert-python"}


@dataclass(frozen=True)
class ReportFiles:
    """What was written of a report.

    Attributes:
        charts: by their names; none where they cannot be drawn.
        charts_missing: why there are no charts, where a library is missing; empty otherwise.
    """

    paths: list[Path]
    charts: Mapping[str, Chart]
    charts_missing: str = ""


def write_report(
    folder: Path, report: Report, drawing: Drawing | None = None, *, for_page: bool = False
) -> ReportFiles:
    """Writes all files of a report.

    What needs a library that is missing is named on stderr; the rest is written all the same. Charts and tables of an
    earlier report that this one does not have are removed.

    Args:
        drawing: draws the charts; by default one of its own.
        for_page: the charts of the page, too.

    Raises:
        HarnessError: the folder cannot be written.
    """
    if drawing is None:
        with Drawing() as drawing:
            return write_report(folder, report, drawing, for_page=for_page)
    require_writable(folder)
    wanted = charts_of(report, for_page=for_page)
    drawn: list[tuple[str, FileEnding]] = [(name, ending) for name, one in wanted.items() for ending in one.endings]
    try:
        if wanted:
            drawing.begin({name: (one.chart.spec, one.endings) for name, one in wanted.items()})
    except ImportError as error:
        missing = {error.name or str(error): [f"{name}.{ending}" for name, ending in drawn]}
        paths = _write_files(folder, report, {}, missing, for_page=for_page)
        return ReportFiles(paths, {}, f"There are no charts: {', '.join(missing)} is not installed.")
    files = {f"{name}.{end}": functools.partial(drawing.write, name=name, ending=end) for name, end in drawn}
    paths = _write_files(folder, report, files, {}, for_page=for_page)
    return ReportFiles(paths, {name: one.chart for name, one in wanted.items()})


def _write_files(
    folder: Path,
    report: Report,
    drawn: Mapping[str, Callable[[IO[bytes]], object]],
    missing: dict[str, list[str]],
    *,
    for_page: bool,
) -> list[Path]:
    """Writes the tables and the charts.

    Args:
        drawn: writes each file of the charts, by its name.
        missing: the files that cannot be written, by the library that they need.
    """

    def chart_of(stem: str) -> dict[str, str]:
        names = {table.system_id: chart_name(stem, report, table) for table in report.tables}
        return {system_id: name for system_id, name in names.items() if f"{name}.png" in drawn}

    runs = {name: values for name, values in report.runs.items() if name != "folder"}  # a path of this machine
    rows = rows_of_files(report)
    tables = {"table": columns_of(rows.pop("table")), "runs": runs}
    tables |= {name: columns_of(own) for name, own in rows.items() if own}
    files: dict[str, Callable[[IO[bytes]], object]] = {
        "table.md": lambda file: file.write(markdown(report, chart_of(CURVES), chart_of(INTERACTIONS)).encode()),
        "table.tex": lambda file: file.write(latex(report).encode()),
        **{f"{name}.csv": functools.partial(write_csv, columns=own) for name, own in tables.items()},
        **drawn,
    }
    # What this report does not have of an earlier one would contradict it. A page that was written earlier keeps the
    # files that are its own.
    own = [(stem, ending) for stem in stems(for_page=for_page) for ending in endings_of(stem, for_page=for_page)]
    earlier = [path for stem, ending in own for path in folder.glob(f"{stem}*.{ending}")]
    earlier += [path for pattern in _FORMER for path in folder.glob(pattern)]
    for path in (*earlier, *(folder / f"{name}.csv" for name in rows)):
        if path.name not in files:
            path.unlink(missing_ok=True)

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
