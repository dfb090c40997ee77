"""What a real bash offers after Tab, by the script that `harness --show-completion` prints."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from harness.cli.app import app
from harness.cli.completing import columns, suites
from harness.paths import SUITES, shipped_names

ROOT = Path(__file__).parent.parent
SUITE = (
    "name: s\nbase: {model: mlp, data: synthetic, optimizer: {name: sgd, lr: 0.1}}\nmatrix: {train.epochs: [1, 2]}\n"
)
ASK = r"""
source <(_HARNESS_COMPLETE=source_{shell} harness)
COMP_WORDS=({words}) COMP_CWORD=$(({count} - 1))
_harness_completion harness
printf '%s\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def offered(tmp_path: Path):
    (tmp_path / "s.yaml").write_text(SUITE)
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.yaml").write_text(SUITE)
    (tmp_path / ".bin").mkdir()
    program = tmp_path / ".bin" / "harness"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m harness "$@"\n')
    program.chmod(0o755)

    def ask(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in ("harness", *words))
        script = ASK.format(shell="bash", words=quoted, count=len(words) + 1)
        environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["bash", "--norc", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert not done.stderr, done.stderr
        return done.stdout.split("\n")[:-1]

    return ask


@pytest.mark.slow
@pytest.mark.launch
def test_verbs_suites_options_and_values_in_bash(offered) -> None:
    assert offered("st") == ["status"]
    assert {"broken.yaml", "folder/", "s.yaml", "quickstart", "speedrun"} < set(offered("plan", ""))
    assert offered("plan", "s.yaml", "--config_file", "g") == ["gtx"]
    assert "model.hidden_sizes=" in offered("plan", "quickstart", "--set", "model.")
    assert offered("run", "folder/") == ["folder/inner.yaml"]
    assert "--only" in offered("plan", "s.yaml", "--o")
    assert offered("report", "s.yaml", "--sort", "train_s")[0] == "train_seconds"
    assert offered("plan", "s.yaml", "--only", "train.ep") == ["train.epochs="]
    assert offered("plan", "s.yaml", "--set", "optimizer.") == [
        "optimizer.lr=", "optimizer.momentum=", "optimizer.name=", "optimizer.nesterov=",
        "optimizer.norm_bias_lr_scale=", "optimizer.weight_decay=", "optimizer.weight_decay_on=",
    ]  # fmt: skip
    assert offered("plan", "broken.yaml", "--set", "train.") == [""], "nothing, and no error"
    assert offered("compare", "s.y") == ["s.yaml"]
    assert offered("compare", "s.yaml", "ep") == ["epochs=1", "epochs=2"]
    assert offered("compare", "s.yaml", "--to", "epochs=2") == ["epochs=2"]


@pytest.mark.launch
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "_HARNESS_COMPLETE": f"source_{shell}"}
    done = subprocess.run(
        [sys.executable, "-m", "harness"], env=environment, capture_output=True, text=True, timeout=200
    )
    assert f"complete_{shell}" in done.stdout and "harness" in done.stdout, done.stderr


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "b.yml", "manifest.jsonl", "c.py", ".hidden.yaml"):
        Path(name).touch()
    Path("benchmarks").mkdir()
    here = {"a.yaml", "b.yml", "benchmarks/", "manifest.jsonl"}
    assert set(suites("")) - set(shipped_names(SUITES)) == here and "quickstart" in suites("")
    assert suites("b") == ["b.yml", "batch_size", "benchmarks/"]
    assert suites("./a") == ["./a.yaml"] and suites(".h") == [".hidden.yaml"]
    assert suites("nowhere/") == []


def test_columns_are_those_of_the_table() -> None:
    call = typer.Context(typer.main.get_command(app))
    assert "train_seconds" in columns(call, "") and columns(call, "x_") == []
    assert {"test_accuracy", "test_worst_class_accuracy"} <= {*columns(call, "test_")}
    seconds = []
    for work in (lambda: columns(call, ""), lambda: sum(range(10_000_000))):  # the second takes a fifth of a second
        began = time.thread_time()
        work()
        seconds.append(time.thread_time() - began)
    assert seconds[0] < 2 * seconds[1]
