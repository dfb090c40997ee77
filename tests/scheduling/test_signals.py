"""A signal saves and stops with exit code 75; the run goes on later and ends with the bits of one never stopped."""

from __future__ import annotations

import signal

import pytest

from tests.house import House
from tests.scheduling.paced import Paced, stop

pytestmark = pytest.mark.launch


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
