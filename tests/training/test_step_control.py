"""When one process pauses; two ranks are in tests/distributed/test_resume.py."""

from __future__ import annotations

import time

import pytest

from harness.training.step_control import StepAction, StepControl


class Signal:
    """A signal that a test gives."""

    given = False

    def __call__(self) -> bool:
        return self.given


def pauses(
    signal: Signal | None = None, seconds: float | None = None, steps: int | None = None, first: int = 0
) -> StepControl:
    return StepControl(1, signal or Signal(), seconds, steps, first)


def paused_after(made: StepControl, steps: int) -> list[int]:
    """Returns the steps, counted from 1, after which it pauses, when each pause is for a checkpoint."""
    found = []
    for step in range(1, steps + 1):
        if made():
            assert made.action == StepAction.SAVE
            made.done()
            found.append(step)
        assert made.action == StepAction.CONTINUE
    return found


def test_every_few_steps_of_the_run() -> None:
    assert paused_after(pauses(steps=3), 10) == [3, 6, 9]
    assert paused_after(pauses(steps=1), 3) == [1, 2, 3]
    assert paused_after(pauses(steps=5, first=13), 10) == [2, 7]  # steps 15 and 20 of the run


def test_never() -> None:
    assert paused_after(pauses(), 1000) == []


def test_every_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    made = pauses(seconds=10.0)
    found = []
    for step in range(40):
        now[0] += 1.0
        if made():
            now[0] += 100.0  # what writing takes is not counted
            made.done()
            found.append(step + 1)
    assert found == [10, 20, 30, 40]


def test_seconds_and_steps_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    made = pauses(seconds=4.0, steps=6)
    found = []
    for step in range(14):
        now[0] += 1.0
        if made():
            made.done()
            found.append(step + 1)
    assert found == [4, 6, 10, 12]  # seconds count from the last checkpoint, whatever asked for it


def test_a_stop_is_more_than_a_checkpoint() -> None:
    signal = Signal()
    made = pauses(signal, steps=2)
    assert not made()
    signal.given = True
    assert made() and made.action == StepAction.STOP


def test_a_stop_is_not_forgotten() -> None:
    signal = Signal()
    made = pauses(signal)
    signal.given = True
    assert made()
    signal.given = False
    assert made() and made.action == StepAction.STOP


def test_a_run_that_was_lost_is_left_and_not_saved_whatever_else_is_asked_for() -> None:
    signal = Signal()
    signal.given = True
    made = StepControl(1, signal, 0.0, 1, is_lost=lambda: True)
    assert made() and made.action == StepAction.LEAVE
