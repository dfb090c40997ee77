"""A process that is stopped longer than its claim lives: the run is another's when it wakes up, and stays it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.records.store import RunFolder
from tests.house import House
from tests.processes import wait_for

pytestmark = [pytest.mark.launch, pytest.mark.slow]
SHORT = {
    "HEARTBEAT_SECONDS = 10.0": 0.2,
    "STALE_SECONDS = 90.0": 2.0,
    "WATCH_SECONDS = 25.0": 1.0,
    "CONFIRM_SECONDS = 20.0": 0.5,
}
SUITE = """
name: faults
base:
  model: {name: faulty, slow: 0.1}
  data: digits
  optimizer: {name: sgd, lr: 0.1}
  train: {epochs: 4, global_batch_size: 128, checkpoint_every_steps: 5}
seeds: 2
"""


def with_short_claims(house: House) -> None:
    """A claim lives for two seconds without a beat."""
    path = house.path / "harness/records/claims.py"
    text = path.read_text()
    for line, seconds in SHORT.items():
        assert line in text
        text = text.replace(line, f"{line.partition(' = ')[0]} = {seconds}")
    path.write_text(text)


def events_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def epochs(folder: Path, generation: int) -> list[int]:
    return [
        event["epoch"] for event in events_of(folder) if event["event"] == "epoch" and event["generation"] == generation
    ]


def test_a_launch_that_was_stopped_leaves_its_run_to_the_new_owner(house: House, fault: Callable[..., None]) -> None:
    with_short_claims(house)
    (house.path / "suite.yaml").write_text(SUITE)

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            house.command("suite.yaml"),
            cwd=house.path,
            env=house.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def runs() -> list[Path]:
        return sorted((house.path / "results/faults").glob("*/*/events.jsonl"))

    first = start()
    assert wait_for(lambda: runs() and '"epoch"' in runs()[0].read_text(), 120)
    (path,) = runs()
    folder = path.parent
    stopped = [psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)]
    for process in stopped:
        process.suspend()
    before = len(events_of(folder))
    beat = max(claim.stat().st_mtime for claim in (folder / "claims").iterdir())
    # A launch that came to the run sooner would leave it to its owner, and do the other one alone.
    assert wait_for(lambda: time.time() - beat > 2 * SHORT["STALE_SECONDS = 90.0"], 60)
    second = start()
    assert wait_for(lambda: epochs(folder, 2), 120), "the stopped owner's run is taken over"
    for process in stopped:
        process.send_signal(signal.SIGCONT)
    _, words = first.communicate(timeout=200)
    _, others = second.communicate(timeout=200)
    assert second.returncode in (0, 75), others  # 75: the first launch goes on with the other run

    events = events_of(folder)
    late = [event for event in events[before:] if event["generation"] == 1 and event["event"] != "checkpoint"]
    assert epochs(folder, 1) and not late, "at its first step after waking up it stops"
    result = RunFolder(folder).result()
    assert result and result.generation == 2 and result.status == "ok"
    assert sorted(RunFolder(folder).epochs()) == [0, 1, 2, 3]
    assert "left to host" in words and first.returncode in (0, 75), words
    done = [RunFolder(path.parent).is_done() for path in runs()]
    fault("SIGSTOP of a run's owner until another has taken it over", survived=done == [True, True])
