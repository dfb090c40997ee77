"""Training beside a tracker that fails: the same bits, no error, and afterwards nothing is missing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from rich.console import Console

from harness.data.prepare import fingerprint
from harness.launching.launch_folder import Heartbeat
from harness.launching.manifest import Manifest
from harness.records.read import read_suite
from harness.records.store import RunFolder
from harness.running.stop_request import StopRequest
from harness.suite.plan import load_suite
from harness.trackers import tracker_process
from harness.trackers.account import read_sent
from harness.trackers.entries import read_entries
from harness.trackers.options import Tracking
from harness.trackers.sync import sync
from harness.trackers.tracker_process import tracked
from tests.house import ROOT
from tests.trackers import records
from tests.trackers.server import ENTITY, Server, StoredRun

pytestmark = pytest.mark.launch
SUITE = """\
name: made
base:
  model: {name: mlp, hidden_sizes: [8]}
  data: digits
  optimizer: {name: sgd, lr: 0.1}
  train: {epochs: 3}
seeds: 2
warm_up_seconds: 0
"""


def train(root: Path) -> None:
    """Trains the suite in this process."""
    from harness.running.all_runs import walk

    (root / "suite.yaml").write_text(SUITE)
    plan = load_suite(root / "suite.yaml").plan(fingerprint, num_processes=1)
    code = walk(Manifest.of(plan, root), Heartbeat(None, 0), StopRequest(), Console(file=io.StringIO()))
    assert code == 0


def bits(root: Path) -> dict[str, object]:
    """Returns all of the runs that does not depend on the clock."""
    found: dict[str, object] = {}
    for result in read_suite(root, "made").results:
        folder = root / "made" / result.run_id / result.system_id
        found[f"{result.run_id} metrics"] = {name: values.model_dump() for name, values in result.metrics.items()}
        found[f"{result.run_id} weights"] = (folder / "checkpoints/final.safetensors").read_bytes()
        for name in ("predictions.npz", "losses.npz"):
            with np.load(folder / name) as arrays:
                found |= {f"{result.run_id} {key}": arrays[key].tobytes() for key in arrays}
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the runs come to without a tracker."""
    root = tmp_path_factory.mktemp("alone")
    train(root)
    found = bits(root)
    assert len(found) > 8
    return found


def tracking(patience_seconds: float) -> Tracking:
    return Tracking(("wandb",), entity=ENTITY, project="p", patience_seconds=patience_seconds)


def require_mirrored(run: StoredRun, folder: RunFolder) -> None:
    """Checks each number of a run on the server."""
    entries = read_entries(folder)
    assert entries and entries.ending
    assert [row["_step"] for row in run.history] == list(entries.rows)
    for row, (_, expected) in zip(run.history, entries.rows.items(), strict=True):
        assert {name: row.get(name) for name in expected if name != "timestamp"} == {
            name: value for name, value in expected.items() if name != "timestamp"
        }
    summary = run.summary
    assert {name: summary.get(name) for name in entries.ending} == entries.ending


def folders(root: Path) -> list[RunFolder]:
    return [RunFolder(path.parent) for path in sorted((root / "made").glob("*/*/result.json"))]


def test_runs_are_mirrored_while_they_go_on(tmp_path: Path, server: Server, alone: dict[str, object]) -> None:
    said: list[str] = []
    with tracked(tracking(100), None, said.append):
        train(tmp_path)
    assert bits(tmp_path) == alone and not said
    assert len(server.runs) == 2
    for folder in folders(tmp_path):
        entries = read_entries(folder)
        assert entries and read_sent(folder)
        require_mirrored(server.runs[f"{ENTITY}/p/{entries.id}"], folder)
    asked = len(server.requests)
    assert sync(tmp_path / "made", tracking(100), said.append).brought == 0 and len(server.requests) == asked


