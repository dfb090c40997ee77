"""Launches that die: what killed them is recorded, everything else is run, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.house import House
from tests.processes import processes_in, wait_for

pytestmark = pytest.mark.launch


@pytest.mark.slow
def test_each_death_is_recorded_with_its_cause_and_the_rest_is_run(house: House) -> None:
    suite = house.suite(
        "one_at_a_time: {model.fault: [raise, segfault, kill, oom, sleep]}\n"
        "include: [{label: last, train.global_batch_size: 256}]\n"
    )
    done = house.run(str(suite), "--set", "train.timeout_seconds=12")
    results = house.results()
    assert done.returncode == 1, done.stderr
    assert {label: result["status"] for label, result in results.items()} == {
        "base 0": "ok",
        "fault=raise 0": "failed",
        "fault=segfault 0": "failed",
        "fault=kill 0": "failed",
        "fault=oom 0": "oom",
        "fault=sleep 0": "timeout",
        "last 0": "ok",
    }
    causes = {label: result["cause"] for label, result in results.items() if result["cause"]}
    assert causes["fault=raise 0"]["kind"] == "ValueError"
    assert causes["fault=raise 0"]["rank"] == 0
    assert causes["fault=raise 0"]["step"] == 3
    assert "planted" in causes["fault=raise 0"]["traceback"]
    assert causes["fault=segfault 0"]["kind"] == "SIGSEGV"
    assert "in fail" in causes["fault=segfault 0"]["traceback"], "where it crashed"
    assert causes["fault=kill 0"]["kind"] == "SIGKILL"
    assert causes["fault=oom 0"]["kind"] == "OutOfMemoryError"
    assert "no step for 12 s" in causes["fault=sleep 0"]["message"]
    assert "rank 0 is stuck in fail (harness/models/faulty.py:" in causes["fault=sleep 0"]["message"]
    assert (causes["fault=sleep 0"]["rank"], causes["fault=sleep 0"]["step"]) == (0, 3)
    assert done.stderr.partition("not written: ")[0].count("hint:") == len(causes), "one for each"
    assert "Traceback" not in done.stderr
    assert not processes_in(house.path)
    assert (house.path / "results/faults/table.md").exists(), "the table is written although runs failed"


def test_isolated_runs_have_a_process_each_and_what_failed_is_tried_again_by_the_next_call(house: House) -> None:
    suite = house.suite("one_at_a_time: {model.fault: [raise]}\n")
    with (house.path / "harness/models/faulty.py").open("a") as file:
        file.write('open("imports", "a").write("one\\n")  # once a process\n')
    assert house.run(str(suite), "--isolate").returncode == 1
    assert (house.path / "imports").read_text() == "one\none\n"
    first = house.results()
    assert {label: result["status"] for label, result in first.items()} == {"base 0": "ok", "fault=raise 0": "failed"}
    again = house.run(str(suite))
    assert again.returncode == 1
    assert "2 runs; 1 is done on this system: skipped" in again.stderr
    assert house.results()["base 0"] == first["base 0"]
    assert house.results()["fault=raise 0"]["attempt"] == 2


@pytest.mark.slow
def test_two_ranks_of_which_one_fails(house: House) -> None:
    suite = house.suite(
        "base: {model: faulty, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 1, num_processes: 2}}\n"
        "one_at_a_time: {model: [{name: faulty, fault: oom, rank: 1}, {name: faulty, fault: sleep, rank: 1}]}\n"
    )
    suite.write_text(
        "\n".join(line for line in suite.read_text().splitlines() if "num_processes" in line or "base" not in line)
    )
    done = house.run(str(suite), "--set", "train.timeout_seconds=15")
    results = house.results()
    assert done.returncode == 1, done.stderr
    assert results["base 0"]["status"] == "ok"
    assert results["base 0"]["num_processes"] == 2
    raised = results["faulty fault=oom rank=1 0"]
    assert (raised["status"], raised["cause"]["kind"], raised["cause"]["rank"]) == ("oom", "OutOfMemoryError", 1)
    slept = results["faulty fault=sleep rank=1 0"]
    assert slept["status"] == "timeout"
    assert "rank 1 is stuck in fail (" in slept["cause"]["message"]
    assert "rank 0 waits in " in slept["cause"]["message"]
    assert slept["cause"]["rank"] == 1
    assert "Traceback" not in done.stderr and "ChildFailedError" not in done.stderr
    assert not processes_in(house.path)


def test_killed_in_the_middle_nothing_finished_is_lost_and_only_the_open_run_is_repeated(house: House) -> None:
    suite = house.suite("matrix: {model.slow: [0.0, 0.4]}\n")
    child = subprocess.Popen(
        house.command(str(suite)),
        cwd=house.path,
        env=house.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folder = house.path / "results/faults"
    assert wait_for(lambda: len(list(folder.glob("*/*/events.jsonl"))) == 2, 120), "the second run never began"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert wait_for(lambda: not processes_in(house.path), 30), "the worker outlived its supervisor"
    finished = house.results()
    assert list(finished) == ["slow=0.0 0"]

    done = house.run(str(suite))
    assert done.returncode == 0, done.stderr
    results = house.results()
    assert results["slow=0.0 0"] == finished["slow=0.0 0"]
    assert (results["slow=0.4 0"]["status"], results["slow=0.4 0"]["attempt"]) == ("ok", 2)
