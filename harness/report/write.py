"""The report's files, in one folder."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from harness.records.files import require_writable, write_atomically
from harness.report.build import Report
from harness.report.chart import Drawing, accuracy_over_time, plotted
from harness.report.latex import latex
from harness.report.machine import run_rows, summary_rows, write_csv, write_parquet
from harness.report.markdown import markdown

CHART = "accuracy_over_time"
# What an import is called, and what installs it.
_PACKAGES = {"vl_convert": "vl-convert-python"}


def write_report(folder: Path, report: Report) -> list[Path]:
    """Writes all files of the report and returns those that were written.

    What needs a library that is missing is named on stderr; the rest is written all the same. Charts of an earlier
    report that this one does not have are removed.
    """
    require_writable(folder)
    missing: dict[str, list[str]] = {}
    drawings = _begin_drawing(report, missing)  # first: it goes on in other processes while the rest is written
    summaries, runs = summary_rows(report), run_rows(report)
    files: dict[str, Callable[[IO[bytes]], object]] = {
        "table.md": lambda file: file.write(markdown(report).encode()),
        "table.tex": lambda file: file.write(latex(report).encode()),
        "table.csv": lambda file: write_csv(file, summaries),
        "runs.csv": lambda file: write_csv(file, runs),
        "table.parquet": lambda file: write_parquet(file, summaries),
        "runs.parquet": lambda file: write_parquet(file, runs),
    }
    files |= {name: drawing.write for name, drawing in drawings.items()}
    for stale in {path.name for path in folder.glob(f"{CHART}*.png")} - files.keys():
        (folder / stale).unlink()  # an earlier report's would contradict the other files

    written: list[Path] = []
    for name, write in files.items():
        try:
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
    for table in filter(plotted, report.tables):
        suffix = f"_{re.sub(r'[^A-Za-z0-9._-]', '_', table.system_id)}" if len(report.tables) > 1 else ""
        name = f"{CHART}{suffix}.png"
        try:
            drawings[name] = Drawing(accuracy_over_time(table))
        except ImportError as error:
            missing.setdefault(error.name or str(error), []).append(name)
    return drawings