@pytest.mark.parametrize(
    "fault",
    [
        "stall",
        *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("500", "reset", "401", "403", "unknown_entity")),
    ],
)
def test_a_server_that_fails_harms_no_run(
    tmp_path: Path, server: Server, alone: dict[str, object], capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    server.fail(fault, after=0 if fault in ("401", "403", "unknown_entity") else 3)
    with tracked(tracking(2), None, lambda sentence: print(sentence, file=sys.stderr)):  # noqa: T201
        train(tmp_path)
    assert bits(tmp_path) == alone
    told = capfd.readouterr().err
    assert "harness wandb sync" in told and "Traceback" not in told and told.count("wandb: ") <= 4

    server.fail("")
    assert sync(tmp_path / "made", tracking(100), lambda name: None).brought >= 1
    assert len(server.runs) == 2
    for folder in folders(tmp_path):
        entries = read_entries(folder)
        assert entries
        require_mirrored(server.runs[f"{ENTITY}/p/{entries.id}"], folder)
    assert sync(tmp_path / "made", tracking(100), lambda name: None).brought == 0


def test_without_a_key_runs_are_kept_on_this_disk(
    tmp_path: Path, alone: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))
    said: list[str] = []
    with tracked(tracking(100), None, said.append):
        train(tmp_path)
    assert said == ["wandb: no key is found, so runs are kept on this disk; `harness wandb sync` sends them later"]
    assert bits(tmp_path) == alone
    assert len(list(tmp_path.glob("made/*/*/wandb/offline-run-*/*.wandb"))) == 2


def test_tensorboard_beside(tmp_path: Path, alone: dict[str, object]) -> None:
    other = records.begin(tmp_path / "another's")
    with tracked(Tracking(("tensorboard",), patience_seconds=30), None, lambda sentence: None):
        Heartbeat(None, 0).run_begins("run", other)  # its data are read, and it may never be opened here
        train(tmp_path)
    assert bits(tmp_path) == alone
    assert len(list(tmp_path.glob("made/tensorboard/*/*/events.out.tfevents.*"))) == 2
    assert not list(tmp_path.glob("another's/made/tensorboard"))


DIES = """
import os
from harness.trackers.options import Tracking
from harness.trackers import tracker_process
from harness.trackers.tracker_process import tracked
with tracked(Tracking(("wandb",), patience_seconds=1), None, print) as pids:
    print(*pids, flush=True)
    os.kill(os.getpid(), 9)
"""
HANGS = """
import time
time.sleep(1000)
"""


def test_a_client_whose_import_hangs_neither_delays_nor_outlives_a_run(
    tmp_path: Path, alone: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text(HANGS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(tracker_process, "START_SECONDS", 1)
    (tmp_path / "results").mkdir()
    said: list[str] = []
    began = time.monotonic()
    with tracked(tracking(100), None, said.append) as [pid]:
        assert time.monotonic() - began < 1.0, "nothing of it is waited for"
        train(tmp_path / "results")
        end = time.monotonic() + 60
        while len(said) < 2:  # the first says that it is offline
            assert time.monotonic() < end
            time.sleep(0.05)
    hint = "send what is missing: harness wandb sync"
    assert said[1:] == [f"wandb: not started after 1 s, and ended; {hint}; the runs go on"]
    assert bits(tmp_path / "results") == alone and not psutil.pid_exists(pid)


def test_a_tracker_ends_with_the_process_that_it_stands_beside(server: Server) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", DIES], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == -9, done.stderr
    end = time.monotonic() + 200
    while psutil.pid_exists(int(done.stdout)):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_by_the_command(tmp_path: Path, server: Server) -> None:
    """The whole way, with what a user says; nothing of it reaches the server but what the records say."""
    place = tmp_path / "canary-argv"
    place.mkdir()
    in_suite = f"trackers: [wandb]\nwandb: {{project: other, entity: {ENTITY}}}\n"
    (place / "suite.yaml").write_text(SUITE.replace("seeds: 2", "seeds: 1") + in_suite)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "HARNESS_TRACKER_PATIENCE": "100"}
    secret = {"SLURM_JOB_ACCOUNT": "canary-slurm", "WANDB_USERNAME": "canary-user", "TOKEN": "canary-token"}
    command = [sys.executable, "-m", "harness", "run", str(place / "suite.yaml"), "--output", str(tmp_path)]
    asked = ["--wandb-project", "p"]  # before the suite's
    done = subprocess.run(
        [*command, *asked], env=environment | secret, cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "wandb" not in done.stderr, done.stderr
    [folder] = folders(tmp_path)
    require_mirrored(server.only_run(), folder)
    assert json.loads((folder.path / "result.json").read_bytes())["memory"]["host_tree_rss_bytes"]
    sent = b"".join(body for _, path, body in [*server.requests, *server.of_client])
    for canary in ("canary-argv", "canary-slurm", "canary-user", "canary-token"):
        assert canary.encode() not in sent, canary
