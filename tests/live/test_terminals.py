"""Real runs in real terminals: tmux draws what a person would see."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house import ROOT, House
from tests.processes import wait_for

pytestmark = [
    pytest.mark.launch,
    pytest.mark.skipif(
        shutil.which("tmux") is None and not os.environ.get("CI_REQUIRE_TMUX"),
        reason="needs tmux: apt-get install tmux",
    ),
]
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
ONE = "matrix: {model.slow: [0.3]}\n"  # 12 steps an epoch
TWO_RANKS = ("--set", "train.num_processes=2", "--set", "train.epochs=2")


@dataclass
class Tmux:
    """A server of its own, with one window."""

    name: str

    def __call__(self, *arguments: str) -> str:
        ran = subprocess.run(["tmux", "-L", self.name, "-f", "/dev/null", *arguments], capture_output=True, text=True)
        return ran.stdout

    def open(self, house: House, command: list[str], width: int, height: int, **environment: str) -> None:
        # COLUMNS and LINES are of another window, as readline leaves them.
        variables = {
            "PYTHONPATH": str(house.path),
            "TERM": "tmux-256color",
            "COLUMNS": "80",
            "LINES": "24",
            **environment,
        }
        words = shlex.join(["env", *(f"{key}={value}" for key, value in variables.items()), *command])
        size = ["-x", str(width), "-y", str(height)]
        self("new-session", "-d", *size, "-c", str(house.path), f"{words}; echo code $?; sleep 600")

    def lines(self) -> list[str]:
        """Returns what stands in the window."""
        return [line.rstrip() for line in self("capture-pane", "-p").splitlines()]

    def shows(self, text: str, seconds: float = 120.0) -> bool:
        return wait_for(lambda: any(text in line for line in self.lines()), seconds)

    def resize(self, width: int, height: int) -> None:
        self("resize-window", "-x", str(width), "-y", str(height))


@pytest.fixture
def tmux() -> Iterator[Tmux]:
    server = Tmux(f"test-{uuid.uuid4().hex[:8]}")
    yield server
    server("kill-server")


def blocks(lines: list[str]) -> int:
    """Returns how many blocks stand in the window: one, unless one was left behind."""
    return sum(" done, " in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(80, 12), (200, 50)])
def test_a_run_in_a_window_that_is_resized(house: House, tmux: Tmux, width: int, height: int) -> None:
    suite = house.suite(ONE + "seeds: 2\n")
    tmux.open(house, house.command(str(suite), "--set", "train.epochs=2"), width, height)
    assert tmux.shows("1/2 "), tmux.lines()
    head = next(line for line in tmux.lines() if line.startswith("running"))
    assert head.split() == ["running", "epoch", "loss", "test", "samples/s", "waited", "left"]
    for size in ((50, height), (30, 8), (120, 40), (width, height)):
        tmux.resize(*size)
        assert size[0] == 30 or wait_for(lambda: blocks(tmux.lines()) == 1, 120), tmux.lines()
        assert wait_for(lambda: sum(line.startswith("running ") for line in tmux.lines()) == 1, 120), tmux.lines()
        assert len([line for line in tmux.lines() if line]) <= size[1]
    assert tmux.shows("✓ slow=0.3 · seed 0"), tmux.lines()
    assert tmux.shows("◆"), "the front so far"
    assert tmux.shows("code 0")
    assert tmux("display", "-p", "#{cursor_flag}") == "1\n", "the cursor is given back"


def test_a_run_that_is_stopped_gives_the_terminal_back(house: House, tmux: Tmux) -> None:
    tmux.open(
        house, house.command(str(house.suite(ONE)), "--set", "train.epochs=9"), 80, 24
    )  # it may not end meanwhile
    assert tmux.shows("1/9 ")
    tmux("send-keys", "C-c")
    assert tmux.shows("code 75", 20), tmux.lines()
    words = "\n".join(tmux.lines())
    assert "SIGINT: saving" in words and "■ slow=0.3 · seed 0" in words and blocks(tmux.lines()) == 1
    assert tmux("display", "-p", "#{cursor_flag}") == "1\n"


def test_words_of_the_ranks_stand_above_the_block_and_tear_nothing(house: House, tmux: Tmux) -> None:
    with (house.path / "harness/models/faulty.py").open("a") as file:
        file.write('import sys\nsys.stderr.write("half\\rof a bar\\n"); print("said on stdout", flush=True)\n')
    tmux.open(house, house.command(str(house.suite(ONE)), "--set", "train.epochs=9"), 80, 24)
    assert tmux.shows("1/9 ")
    lines = tmux.lines()
    assert "of a bar" in lines and "said on stdout" in lines and blocks(lines) == 1
    assert lines.index("of a bar") < next(n for n, line in enumerate(lines) if " done, " in line)


@pytest.mark.slow
def test_watching_from_another_terminal(house: House, tmux: Tmux) -> None:
    suite = house.suite(ONE)
    run = subprocess.Popen(
        house.command(str(suite), "--set", "train.epochs=9"),
        cwd=house.path,
        env=house.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert wait_for(lambda: list(house.path.glob("results/faults/*/*/live/rank-0.json")), 120)
        watch = [sys.executable, "-m", "harness", "status", str(suite), "--set", "train.epochs=9", "--watch"]
        tmux.open(house, watch, 100, 20)
        assert tmux.shows("/9 "), tmux.lines()
        assert "on" in next(line for line in tmux.lines() if line.startswith("running")).split()
        tmux.resize(60, 10)
        assert wait_for(lambda: sum(line.startswith("running ") for line in tmux.lines()) == 1, 120), tmux.lines()
    finally:
        run.terminate()
        run.wait(timeout=200)
    assert tmux.shows("to go on from a checkpoint: 1", 20), "what the records say, when nothing runs any more"
    assert tmux.shows("code 0")
    assert not list(house.path.glob("results/faults/*/*/live"))


def test_two_ranks_show_one_block(house: House, tmux: Tmux) -> None:
    suite = house.suite(ONE)
    tmux.open(house, house.command(str(suite), *TWO_RANKS), 80, 24)
    assert tmux.shows("/2 ", 120), tmux.lines()
    assert blocks(tmux.lines()) == 1
    assert tmux.shows("✓ slow=0.3 · seed 0")


@pytest.mark.slow
def test_under_accelerate_launch_the_first_rank_draws(house: House, tmux: Tmux) -> None:
    config = str(ROOT / "launch/cpu.yaml")
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config, "--num_processes", "2"]
    suite = house.suite(ONE)
    command = house.command(str(suite), *TWO_RANKS, launcher=launcher)
    tmux.open(house, command, 100, 24)
    assert tmux.shows("/2 ", 120), tmux.lines()
    assert blocks(tmux.lines()) == 1
    assert tmux.shows("✓ slow=0.3 · seed 0")


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=str)
def test_lesser_terminals(house: House, tmux: Tmux, tmp_path: Path, variables: dict[str, str]) -> None:
    typescript = tmp_path / "typescript"
    suite = house.suite("matrix: {model.slow: [0.1]}\n")
    command = ["script", "-qfec", shlex.join(house.command(str(suite))), str(typescript)]
    tmux.open(house, command, 80, 24, **variables)
    assert tmux.shows("code 0"), tmux.lines()
    written = typescript.read_text()
    assert "✓ slow=0.1 · seed 0" in written
    if "NO_COLOR" in variables:
        assert " done, " in written and not re.search(r"\x1b\[[0-9;]*3[0-9]m", written), "a block without colours"
    else:
        assert " done, " not in written and not re.search(r"\x1b\[[0-9]*[AJKH]", written), "no cursor is moved"


def test_a_log_has_no_control_characters(house: House) -> None:
    suite = house.suite("matrix: {model.slow: [0.1]}\n")
    environment = {**os.environ, "PYTHONPATH": str(house.path), "TERM": "xterm", "SLURM_JOB_NAME": "x"}
    done = subprocess.run(house.command(str(suite)), cwd=house.path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "1/1  ✓ slow=0.1 · seed 0" in done.stderr
    assert not CONTROL.search(done.stderr), "one line a run"
