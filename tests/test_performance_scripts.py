"""The scripts of benchmarks/performance run and print what they promise; their figures are no test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.launch


def output_of(script: str, *arguments: str) -> Any:
    """Returns the JSON that a script prints."""
    command = [sys.executable, f"benchmarks/performance/{script}", "--json", *arguments]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=250).stdout)


def test_overhead() -> None:
    found = output_of("overhead.py", "--only", "cnn3", "--pairs", "3", "--steps", "3")
    ratio = found["ratios"]["cnn3/bare"]
    assert ratio["low"] <= ratio["median"] <= ratio["high"]
    assert ratio["pairs"] == 3
    assert ratio["bare_step_seconds"] > 0


def test_commands() -> None:
    found = output_of("commands.py", "--repeats", "1")
    assert set(found["seconds"]) == {"libraries", "help", "plan", "plan_10000_runs", "report_2000_runs"}
    assert all(seconds > 0 for seconds in found["seconds"].values())


def test_isolation() -> None:
    found = output_of("isolation.py", "--rounds", "1", "--epochs", "4")
    assert set(found["kept/fresh"]) == {"cnn3", "resnet18"}
    assert all(0 < ratio["low"] <= ratio["median"] and ratio["pairs"] == 4 for ratio in found["kept/fresh"].values())
