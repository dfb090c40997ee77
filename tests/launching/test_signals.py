"""A signal saves and stops with exit code 75; the run goes on later and ends with the bits of one never stopped."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import termios
import threading
from pathlib import Path

import pytest

from harness.measure.system import describe_system
from harness.records.claims import claim
from tests.house import House
from tests.launching.paced import Paced, stop

pytestmark = pytest.mark.launch

LINGERS_AT_THE_END = """

_end_launch = end_launch


def end_launch(child, folder):
    import time

    _end_launch(child, folder)
    Path("in-end-0").touch()
    time.sleep(2)
"""


def test_one_process_stops_on_sigint_and_goes_on(house: House) -> None:
    run = Paced(house, 1)
    expected = run.finish(output="reference")
    run.hold("step")
    child = run.start()
    run.reached("step")
    words = stop(child, signal.SIGINT)
    assert child.returncode == 75, words
    assert "SIGINT: saving" in words and "stopped: what was done is kept" in words
    result = run.result()
    assert (result["status"], result["cause"]["kind"]) == ("preempted", "SIGINT")
    assert not run.left()
    run.let_go()
    assert run.finish() == expected
    assert run.result()["resumed_at_steps"] == [result["cause"]["step"]]


@pytest.mark.slow
def test_two_processes_save_and_stop_together_on_sigusr1(house: House) -> None:
    run = Paced(house, 2)
    run.hold("step")
    child = run.start()
    run.reached("step")
    words = stop(child, signal.SIGUSR1)
    assert child.returncode == 75, words
    assert run.result()["cause"]["kind"] == "SIGUSR1"
    assert "Traceback" not in words
    assert not run.left()
    assert len(list(house.path.glob("results/paced/*/*/checkpoints/step-*/manifest.json"))) == 1


def with_a_terminal_that_closes(run: Paced, where: str, *more: str) -> int:
    """Runs a suite on a terminal of its own, which is closed when the run lingers there; returns the exit code."""
    house = run.house
    run.hold(where)
    ours, theirs = os.openpty()

    def read() -> None:
        while not closing.is_set():
            if select.select([ours], [], [], 0.05)[0]:
                os.read(ours, 4096)

    closing, reader = threading.Event(), threading.Thread(target=read)
    reader.start()
    child = subprocess.Popen(
        house.command("suite.yaml", *more),
        cwd=house.path,
        env=house.environment(TERM="xterm-256color"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        run.reached(where)
    finally:
        closing.set()
        reader.join()
        os.close(ours)
    return child.wait(60)


def test_a_closed_terminal_saves_and_stops(house: House) -> None:
    run = Paced(house, 1)
    code = with_a_terminal_that_closes(run, "step", "--set", "train.epochs=20")  # it does not end before that
    result = run.result()
    assert code == 75, result
    assert (result["status"], result["cause"]["kind"]) == ("preempted", "SIGHUP")
    assert "a checkpoint is kept" in result["cause"]["message"]
    assert not run.left()


def test_a_terminal_that_closes_when_all_is_done_keeps_no_table_from_being_written(house: House) -> None:
    with (house.path / "harness/launching/ranks.py").open("a") as file:
        file.write(LINGERS_AT_THE_END)
    run = Paced(house, 1)
    assert with_a_terminal_that_closes(run, "end", "--set", "train.epochs=1") == 0
    assert run.result()["status"] == "ok"
    assert (house.path / "results/paced/table.csv").exists()


@pytest.mark.slow
def test_where_the_launch_folder_is_deleted_the_ranks_save_and_stop(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run = Paced(house, 2)
    run.hold("step")
    child = run.start("--set", "train.epochs=20")
    run.reached("step")
    [folder] = tmp_path.glob("harness-*")
    shutil.rmtree(folder)
    run.let_go()
    _, words = child.communicate(timeout=120)
    assert (child.returncode, run.result()["status"]) == (75, "preempted"), words
    assert words.count("the folder of the launch was deleted: saving") == 1
    assert "Traceback" not in words and not folder.exists()


def test_nobody_who_reads_stderr_ends_no_training_and_the_first_own_run_is_warmed_up(house: House) -> None:
    suite = house.suite("matrix: {model.slow: [0.0, 0.001, 0.002]}\nwarm_up_seconds: 0.3\n")
    planned = subprocess.run(
        [*house.command()[:1], "-m", "harness", "plan", str(suite), "--json"],
        cwd=house.path,
        env=house.environment(),
        capture_output=True,
        text=True,
    )
    runs = json.loads(planned.stdout)
    system_id = describe_system(use_cpu=True)["system_id"]
    first = claim(house.path / "results/faults" / runs[0]["run_id"] / system_id)
    assert first
    reader, writer = os.pipe()
    os.close(reader)
    with first:
        ended = subprocess.run(
            house.command(str(suite)), cwd=house.path, env=house.environment(), stdout=subprocess.DEVNULL, stderr=writer
        )
    os.close(writer)
    assert ended.returncode == 75, "the first run is done elsewhere"
    assert {result["status"] for result in house.results().values()} == {"ok"}
    events = {path.parents[1].name: path.read_text() for path in house.path.glob("results/faults/*/*/events.jsonl")}
    assert [run["run_id"] for run in runs if '"warm_up"' in events.get(run["run_id"], "")] == [runs[1]["run_id"]]
