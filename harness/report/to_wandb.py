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
from harness.results.columns import CONFIG_PRIORITY
from harness.suite.mirroring import require_project
from harness.trackers.account import as_problem, require_key

SPECIFICATION = "wandb_report.json"
ADDRESS = "wandb_report_address.json"
TIME, ACCURACY = "clock/train_seconds", "test/accuracy"
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
        blocks += _of_system(table, place)
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
    wr, expr = _library("reports.v2"), _library("expr")

    rows = [row for row in table.rows if row.ok]
    if not rows:
        return
    # A filter is written as a sentence, in which a quote would end a value: no suite's name and no id has one.
    here = [expr.Config("suite") == table.suite, expr.Config("system_id") == table.system_id]

    def run_set(name: str, *conditions: Any) -> Any:
        return wr.Runset(name=name, filters=expr.And(*here, *conditions), **place)

    yield wr.H2(text=table.system)
    yield wr.P(text="Each point is a run; a line of the parallel coordinates, too.")
    for name, part in _chunks("All configs", rows, CONFIGS):
        ids = expr.Config("config_id").isin([row.config_id for row in part])
        yield wr.PanelGrid(runsets=[run_set(name, ids)], panels=_of_all(table, part))
    yield wr.H3(text="Curves")
    yield wr.P(text="The mean over the seeds of a config, and their range.")
    for name, part in _chunks("Configs", rows, COMPARED):
        ids = expr.Config("config_id").isin([row.config_id for row in part])
        yield wr.PanelGrid(runsets=[run_set(name, ids)], panels=_curves())
    yield wr.H3(text="Differences")
    yield wr.P(text="One run of each config: its first seed.")
    for name, part in _chunks("Configs", rows, COMPARED):
        ids = expr.Config("run_id").isin([row.ok[0].run_id for row in part])
        comparer = wr.RunComparer(diff_only="split", layout=wr.Layout(0, 0, _WIDTH, 12))
        yield wr.PanelGrid(runsets=[run_set(name, ids)], panels=[comparer])


def _chunks(name: str, rows: Sequence[Row], size: int) -> Iterator[tuple[str, Sequence[Row]]]:
    """Yields as many rows as a panel shows, in the table's order, with what to call them."""
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield (name if len(rows) <= size else f"{name} {start + 1} to {start + len(part)} of {len(rows)}"), part


def _of_all(table: Table, rows: Sequence[Row]) -> list[Any]:
    wr = _library("reports.v2")

    paths = differing_settings(table, rows)[:AXES]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(path)) for path in paths]
    columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(TIME), log=True))
    columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(ACCURACY)))
    return [
        wr.ScatterPlot(
            title="Test accuracy over train time (s)",
            x=wr.SummaryMetric(TIME),
            y=wr.SummaryMetric(ACCURACY),
            log_x=True,
            layout=wr.Layout(0, 0, _WIDTH // 2, 10),
        ),
        wr.ParallelCoordinatesPlot(
            title="What differs, and what it came to",
            columns=columns,
            layout=wr.Layout(_WIDTH // 2, 0, _WIDTH // 2, 10),
        ),
    ]


def _curves() -> list[Any]:
    wr = _library("reports.v2")

    return [
        wr.LinePlot(
            title=f"Test accuracy by {title}",
            x=x,
            y=[ACCURACY],
            title_x=title,
            groupby=wr.Config("label"),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=COMPARED,
            layout=wr.Layout(column * _WIDTH // 2, 0, _WIDTH // 2, 8),
        )
        for column, (title, x) in enumerate([("epoch", "epoch"), ("train time (s)", "train_seconds")])
    ]


def differing_settings(table: Table, rows: Sequence[Row]) -> list[str]:
    """Returns the dotted paths of the settings in which rows of a table differ.

    Those that all configs have come first, and of these, names of plug-ins and those with few values.
    """
    paths = [column.name for column in table.columns if column.priority == CONFIG_PRIORITY]
    found = {path: {row.values[path] for row in rows} for path in paths}
    differing = [path for path in paths if len(found[path]) > 1]
    return sorted(differing, key=lambda path: (None in found[path], not path.endswith(".name"), len(found[path])))
