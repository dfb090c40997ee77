"""Runs that others disturb are marked as such, through the entrance that people use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.house import House, build_house
from tests.processes import processes_in, wait_for

pytestmark = pytest.mark.launch
CORES = 2


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A copy of the package that marks what others disturb."""
    return build_house(tmp_path, calm=False)


@pytest.fixture(autouse=True)
def two_cores() -> Iterator[None]:
    """Gives this process, and what it starts, two cores at the most: three loops keep no larger machine busy."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:CORES])
    yield
    os.sched_setaffinity(0, allowed)


@pytest.fixture
def three_loops(two_cores: None) -> Iterator[None]:
    """Keeps both cores busy."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


def start(house: House, suite: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        house.command(str(suite)), cwd=house.path, env=house.environment(), stderr=subprocess.PIPE, text=True
    )


def rank_of(house: House, launch: psutil.Process) -> psutil.Process | None:
    return next((each for each in processes_in(house.path) if launch in each.parents()), None)


@pytest.mark.slow  # beside other tests it would slow them down
def test_runs_of_hundredths_of_a_second_beside_three_busy_loops(house: House, three_loops: None) -> None:
    suite = house.suite("include: [{model: mlp, train.epochs: 8}]\nseeds: 3\n")
    done = house.run(str(suite))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("this machine is busy: other processes use ") == 1
    results = house.results().values()
    assert len(results) == 3
    for result in results:
        assert any(said.startswith("processes of others") for said in result["disturbed"]), result["disturbance"]
        assert result["disturbance"]["other_cpu_seconds"] > 0.2 * result["disturbance"]["core_seconds"]
        assert not [name for name in result["unavailable"] if name.startswith("disturbance.")]


def test_a_rank_that_was_stopped_and_continued(house: House) -> None:
    suite = house.suite("include: [{model: {name: faulty, slow: 0.05}, train.epochs: 4}]\n")
    run = start(house, suite)
    assert wait_for(lambda: '"epoch"' in "".join(path.read_text() for path in house.path.glob("**/events.jsonl")), 60)
    rank = rank_of(house, psutil.Process(run.pid))
    assert rank
    time.sleep(0.3)  # into the next epoch
    os.kill(rank.pid, signal.SIGSTOP)
    time.sleep(4.0)
    os.kill(rank.pid, signal.SIGCONT)
    _, words = run.communicate(timeout=120)
    assert run.returncode == 0, words
    [result] = house.results().values()
    assert 2.5 < result["disturbance"]["suspended_seconds"] < 6
    [said] = [said for said in result["disturbed"] if "stood still" in said]
    assert said.startswith("its processes stood still for ")


@pytest.mark.slow
def test_two_terminals_on_one_suite_find_each_other(house: House) -> None:
    sizes = "{name: mlp, hidden_sizes: [2048, 2048]}"
    suite = house.suite(f"include: [{{model: {sizes}, train.epochs: 12}}]\nseeds: 2\n")
    terminals = [start(house, suite) for _ in range(2)]
    for terminal in terminals:
        terminal.communicate(timeout=200)
    results = house.results().values()
    assert len(results) == 2
    seen = [pid for result in results for pid in result["disturbance"]["other_launches"]]
    assert {terminal.pid for terminal in terminals} <= set(seen)
    for result in results:
        assert any("among them another call of the harness (process " in said for said in result["disturbed"])
