"""Sends a report to W&B, once: the next one takes its place; or writes what would be sent."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from harness.errors import HarnessError
from harness.records.files import read_object, recording, write_json
from harness.report.formats.wandb_report import specification, wandb_report
from harness.report.tables import Report
from harness.suite.mirroring import require_project
from harness.trackers.account import as_problem, require_key

SPECIFICATION = "wandb_report.json"
ADDRESS = "wandb_report_address.json"


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
