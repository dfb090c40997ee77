"""From a suite with its results to a report that is shown and written."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.counted import counted
from harness.durations import rounded_text
from harness.records.forecast import beside_fact
from harness.report.build import Options, build_report
from harness.report.charts.drawing import Drawing
from harness.report.formats.machine import as_json
from harness.report.formats.terminal import show
from harness.report.page.sections import PageSource
from harness.report.page.write import commands_for, write_page
from harness.report.tables import Report
from harness.report.write import write_report
from harness.results.study import Study


def report_suite(
    study: Study,
    console: Console,
    options: Options | None = None,
    *,
    json_wanted: bool = False,
    page_wanted: bool = False,
    explain: bool = False,
) -> Report:
    """Writes the tables of a suite with the charts into its folder, shows the answer, and returns them.

    Args:
        console: stderr, for what was written and left out.
        json_wanted: JSON on stdout instead of tables.
        page_wanted: also all of it as a page, `report.html`.
        explain: show all notes, and the tables below the ranking.

    Raises:
        HarnessError: no column to sort by, no run within the budget, or a folder that cannot be written.
    """
    with Drawing(for_page=page_wanted) as drawing:
        source = _show_and_write(
            study, console, options, drawing, json_wanted=json_wanted, for_page=page_wanted, explain=explain
        )
        if page_wanted:
            _write_page(study.folder / source.report.place, [source], console, drawing)
    return source.report


def report_suites(studies: Sequence[Study], console: Console, options: Options | None) -> list[Report]:
    """Does so for each of several suites, and writes one page of them all into the results root of the first."""
    with Drawing(for_page=True) as drawing:
        sources = [_show_and_write(study, console, options, drawing, for_page=True) for study in studies]
        _write_page(studies[0].root, sources, console, drawing)
    return [source.report for source in sources]


def _show_and_write(
    study: Study,
    console: Console,
    options: Options | None,
    drawing: Drawing,
    *,
    for_page: bool,
    json_wanted: bool = False,
    explain: bool = False,
) -> PageSource:
    """Writes and shows a suite's report, and returns what its page is made from.

    The files are written first: whatever becomes of the terminal, they are there.
    """
    report = build_report(study, options, every_curve=for_page)
    folder = study.folder / report.place
    files = write_report(folder, report, drawing, for_page=for_page)
    if json_wanted:
        sys.stdout.write(json.dumps(as_json(report), indent=1) + "\n")
    else:
        show(report, explain=explain)
    if forecast := beside_fact(study.folder, study.results):
        runs, expected, seconds = forecast
        console.print(f"forecast for {counted(runs, 'run')}: {expected.text()}; it took {rounded_text(seconds)}")
    more = counted(len(files.paths) - 1, "more file")
    console.print(f"all columns, effects and notes: {folder}/table.md, with {more} beside it", soft_wrap=True)
    return PageSource(
        report=report,
        folder=study.folder,
        question=study.question.description,
        systems=study.systems,
        charts=files.charts,
        commands=commands_for(study),
        charts_missing=files.charts_missing,
    )


def _write_page(folder: Path, sources: Sequence[PageSource], console: Console, drawing: Drawing) -> None:
    path = write_page(folder, sources, drawing.script)
    suites = ", ".join(source.report.suite for source in sources)
    console.print(
        f"page of {suites}: {path} ({path.stat().st_size / 1e6:.1f} MB, opens in any browser)", soft_wrap=True
    )
