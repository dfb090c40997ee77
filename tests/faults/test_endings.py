"""Signals at the worst moments, under each launcher; ranks that are killed; launches that lose their supervisor."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import datetime

import psutil
import pytest

from tests.house import House
from tests.launching.paced import Paced, stop
from tests.processes import processes_in, wait_for

pytestmark = [pytest.mark.launch, pytest.mark.slow]
Count = Callable[..., None]
TERM, INT, USR1, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP


REFERENCES: dict[int, dict[str, object]] = {}


def uninterrupted(run: Paced) -> dict[str, object]:
    """Returns the bits of a run that nobody interrupts: the same for all tests with so many processes."""
    if run.num_processes not in REFERENCES:
        REFERENCES[run.num_processes] = run.finish(output="reference")
    return REFERENCES[run.num_processes]


def ranks(run: Paced) -> list[psutil.Process]:
    """Returns the processes that train."""
    return [process for process in processes_in(run.house.path) if "RANK" in process.environ()]


@pytest.mark.parametrize("processes", [1, 2])
def test_each_signal_stops_a_supervised_launch(house: House, fault: Count, processes: int) -> None:
    run = Paced(house, processes)
    expected = uninterrupted(run)
    run.hold("step")
    seconds = {}
    for number in (TERM, INT, USR1, HUP):  # one life of the run after the other
        child = run.start()
        run.reached("step")
        began = time.monotonic()
        words = stop(child, number)
        seconds[number] = time.monotonic() - began
        assert child.returncode == 75, words
        assert not run.left()
    run.let_go()
    same = run.finish() == expected
    assert len(run.result()["resumed_at_steps"]) == len(seconds)
    for number in seconds:
        fault(f"{number.name} to the supervisor", survived=same, seconds_lost=seconds[number], steps_lost=0)


@pytest.mark.parametrize(
    ("launcher", "processes", "signals"),
    # torchrun hands on SIGTERM, SIGINT and SIGHUP; SIGUSR1 ends it, and its ranks see that.
    [("accelerate", 2, [TERM, INT, USR1, HUP]), ("torchrun", 2, [TERM, HUP]), ("accelerate", 1, [TERM, HUP])],
)
def test_each_signal_to_another_launcher_saves(
    house: House, fault: Count, launcher: str, processes: int, signals: list[signal.Signals]
) -> None:
    run = Paced(house, processes, launcher)
    expected = uninterrupted(run)
    run.hold("step")
    for number in signals:
        child = run.start(stderr=None)
        run.reached("step")
        child.send_signal(number)
        assert wait_for(lambda: not processes_in(house.path), 120), "ranks outlived their launcher"
        assert child.wait() != 0
        if number != USR1:  # it takes the store of the ranks with it, without which they may not come to save
            assert run.result()["status"] == "preempted"
    run.let_go()
    same = run.finish() == expected
    for number in signals:
        fault(f"{number.name} to {launcher}", survived=same, steps_lost=0)


def test_a_signal_during_an_evaluation(house: House, fault: Count) -> None:
    run = Paced(house, 1)
    expected = uninterrupted(run)
    run.hold("evaluation")
    child = run.start()
    run.reached("evaluation")
    words = stop(child, TERM)
    assert (child.returncode, run.result()["status"]) == (75, "preempted"), words
    run.let_go()
    fault("SIGTERM during an evaluation", survived=run.finish() == expected, steps_lost=0)


def test_signals_while_it_imports_between_two_runs_and_to_all_processes(house: House, fault: Count) -> None:
    run = Paced(house, 1)
    expected = uninterrupted(run)
    child = run.start()
    assert wait_for(lambda: len(processes_in(house.path)) == 2, 120)
    for wait in (0.1, 1.0):
        time.sleep(wait)
        words = stop(child, TERM)
        assert child.returncode == 75, words
        assert not house.results("paced"), "nothing was begun"
        assert not run.left()
        child = run.start()
        assert wait_for(lambda: len(processes_in(house.path)) == 2, 120)
    for process in processes_in(house.path):
        process.send_signal(TERM)
    _, words = child.communicate(timeout=250)
    assert child.returncode == 75, words
    fault("SIGTERM while torch is imported", survived=run.finish() == expected)

    run.hold("step")  # or the second is through before anyone looks
    child = run.start("--set", "seeds=2", output="two")
    assert wait_for(lambda: list((house.path / "two").glob("paced/*/*/result.json")), 120)
    words = stop(child, TERM)
    assert child.returncode == 75, words
    results = house.path / "two/paced"
    run.let_go()
    done = run.start("--set", "seeds=2", output="two")
    _, words = done.communicate(timeout=250)
    survived = done.returncode == 0 and len(list(results.glob("*/*/losses.npz"))) == 2
    fault("SIGTERM between two runs", survived=survived)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_interrupt_during_a_save_stops_at_once(house: House, fault: Count, processes: int) -> None:
    run = Paced(house, processes)
    expected = uninterrupted(run)
    run.hold("step")
    run.hold("save")
    child = run.start()
    run.reached("step")
    child.send_signal(INT)
    run.reached("save")
    began = time.monotonic()
    words = stop(child, INT)
    seconds = time.monotonic() - began
    assert child.returncode == 75, words
    assert seconds < 60
    assert not house.results("paced"), "the save was cut short"
    assert not run.left()
    run.let_go()
    fault("second SIGINT during a save", survived=run.finish() == expected, seconds_lost=seconds)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_rank_that_sleeps_for_ever_is_found(
    house: House, fault: Count, figure: Callable[[str, float], None], processes: int
) -> None:
    limit, last = 12, processes - 1
    suite = house.suite(f"include: [{{model: {{name: faulty, fault: sleep, rank: {last}}}}}, {{model: faulty}}]\n")
    sizes = ["--set", f"train.num_processes={processes}", "--set", f"train.timeout_seconds={limit}"]
    done = house.run(str(suite), *sizes)
    assert done.returncode == 1, done.stderr
    results = {result["status"]: result for result in house.results().values()}
    assert set(results) == {"timeout", "ok"}, "it costs its own run, and no other"
    cause = results["timeout"]["cause"]
    assert cause["rank"] == last and f"rank {last} is stuck in fail (" in cause["message"]
    assert processes == 1 or "rank 0 waits in " in cause["message"]
    began, ended = (datetime.fromisoformat(results["timeout"][name]) for name in ("started_at", "ended_at"))
    noticed = (ended - began).total_seconds() - limit  # the three steps before it take milliseconds
    figure("hang_noticed_seconds_after_timeout", noticed)
    assert 0 < noticed < 60
    orphans = processes_in(house.path)
    figure("orphans", len(orphans))
    fault("rank that sleeps for ever", survived=not orphans, seconds_lost=limit + noticed)


def test_one_rank_of_two_is_killed_beneath_the_launcher(house: House, fault: Count) -> None:
    run = Paced(house, 2)
    expected = uninterrupted(run)
    run.hold("step")
    child = run.start("--set", "train.checkpoint_every_steps=2")
    run.reached("step")
    [victim] = [process for process in ranks(run) if process.environ()["RANK"] == "1"]
    began = time.monotonic()
    victim.kill()
    _, words = child.communicate(timeout=250)
    seconds = time.monotonic() - began
    cause = run.result()["cause"]
    assert (cause["kind"], cause["rank"]) == ("SIGKILL", 1), words
    assert words.count("hint: `harness doctor`") == 1 and "Traceback" not in words
    assert not run.left()
    run.let_go()
    fault("SIGKILL of one rank of two", survived=run.finish() == expected, seconds_lost=seconds)


@pytest.mark.parametrize("processes", [1, 2])
def test_no_process_outlives_its_supervisor(house: House, fault: Count, processes: int) -> None:
    run = Paced(house, processes)
    expected = uninterrupted(run)
    run.hold("step")
    child = run.start("--set", "loader={name: pinned, workers: 2}", stderr=None)
    run.reached("step")
    assert len(processes_in(house.path)) >= 2 + processes
    child.kill()
    child.wait()
    began = time.monotonic()
    assert not run.left()
    seconds = time.monotonic() - began
    run.let_go()
    fault("SIGKILL of the supervisor", survived=run.finish() == expected, seconds_lost=seconds)


FULL = '''
"""A network for whose rank 1 more than eight images are too many, though not in its first steps."""

import os
import torch
from torch import nn
from harness.registry import architecture


@architecture("full")
def full(image, num_classes):
    """A linear network."""
    return Full(image.channels * image.height * image.width, num_classes)


class Full(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        if self.training and self.calls > 4 and len(x) > 8 and os.environ["RANK"] == "1":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.linear(x.flatten(1))
'''


def test_out_of_memory_on_one_rank_is_tried_again_with_smaller_micro_batches(house: House, fault: Count) -> None:
    run = Paced(house, 2)
    (house.path / "harness/models/full.py").write_text(FULL)
    child = run.start("--set", "model=full", "--set", "train.retry_out_of_memory=true")
    _, words = child.communicate(timeout=250)
    assert child.returncode == 0, words
    assert words.count("again with micro-batches of 8") == 1
    result = run.result()
    resolved, train = result["resolved"], result["spec"]["train"]
    assert (resolved["gradient_accumulation_steps"], resolved["micro_batch_size"]) == (2, 8)
    assert (train["gradient_accumulation_steps"], train["global_batch_size"]) == (1, 32)
    assert result["throughput"]["steps"] == 16, "as many steps as with whole batches"
    [events] = [path.read_text() for path in house.path.glob("results/paced/*/*/events.jsonl")]
    assert '"retried","' in events and "Tried to allocate" in events
    fault("out of memory on one rank of two", survived=not run.left())
