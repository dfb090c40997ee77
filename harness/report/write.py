"""A suite's report: its files in one folder, what the terminal shows of it, and its page."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from harness.counted import counted
from harness.durations import rounded_text
from harness.records.files import recording, require_writable, write_atomically
from harness.records.forecast import beside_fact
from harness.report.build import Options, build_report
from harness.report.charts.chart import Chart
from harness.report.charts.drawing import Drawing
from harness.report.charts.of_report import CURVES, chart_name, charts_of, stems
from harness.report.formats import as_csv, as_json, columns_of, latex, markdown, rows_of_files
from harness.report.page import PageSource, write_page
from harness.report.tables import Report
from harness.report.terminal import show
from harness.results.study import Study


def report_suites(
    studies: Sequence[Study],
    console: Console,
    options: Options | None = None,
    *,
    json_wanted: bool = False,
    page_wanted: bool = False,
    explain: bool = False,
) -> list[Report]:
    """Writes the tables of suites with the charts into their folders, shows the answers, and returns the reports.

    The files are written first: whatever becomes of the terminal, they are there.

    Args:
        console: stderr, for what was written and left out.
        json_wanted: JSON on stdout instead of tables.
        page_wanted: also all of it as `report.html`; of several suites in the results root of the first.
        explain: show all notes, and the tables below the ranking.

    Raises:
        HarnessError: no column to sort by, no run within the budget, or a folder that cannot be written.
    """
    sources: list[PageSource] = []
    with Drawing(for_page=page_wanted) as drawing:
        for study in studies:
            report = build_report(study, options, every_curve=page_wanted)
            folder = study.folder / report.place
            paths, charts = write_report(folder, report, drawing, for_page=page_wanted)
            if json_wanted:
                sys.stdout.write(json.dumps(as_json(report), indent=1) + "\n")
            else:
                show(report, explain=explain)
            if forecast := beside_fact(study.folder, study.results):
                runs, expected, seconds = forecast
                took = rounded_text(seconds)
                console.print(f"forecast for {counted(runs, 'run')}: {expected.text()}; it took {took}")
            more = counted(len(paths) - 1, "more file")
            told = f"all columns, effects and notes: {folder}/table.md, with {more} beside it"
            console.print(told, soft_wrap=True)
            sources.append(PageSource(report, study, charts))
        if page_wanted:
            folder = studies[0].folder / sources[0].report.place if len(studies) == 1 else studies[0].root
            path = write_page(folder, sources, drawing.script)
            told = f"{', '.join(source.report.suite for source in sources)}: {path}"
            size = f"{path.stat().st_size / 1e6:.1f} MB"
            console.print(f"page of {told} ({size}, opens in any browser)", soft_wrap=True)
    return [source.report for source in sources]


def write_report(
    folder: Path, report: Report, drawing: Drawing | None = None, *, for_page: bool = False
) -> tuple[list[Path], Mapping[str, Chart] | None]:
    """Writes all files of a report, and returns them, and the charts by their names.

    Without vl-convert the charts are None, and stderr says so; the tables are written all the same. Charts and tables
    of an earlier report that this one does not have are removed.

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
    charts: Mapping[str, Chart] | None = wanted
    try:
        if wanted:
            drawing.begin({name: chart.spec for name, chart in wanted.items()})
    except ImportError:
        sys.stderr.write(f"not written: the charts {', '.join(wanted)}\nhint: pip install vl-convert-python\n")
        charts, wanted = None, {}
    named = ((table.system_id, chart_name(CURVES, report, table)) for table in report.tables)
    curves = {system_id: name for system_id, name in named if name in wanted}
    rows = rows_of_files(report)
    runs = {name: values for name, values in report.runs.items() if name != "folder"}  # a path of this machine
    tables = {"table": columns_of(rows["table"]), "runs": runs}
    tables |= {name: columns_of(own) for name, own in rows.items() if own}
    texts = {"table.md": markdown(report, curves).encode(), "table.tex": latex(report).encode()}
    texts |= {f"{name}.csv": as_csv(own) for name, own in tables.items()}
    names = [*texts, *(f"{name}.{ending}" for name in wanted for ending in ("png", "svg"))]
    # What this report does not have of an earlier one would contradict it. A page that was written earlier keeps the
    # files that are its own.
    own = [f"{stem}*.{ending}" for stem in stems(for_page) for ending in ("png", "svg")]
    for pattern in (*own, *(f"{name}.csv" for name in rows)):
        for path in folder.glob(pattern):
            if path.name not in names:
                path.unlink(missing_ok=True)
    for files in (lambda: texts, drawing.files if wanted else dict):  # the tables, while the charts are being drawn
        for name, content in files().items():
            with recording(folder):
                write_atomically(folder / name, lambda file, content=content: file.write(content))
    return [folder / name for name in names], charts
