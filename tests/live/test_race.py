"""What the live view shows of a race: in the launch that trains its runs, and from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.live.draw import draw
from harness.live.follow import Watched
from harness.live.race import RaceBlock
from harness.live.state import SuiteState
from harness.results.race import RaceState
from harness.suite.plan import Plan
from tests.live.made import ended
from tests.results.raced import SUITE, plan_of, train


def block(plan: Plan, output: Path) -> RaceBlock:
    return RaceBlock.of(plan, output, plan.runs)


def look(plan: Plan, output: Path) -> RaceState:
    """Trains the runs until the next look, and makes it."""
    state = RaceState.begin(plan, output)
    train(output, state.due(plan.runs))
    return state.look(plan.runs)


def forecast(plan: Plan, output: Path) -> None:
    spans = {run.run_id: {"seconds": 60.0, "low": 50.0, "high": 70.0} for run in plan.runs}
    kept = {"system_id": "x", "made_at": "", "runs": spans}
    (output / "raced/forecast.json").write_text(json.dumps(kept))


def test_before_the_first_look_all_are_in(tmp_path: Path) -> None:
    assert block(plan_of(tmp_path), tmp_path).lines((), 79) == [
        "race: best, 4 of 4 configs in: low, middle, high, twin",
        "look 1 of 3, at 3 seeds: who leaves · 12 runs, no forecast",
    ]


def test_who_left_and_why_and_what_the_next_look_decides_with_its_forecast(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    state = look(plan, tmp_path)
    forecast(plan, tmp_path)
    due = state.due(plan.runs)
    lines = block(plan, tmp_path).lines({due[0].run_id}, 120)
    assert lines[0] == "race: best, 2 of 4 configs in: high, twin"
    assert re.fullmatch(r"left: .*(low|middle).* \(look 1, worse than (high|twin)\)", lines[1])
    assert lines[2] == "look 2 of 3, at 5 seeds: who leaves, or the end · 3 runs, 3 min · in all at most 9 min"
    short = "look 2 of 3, at 5 seeds: who leaves · 4 runs, 4 min · in all at most 10 min"
    assert block(plan, tmp_path).lines((), 79)[2] == short
    assert len(short) <= 79


def test_the_last_look_and_the_end(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, SUITE.replace("looks: [3, 5, 8]", "looks: [3, 4]"))
    look(plan, tmp_path)
    assert block(plan, tmp_path).lines((), 79)[-1].startswith("look 2, the last, at 4 seeds")
    state = look(plan, tmp_path)
    assert state.ended
    assert block(plan, tmp_path).lines((), 79)[-1].startswith("Race over, ")


def test_against_a_config_and_fresh_seeds(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, SUITE.replace("margin: 0.003", "against: high, margin: 0.03, confirm: 2"))
    assert block(plan, tmp_path).lines((), 79)[0].startswith("race: best against high, 4 of 4 configs in")
    assert "who is decided" in block(plan, tmp_path).lines((), 79)[1]
    while not look(plan, tmp_path).ended:
        pass
    lines = block(plan, tmp_path).lines((), 79)
    assert re.search(r"twin \(look \d, equivalent to high\)", lines[1])
    assert lines[-1].startswith("decided: fresh seeds · 2 runs, no")


@pytest.mark.parametrize("height", range(1, 26))
@pytest.mark.parametrize("width", [1, 20, 79, 159])
def test_in_any_window_it_leaves_room_for_the_suite_and_the_runs(tmp_path: Path, width: int, height: int) -> None:
    plan = plan_of(tmp_path)
    state = look(plan, tmp_path)
    shown = SuiteState("raced", state.possible(plan.runs), race=block(plan, tmp_path))
    for run in plan.runs[:12]:
        shown.end(ended(run.run_id))
    for run in state.due(plan.runs):
        shown.take(run.run_id, {"event": "run_started", "steps": 9, "epochs": 3, "samples_per_epoch": 10})
    lines = [line.plain for line in draw([shown], width, height, "queue: tasks: 3 running")]
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert lines[0][:5] in "raced…"
    if width >= 79 and height >= 2:
        assert ("look 2 of 3" in "".join(lines)) == (height >= 5), "of a race the next look is the last to go"
        assert ("worse than" in "".join(lines)) == (height >= 9)
        assert height < 6 or "seed" in "".join(lines[1:-1])


def test_from_elsewhere_it_counts_the_runs_that_may_still_be(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    watched = Watched(plan, tmp_path)
    [state] = watched.look()
    assert len(state.planned) == 32 and state.race
    decided = look(plan, tmp_path)
    [state] = watched.look()
    assert len(state.planned) == len(decided.possible(plan.runs)) == 22
    assert state.counts()["open"] == 10
    lines = [line.plain for line in draw([state], 79, 24)]
    assert lines[1] == "race: best, 2 of 4 configs in: high, twin"
    assert lines[3].startswith("look 2 of 3, at 5 seeds")
