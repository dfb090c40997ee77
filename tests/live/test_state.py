"""What events make of the state, and the guesses at the time that is left."""

from __future__ import annotations

import dataclasses

import pytest

from harness.live.draw import about, draw
from harness.live.state import RunEnded, SuiteState
from tests.live.made import ended, going_on, planned, see, start
from tests.marked import MARKING
from tests.records.test_result import result


def test_counts() -> None:
    state = going_on()
    assert state.counts() == {"done": 3, "running": 1, "open": 2, "failed": 1}
    state.end(ended("r3", "preempted"))
    assert state.counts() == {"done": 3, "running": 0, "open": 3, "failed": 1}, "it goes on later"
    start(state, "r2")
    assert state.counts() == {"done": 2, "running": 1, "open": 3}, "a failed run is tried again"


def test_a_run_that_goes_on() -> None:
    run = going_on().current["r3"]
    assert (run.step, run.current_epoch, run.share_done) == (25, 3, 0.25)
    assert run.wait_share == 0.25
    assert run.samples_per_second == 1000 / 4.0, "of the last epoch: too little is known of the present one"


def test_the_rate_of_a_long_epoch_is_taken_within_it() -> None:
    state = SuiteState("s", planned())
    start(state, "r0")
    see(state, "r0", 1)
    see(state, "r0", 9, after=16.0)
    assert state.current["r0"].samples_per_second == pytest.approx(8 * 100 / 16)
    see(state, "r0", 11, after=20.0)
    assert state.current["r0"].samples_per_second is None, "a new epoch, and none is through"


def test_before_the_first_step() -> None:
    state = SuiteState("s", planned())
    see(state, "r0", None)
    run = state.current["r0"]
    assert (run.current_epoch, run.samples_per_second, run.wait_share) == (None, None, None)
    assert run.ranks[0].phase == "data" and state.seconds_left() is None


def test_another_attempt_forgets_what_was_seen() -> None:
    state = going_on()
    start(state, "r3")
    run = state.current["r3"]
    assert (run.epoch, run.ranks, run.first, run.step) == (None, {}, None, 0)


def test_what_a_rank_told_last_of_a_run_that_has_ended_begins_it_not_anew() -> None:
    state = going_on()
    state.end(ended("r3"))
    see(state, "r3", 26)
    see(state, "of another plan", 26)
    assert not state.current


def test_the_front_is_of_means_over_seeds_and_the_failed_and_anchors_are_not_in_it() -> None:
    runs = planned(9)
    runs[6] = runs[6].model_copy(update={"spec": runs[6].spec.model_copy(update={"repeat": 1})})
    state = SuiteState("s", runs)
    state.end(ended("r6", accuracy=0.1))
    for one in (ended("r0", accuracy=0.8), ended("r3", accuracy=0.9, seconds=30.0), ended("r1", accuracy=0.8)):
        state.end(one)
    state.end(ended("r2", accuracy=0.95, seconds=50.0))
    state.end(ended("r4", "failed", accuracy=0.99))
    found = {config.label[-1]: config for config in state.front()}
    assert (found["0"].accuracy, found["0"].train_seconds, found["0"].runs) == (pytest.approx(0.85), 20.0, 2)
    assert {name: config.on_front for name, config in found.items()} == {"0": True, "1": True, "2": True}
    state.end(ended("r5", accuracy=0.6, seconds=10.0))
    state.end(ended("r8", accuracy=0.6, seconds=10.0))
    found = {config.label[-1]: config for config in state.front()}
    assert not found["2"].on_front, "slower and less accurate"
    assert [config.label[-1] for config in state.front()] == ["0", "1", "2"]


def test_time_left_by_ended_runs_of_the_config() -> None:
    state = SuiteState("s", planned())
    for one in (ended("r0", seconds=10.0), ended("r1", seconds=20.0), ended("r2", seconds=30.0)):
        state.end(one)
    start(state, "r3")
    see(state, "r3", 50)
    assert state.seconds_left_of_run("r3") == 10.0, "half of 20 s"
    assert state.seconds_left() == 10.0 + 40.0 + 60.0


def test_time_left_by_steps_where_no_run_of_the_config_has_ended() -> None:
    state = SuiteState("s", planned(3))
    state.end(ended("r0", seconds=10.0))  # 20 s for one unit of steps
    assert state.seconds_left() == 20.0 * 2 + 20.0 * 3


def test_time_left_by_the_pace_of_the_first_run() -> None:
    state = SuiteState("s", planned(2, configs=1))
    start(state, "r0")
    see(state, "r0", 1)
    assert state.seconds_left_of_run("r0") is None, "one step says nothing"
    see(state, "r0", 21, after=10.0)
    assert state.seconds_left_of_run("r0") == pytest.approx(79 * 0.5)
    assert state.seconds_left() == pytest.approx(79 * 0.5 + 50.0)


def test_a_resumed_run_is_judged_by_the_steps_that_were_seen() -> None:
    state = SuiteState("s", planned(1))
    start(state, "r0")
    see(state, "r0", 61)
    see(state, "r0", 71, after=10.0)
    assert state.seconds_left_of_run("r0") == pytest.approx(29.0)


def test_several_runs_at_a_time_share_what_is_left() -> None:
    state = SuiteState("s", planned(4, configs=1))
    state.end(ended("r0", seconds=10.0))
    for run_id in ("r1", "r2"):
        start(state, run_id)
        see(state, run_id, None)
    assert state.seconds_left() == 3 * 20.0 / 2


def test_a_config_that_was_not_timed_is_shown_and_ranked_by_no_time() -> None:
    state = SuiteState("s", planned(3))
    untimed = dataclasses.replace(ended("r1", accuracy=0.95, seconds=1.0), marks="packed")
    for one in (ended("r0", accuracy=0.8, seconds=10.0), untimed):
        state.end(one)
    assert [(one.label, one.train_seconds, one.on_front) for one in state.front()] == [
        ("resnet18 width=0", 10.0, True), ("resnet18 width=1", None, False)
    ]  # fmt: skip
    assert untimed.sentence("r1").endswith("train 1.00 s, not ranked (packed)")
    shown = [line.plain for line in draw([state], 80, 10)]
    assert any("95.00%" in line and " - " in line and "◆" not in line for line in shown)


@pytest.mark.parametrize("mark", ["", *MARKING])
def test_a_record_says_whether_it_was_timed(mark: str) -> None:
    found = RunEnded.of(result(**MARKING.get(mark, {})))
    assert found.marks == mark and found.timed is not bool(mark)


def test_nothing_left() -> None:
    state = SuiteState("s", planned(1))
    state.end(ended("r0"))
    assert state.seconds_left() == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.2, "about 1 s"), (89.0, "about 89 s"), (91, "about 2 min"), (5399, "about 90 min"),
     (5400, "about 1.5 h"), (172_799, "about 48.0 h"), (259_200, "about 3.0 days")],
)  # fmt: skip
def test_about(seconds: float | None, text: str) -> None:
    assert about(seconds) == text
