"""What the targets of the Makefile run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def recipe(*words: str) -> str:
    """Returns what `make` would run for a target; a `make` that runs this test hands none of its variables down."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "PYTEST")}
    asked = ["make", "--dry-run", *words]
    return subprocess.run(asked, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_table_of_faults_is_kept_where_it_is_asked_for() -> None:
    assert "tests.faults.report" in recipe("test-faults") and "results" not in recipe("test-faults")
    assert "--faults-report results/reliability/faults.json" in recipe("test-faults", "KEEP=1")


def test_each_target_leaves_out_what_it_says() -> None:
    assert '-m "not slow and not launch"' in recipe("test-quick")
    assert '-m ""' in recipe("test-all") and "-m pytest" in recipe("test-all")
    assert '-m "' not in recipe("test"), "the settings of pyproject.toml hold"
    assert ".ci/twice 123 --numprocesses" in recipe("test-all", "PYTEST=.ci/twice 123")
