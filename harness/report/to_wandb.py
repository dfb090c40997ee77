"""The comparison as a W&B report: what people click together by hand, from runs that a tracker has brought there.

It is sent once, and the next one takes its place; or what would be sent is written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records.files import read_object, recording, write_json
from harness.report.formats import markdown
from harness.report.rows import Row
from harness.report.tables import Report, Table
from harness.results.all_systems import ALL_SYSTEMS
from harness.results.columns import CONFIG_PRIORITY
from harness.suite.mirroring import require_project
from harness.trackers.account import as_problem, require_key

SPECIFICATION = "wandb_report.json"
ADDRESS = "wandb_report_address.json"
TIME, ACCURACY = "clock/train_seconds", "test/accuracy"
DIFFERENCES = "Differences"
COMPARED = 10  # a run comparer, and a plot of groups, show no more
CONFIGS = 100  # of a run set: its filter names them
AXES = 8  # of parallel coordinates that can still be read
TITLE_LENGTH = 128
_WIDTH = 24  # of W&B's grid


def parse_place(text: str) -> tuple[str, str]:
    """Returns entity and project.

    Raises:
        HarnessError: it is not `ENTITY/PROJECT`.
    """
    entity, _, project = text.partition("/")
    if not (entity and project):
        raise HarnessError(f"--wandb {text} names no entity and project", "--wandb ENTITY/PROJECT")
    require_project(project)
    return entity, project


def write_specification(report: Report, place: tuple[str, str], folder: Path) -> Path:
    """Writes what W&B would be sent as JSON, and returns where; it needs no network and no key."""
    path = folder / SPECIFICATION
    with recording(folder):
        write_json(path, specification(wandb_report(report, *place, with_project_id=False)))
    return path


def send_report(report: Report, place: tuple[str, str], folder: Path) -> str:
    """Makes the report at W&B, or renews the one that was made from this folder, and returns its address.

    Raises:
        HarnessError: there is no key, or W&B does not take it; in one sentence.
    """
    require_key(os.environ, Path.home())
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    server, made = str(wandb.setup().settings.base_url), wandb_report(report, *place, with_project_id=True)
    address = {"server": server, "entity": place[0], "project": place[1]}
    with contextlib.suppress(OSError, ValueError, KeyError):
        known = read_object(folder / ADDRESS)
        if {name: known[name] for name in address} == address:
            made.id = known["id"]
    try:
        made.save()
        url = made.url
    except Exception as error:
        raise as_problem(error, server, "/".join(place)) from error
    with recording(folder):
        write_json(folder / ADDRESS, {**address, "id": made.id, "url": url})
    return url


def wandb_report(report: Report, entity: str, project: str, *, with_project_id: bool) -> Any:
    """Returns the report as `wandb_workspaces` has it, one part for each system: times of two share no panel.

    Args:
        report: the tables.
        entity, project: where the runs are, and where the report goes.
        with_project_id: run sets ask the server for the project's id when they are written; without it they are of the
            report's own project, and no network is needed.
    """
    wr = _library("reports.v2")

    place = {"entity": entity, "project": project} if with_project_id else {}
    text = markdown(dataclasses.replace(report, pictures=()))  # which lie on this disk
    blocks: list[Any] = [wr.TableOfContents(), wr.MarkdownBlock(text=text)]
    for table in report.tables:
        blocks += _of_system(table, place) if table.system_id != ALL_SYSTEMS else ()
    title = f"{report.suite}: accuracy over train time"[:TITLE_LENGTH]
    return wr.Report(project=project, entity=entity, title=title, blocks=blocks, width="fluid")


def specification(report: Any) -> dict[str, Any]:
    """Returns what W&B is sent of a report."""
    # The package has no public way to it; `save` does the same.
    spec = report._to_model().spec
    return {
        "entity": report.entity,
        "project": report.project,
        "title": report.title,
        "spec": json.loads(spec.model_dump_json(by_alias=True, exclude_none=True)),
    }


def _library(name: str) -> Any:
    """Returns a module of `wandb_workspaces`, which takes seconds to import."""
    with warnings.catch_warnings():  # it makes its classes in pydantic's former way
        warnings.simplefilter("ignore")
        return importlib.import_module(f"wandb_workspaces.{name}")


def _of_system(table: Table, place: dict[str, str]) -> Iterator[Any]:
    """Yields a system's panels, in portions of as many rows as a panel shows, in the table's order."""
    wr, expr = _library("reports.v2"), _library("expr")
    rows = [row for row in table.rows if row.ok]
    if not rows:
        return
    # A filter is written as a sentence, in which a quote would end a value: no suite's name and no id has one.
    here = [expr.Config("suite") == table.suite, expr.Config("system_id") == table.system_id]
    yield wr.H2(text=table.system)
    for title, text, panels, most in (
        ("", "Each point is a run; a line of the parallel coordinates, too.", _of_all, CONFIGS),
        ("Curves", "The mean over the seeds of a config, and their range.", _curves, COMPARED),
        (DIFFERENCES, "One run of each config: its first seed.", _differences, COMPARED),
    ):
        if title:
            yield wr.H3(text=title)
        yield wr.P(text=text)
        for start in range(0, len(rows), most):
            part = rows[start : start + most]
            name = f"Configs {start + 1} to {start + len(part)} of {len(rows)}"
            those = expr.Config("config_id").isin([row.config_id for row in part])
            if title == DIFFERENCES:
                those = expr.Config("run_id").isin([row.ok[0].run_id for row in part])
            runs = wr.Runset(name=name, filters=expr.And(*here, those), **place)
            yield wr.PanelGrid(runsets=[runs], panels=panels(wr, table, part))


def _of_all(wr: Any, table: Table, rows: Sequence[Row]) -> list[Any]:
    time, accuracy = wr.SummaryMetric(TIME), wr.SummaryMetric(ACCURACY)
    column, paths = wr.ParallelCoordinatesPlotColumn, differing_settings(table, rows)[:AXES]
    axes = [*(column(metric=wr.Config(path)) for path in paths), column(metric=time, log=True), column(metric=accuracy)]
    title, (left, right) = "Test accuracy over train time (s)", _side_by_side(wr, 10)
    return [
        wr.ScatterPlot(title=title, x=time, y=accuracy, log_x=True, layout=left),
        wr.ParallelCoordinatesPlot(title="What differs, and what it came to", columns=axes, layout=right),
    ]


def _curves(wr: Any, table: Table, rows: Sequence[Row]) -> list[Any]:
    grouped = {"groupby": wr.Config("label"), "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
    axes = zip(("epoch", "train time (s)"), ("epoch", "train_seconds"), _side_by_side(wr, 8), strict=True)
    return [
        wr.LinePlot(
            title=f"Test accuracy by {title}",
            x=x,
            y=[ACCURACY],
            title_x=title,
            max_runs_to_show=COMPARED,
            layout=layout,
            **grouped,
        )
        for title, x, layout in axes
    ]


def _differences(wr: Any, table: Table, rows: Sequence[Row]) -> list[Any]:
    return [wr.RunComparer(diff_only="split", layout=wr.Layout(0, 0, _WIDTH, 12))]


def _side_by_side(wr: Any, height: int) -> list[Any]:
    return [wr.Layout(column, 0, _WIDTH // 2, height) for column in (0, _WIDTH // 2)]


def differing_settings(table: Table, rows: Sequence[Row]) -> list[str]:
    """Returns the dotted paths of the settings in which rows of a table differ.

    Those that all configs have come first, and of these, names of plug-ins and those with few values.
    """
    paths = [column.name for column in table.columns if column.priority == CONFIG_PRIORITY]
    found = {path: {row.values[path] for row in rows} for path in paths}
    differing = [path for path in paths if len(found[path]) > 1]
    return sorted(differing, key=lambda path: (None in found[path], not path.endswith(".name"), len(found[path])))
