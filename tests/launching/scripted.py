"""Launches whose ranks are a few lines that import no torch."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.launching.launch_command import Launcher
from harness.launching.manifest import Manifest
from harness.launching.run_suite import run_suite
from harness.records.follow import OpenedRun
from harness.records.read import read_result
from harness.records.result import RunResult
from harness.spec import parse_run_spec
from harness.suite.plan import PlannedRun
from tests.house import ROOT


class Unseen:
    """Shows nothing, and writes down the sentences."""

    holds_terminal = False

    def __init__(self) -> None:
        self.words = ""

    def note(self, text: str) -> None:
        """Writes a sentence down."""
        self.words += f"{text}\n"

    def take_run(self, run: OpenedRun, launch: Path | None = None) -> None:
        """Shows nothing."""

    def leave(self, launch: Path) -> None:
        """Shows nothing."""

    def count(self, result: RunResult) -> None:
        """Shows nothing."""

    def reopen(self, run_ids: Iterable[str]) -> None:
        """Shows nothing."""


# A rank, as far as its supervisor sees it.
RANK = """
import json, os, sys, threading, time
from pathlib import Path
from harness.records.result import Cause
from harness.launching.launch_folder import FOLDER, Heartbeat, report_end, report_failure
from harness.launching.manifest import MANIFEST_FILE, Manifest
from harness.running.stop_request import StopRequest

folder = Path(os.environ[FOLDER])
manifest = Manifest.read(folder / MANIFEST_FILE)
heartbeat, stop = Heartbeat(folder, 0), StopRequest()
stop.listen(heartbeat)

def begin(index=0):
    run = manifest.runs[index]
    recorded = manifest.folder(run, "system")
    heartbeat.run_begins(run.run_id, recorded)
    recorded.start({}, {}, packed=manifest.packed)
    heartbeat.run_opened()
    return run

def fail(status, kind="ValueError"):
    report_failure(folder, 0, status, Cause(kind=kind, message="planted", rank=0, step=heartbeat.steps))
"""


@dataclasses.dataclass(frozen=True)
class Scripted(Launcher):
    """Starts a few lines of Python in place of ranks."""

    script: str = ""

    def command(self, num_processes: int, folder: Path, *arguments: str) -> list[str]:
        return [sys.executable, "-c", RANK + self.script]

    def environment(self, num_processes: int) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT)}


def supervise(
    tmp_path: Path, script: str, count: int = 1, packed: int = 1, *, isolate: bool = False, **train: Any
) -> tuple[int, list[RunResult], str]:
    """Runs a suite whose launches are a script: the exit code, the results by run, and what was printed.

    A value of `train` that is a list has one for each run.
    """
    runs = []
    trains = [{key: v[seed] if isinstance(v, list) else v for key, v in train.items()} for seed in range(count)]
    for seed, train in enumerate(trains):
        sections = {"model": "mlp", "data": "digits", "optimizer": {"name": "sgd", "lr": 0.1}}
        spec = parse_run_spec({**sections, "seed": seed, "label": f"run {seed}", "train": train})
        runs.append(PlannedRun(spec=spec, config_id=spec.config_id(), run_id=f"run{seed}", fingerprint="data"))
    manifest = Manifest(suite="suite", output=tmp_path, runs=tuple(runs))
    display = Unseen()
    launcher = Scripted(packed=packed, isolate=isolate, script=script)
    code = run_suite(manifest, launcher, {"system_id": "system"}, display)
    results = [read_result(path) for path in sorted(tmp_path.glob("suite/*/*/result.json"))]
    return code, results, display.words
