"""The train clock and the stopwatch, on sleeps of known length."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from harness.measure.clock import EpochTime, Stopwatch, TrainClock
from harness.training.loop import begin_epoch, train_epoch
from tests.processes import seconds_without_a_core
from tests.training.test_loop import make

CPU = torch.device("cpu")


def loader(waits: list[float]) -> Iterator[int]:
    for number, wait in enumerate(waits):
        time.sleep(wait)
        yield number


def run(clock: TrainClock, waits: list[float], step: float) -> None:
    for _ in clock.batches(loader(waits)):
        time.sleep(step)


class Slept:
    """A clock that only sleeping moves forward: what a busy machine adds to a sleep is no error of ours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_waiting_and_steps_are_told_apart_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    Slept(monkeypatch)
    clock = TrainClock(CPU, untimed_steps=2)
    run(clock, [5.0, 1.0, 2.0, 3.0], step=0.5)
    epoch = clock.last_part()
    assert epoch.train_seconds == pytest.approx(11.0 + 2.0)
    assert epoch.wait_seconds == pytest.approx(11.0)
    assert epoch.timed_seconds == pytest.approx(2.0 + 3.0 + 1.0) and epoch.timed_steps == 2


def test_untimed_steps_are_those_of_the_run_and_not_of_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    Slept(monkeypatch)
    clock = TrainClock(CPU, untimed_steps=4)
    run(clock, [1.0, 1.0, 1.0], step=1.0)
    assert (clock.last_part().timed_seconds, clock.last_part().timed_steps) == (0.0, 0)
    run(clock, [1.0, 1.0, 1.0], step=1.0)
    assert (clock.last_part().timed_seconds, clock.last_part().timed_steps) == (pytest.approx(4.0), 2)
    run(clock, [1.0, 1.0, 1.0], step=1.0)
    assert (clock.last_part().timed_seconds, clock.last_part().timed_steps) == (pytest.approx(6.0), 3)


def test_what_happens_between_epochs_is_on_no_train_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = Slept(monkeypatch)
    clock = TrainClock(CPU, untimed_steps=0)
    run(clock, [1.0], step=1.0)
    slept.sleep(50.0)
    run(clock, [1.0], step=2.0)
    assert clock.last_part().train_seconds == pytest.approx(3.0)


def test_a_loader_that_ends_late_is_in_the_train_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = Slept(monkeypatch)

    def late() -> Iterator[int]:
        yield 1
        slept.sleep(7.0)

    clock = TrainClock(CPU, untimed_steps=0)
    for _ in clock.batches(late()):
        slept.sleep(1.0)
    assert clock.last_part().train_seconds == pytest.approx(8.0)


def test_real_sleeps_within_two_percent() -> None:
    clock, stopwatch = TrainClock(CPU, untimed_steps=1), Stopwatch(CPU)
    waits, steps = [], []

    def slow() -> Iterator[int]:
        for number in range(8):
            timed_sleep(0.03, waits)
            yield number

    before = seconds_without_a_core()
    with stopwatch("train"):
        for _ in clock.batches(slow()):
            timed_sleep(0.01, steps)
    epoch = clock.last_part()
    waited = seconds_without_a_core() - before
    for found, slept in (
        (epoch.train_seconds, sum(waits) + sum(steps)),
        (epoch.wait_seconds, sum(waits)),
        (epoch.timed_seconds, sum(waits[1:]) + sum(steps[1:])),
        (stopwatch.seconds["train"], epoch.train_seconds),
    ):
        assert found == pytest.approx(slept, abs=0.02 * slept + waited)


class Sleeper(nn.Linear):
    """A network whose step takes a known time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(12, 4)
        self.seconds = seconds
        self.slept: list[float] = []

    def forward(self, input: Tensor) -> Tensor:
        timed_sleep(self.seconds, self.slept)
        return super().forward(input.flatten(1))


def timed_sleep(seconds: float, into: list[float]) -> None:
    began = time.perf_counter()
    time.sleep(seconds)
    into.append(time.perf_counter() - began)


def train_on_a_slow_loader(wait: float, step: float, batches: int = 10) -> tuple[EpochTime, float, float]:
    """Trains an epoch; returns its time, and what loader and steps really slept."""
    slept: list[float] = []

    def slow_loader() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(batches):
            timed_sleep(wait, slept)
            yield torch.zeros(12, 3, 2, 2), torch.zeros(12, dtype=torch.int64)

    network, clock = Sleeper(step), TrainClock(CPU, untimed_steps=0)
    train_state = make(network)
    so_far = begin_epoch(train_state, 0)
    train_epoch(train_state, slow_loader(), [12] * batches, so_far, clock)
    return so_far.time, sum(slept), sum(network.slept)


@pytest.mark.parametrize(("wait", "step", "share"), [(3.0, 1.0, 0.75), (1.0, 3.0, 0.25), (0.0, 2.0, 0.0)])
def test_a_loader_that_is_too_slow_for_its_steps_is_found_out_exactly(
    monkeypatch: pytest.MonkeyPatch, wait: float, step: float, share: float
) -> None:
    Slept(monkeypatch)
    epoch, _, _ = train_on_a_slow_loader(wait, step)
    assert epoch.train_seconds == pytest.approx(10 * (wait + step))
    assert epoch.wait_seconds / epoch.train_seconds == pytest.approx(share)


@pytest.mark.parametrize(("wait", "step"), [(0.03, 0.01), (0.01, 0.03)])
def test_a_loader_that_is_really_too_slow_for_its_steps_is_found_out(wait: float, step: float) -> None:
    train_on_a_slow_loader(0.0, 0.0, batches=1)  # the first step of a process takes far longer
    before = seconds_without_a_core()
    epoch, loading, stepping = train_on_a_slow_loader(wait, step)
    waited = seconds_without_a_core() - before
    assert loading <= epoch.wait_seconds <= 1.05 * loading + waited
    # A step does more than sleep, and a busy machine makes that longer: it can only lower the share.
    assert (
        0.6 * loading / (loading + stepping + waited)
        < epoch.wait_seconds / epoch.train_seconds
        < (1.05 * loading + waited) / (loading + stepping)
    )


def test_a_loader_that_keeps_up_is_not_blamed() -> None:
    before = seconds_without_a_core()
    epoch, _, _ = train_on_a_slow_loader(wait=0.0, step=0.05)
    waited = seconds_without_a_core() - before
    assert epoch.wait_seconds < 0.1 * epoch.train_seconds + waited


def test_batches_are_handed_on_as_they_come() -> None:
    assert list(TrainClock(CPU, 0).batches(loader([0.0] * 5))) == list(range(5))


def test_no_epoch_is_through() -> None:
    clock = TrainClock(CPU, 0)
    next(clock.batches(loader([0.0, 0.0])))
    with pytest.raises(AssertionError, match="no batches are through"):
        clock.last_part()


def test_the_stopwatch_adds_up_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = Slept(monkeypatch)
    stopwatch = Stopwatch(CPU)
    for name, seconds in [("build", 1.0), ("eval", 2.0), ("build", 4.0)]:
        with stopwatch(name):
            slept.sleep(seconds)
        slept.sleep(100.0)
    assert stopwatch.seconds == pytest.approx({"build": 5.0, "eval": 2.0})


def test_the_stopwatch_counts_a_phase_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = Slept(monkeypatch)
    stopwatch = Stopwatch(CPU)
    with pytest.raises(ValueError, match="planted"), stopwatch("build"):
        slept.sleep(3.0)
        raise ValueError("planted")
    assert stopwatch.seconds == pytest.approx({"build": 3.0})
