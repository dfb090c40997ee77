"""64 processes at once on one run and on different runs: one owner, stale claims recovered, none lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytestmark = [pytest.mark.launch, pytest.mark.slow]
SCRIPT = Path(__file__).with_name("contender.py")
WRITERS = 64


def contend(log: Path, folders: Sequence[Path], dying: int = 0, pause_seconds: float = 0.0) -> list[str]:
    """Starts a process for each folder, all at once, and returns what they wrote into the log.

    Args:
        dying: how many of them die by SIGKILL while they own the run.
    """
    for folder in folders:
        folder.mkdir(exist_ok=True)
    arguments = [str(log), str(dying), str(pause_seconds), *map(str, folders)]
    assert subprocess.run([sys.executable, str(SCRIPT), *arguments], timeout=200).returncode == 0
    return log.read_text().splitlines()


def owners(lines: Sequence[str]) -> list[int]:
    """Returns the generations in the order in which they owned the run."""
    return [int(line.split()[1]) for line in lines if line.startswith("owned")]


def test_64_writers_on_one_run(tmp_path: Path, fault: Callable[..., None]) -> None:
    lines = contend(tmp_path / "log", [tmp_path / "run"] * WRITERS)
    fault(
        "64 writers at once on one run",
        survived=owners(lines) == list(range(1, WRITERS + 1)) and sum(line.startswith("held") for line in lines) == 64,
    )
    assert [path.name for path in (tmp_path / "run" / "claims").iterdir()] == [f"{WRITERS}.json"]


def test_64_writers_on_64_runs(tmp_path: Path, fault: Callable[..., None]) -> None:
    lines = contend(tmp_path / "log", [tmp_path / str(index) for index in range(WRITERS)])
    fault("64 writers at once on 64 runs", survived=owners(lines) == [1] * WRITERS)


def test_owners_are_killed_and_no_run_is_lost(tmp_path: Path, fault: Callable[..., None]) -> None:
    lines = contend(tmp_path / "log", [tmp_path / "run"] * WRITERS, dying=32)
    survived = owners(lines) == list(range(1, WRITERS + 1)) and sum(line.startswith("held") for line in lines) == 32
    fault("SIGKILL of a run's owner, 63 others waiting", survived=survived, times=32)


def test_pauses_between_all_steps(tmp_path: Path, fault: Callable[..., None]) -> None:
    for attempt in range(3):
        folder, log = tmp_path / f"run{attempt}", tmp_path / f"log{attempt}"
        lines = contend(log, [folder] * 16, dying=4, pause_seconds=0.01)
        generations = owners(lines)
        survived = len(generations) == 16 and generations == sorted(set(generations))
        survived &= sum(line.startswith("held") for line in lines) == 12
        fault("pauses between the steps of 16 claims", survived=survived)
