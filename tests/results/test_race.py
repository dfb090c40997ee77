"""A race as it is kept: its looks are written once, from runs that are its own, and read again by whoever goes on."""

import json
import time
from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.results.race import RaceState, race_of, races_in
from harness.results.race_text import next_text, race_lines, verdict
from tests.results.raced import SUITE, accuracy, labels, plan_of, train


def raced(plan, output, looks=1):
    """A race behind so many looks."""
    state = RaceState.begin(plan, output)
    for _ in range(looks):
        train(output, state.due(plan.runs))
        state = state.look(plan.runs)
    return state


def test_a_round_has_the_configs_that_are_left_in_the_plans_order(tmp_path):
    plan = plan_of(tmp_path)
    state = RaceState.begin(plan, tmp_path)
    due = state.due(plan.runs)
    assert [run.run_id for run in due] == [run.run_id for run in plan.runs if run.spec.seed < 3]
    state = raced(plan, tmp_path)
    assert labels(plan, state.staying) == {"high", "twin"}
    assert {run.spec.seed for run in state.due(plan.runs)} == {3, 4}
    assert labels(plan, [run.config_id for run in state.due(plan.runs)]) == {"high", "twin"}
    for number, left in state.left.values():
        assert (number, left.why) == (1, "worse")
        assert left.p is not None and left.p < state.race.alphas[0]


def test_a_look_waits_for_all_its_runs(tmp_path):
    plan = plan_of(tmp_path)
    state = RaceState.begin(plan, tmp_path)
    *some, last = state.due(plan.runs)
    train(tmp_path, some)
    train(tmp_path, [last], status="failed")
    assert state.look(plan.runs) is state
    assert races_in(tmp_path / "raced")[0].looks == ()


def test_what_was_decided_stays_whatever_becomes_of_the_records(tmp_path):
    plan = plan_of(tmp_path)
    state = raced(plan, tmp_path)
    for path in (tmp_path / "raced").glob("*/*/result.json"):
        record = json.loads(path.read_text())
        record["metrics"]["test"]["accuracy"] = 1 - record["metrics"]["test"]["accuracy"]
        path.write_text(json.dumps(record))
    again = RaceState.begin(plan, tmp_path)
    assert again.looks == state.looks
    assert again.staying == state.staying


def test_of_two_that_decide_at_once_the_first_counts(tmp_path):
    plan = plan_of(tmp_path)
    one = other = RaceState.begin(plan, tmp_path)
    train(tmp_path, one.due(plan.runs))
    first = one.look(plan.runs)
    for path in (tmp_path / "raced").glob("*/*/result.json"):
        path.write_text(path.read_text().replace('"accuracy":0.5', '"accuracy":0.9'))
    assert other.look(plan.runs).looks == first.looks
    assert not list((tmp_path / "raced/races").glob("*/.*")), "a file is left"


def test_values_are_kept_and_give_the_decision_again(tmp_path):
    import numpy as np

    from harness.statistics.race import decide

    plan = plan_of(tmp_path)
    look = raced(plan, tmp_path, looks=2).looks[1]
    ids = list(look.accuracy)
    values = np.full((4, 5), np.nan)
    for place, own in enumerate(look.accuracy.values()):
        values[place, : len(own)] = own
    assert sorted(map(len, look.accuracy.values())) == [3, 3, 5, 5]
    run = plan.runs[0]
    assert look.accuracy[run.config_id][run.spec.seed] == pytest.approx(accuracy(run))
    inside = [place for place, one in enumerate(ids) if one in raced(plan, tmp_path, looks=0).looks[0].staying]
    found = decide("best", values, inside, look.alpha, margin=0.003)
    assert tuple(ids[one] for one in found.staying) == look.staying


def test_it_ends_decided_equivalent_or_with_its_budget_and_says_so(tmp_path):
    plan = plan_of(tmp_path)
    state = raced(plan, tmp_path, looks=3)
    assert state.ended == "budget spent"
    assert state.due(plan.runs) == ()
    words = verdict(state)
    assert words.startswith("Race over, budget spent, after ")
    assert "“high” and “twin” are undecided; 2 configs left the race before." in words
    wide = plan_of(tmp_path, SUITE.replace("margin: 0.003", "margin: 0.05"))
    state = raced(wide, tmp_path / "wide", looks=1)
    assert "are equivalent within 5 points" in verdict(state)
    three = plan_of(tmp_path, SUITE.replace(", twin]", "]").replace(", 0.4]", "]"))
    state = raced(three, tmp_path / "three", looks=2)
    assert verdict(state).endswith("of at most 24: “high” is the most accurate of 3 configs.")


def test_fresh_seeds_go_to_those_that_are_left_when_it_is_decided(tmp_path):
    text = SUITE.replace("0.003", "0.05, confirm: 2")
    plan = plan_of(tmp_path, text)
    state = raced(plan, tmp_path)
    assert state.ended == "equivalent"
    due = state.due(plan.runs)
    assert {run.spec.seed for run in due} == {8, 9}
    assert labels(plan, [run.config_id for run in due]) == labels(plan, state.staying) == {"high", "twin"}
    assert "fresh seeds" in next_text(state)


def test_runs_that_are_older_than_the_race_make_it_exploratory(tmp_path):
    plan = plan_of(tmp_path)
    train(tmp_path, plan.runs[:2])
    state = raced(plan, tmp_path)
    assert state.looks[0].exploratory == ("2 runs are older than the race",)
    assert verdict(state).endswith("Exploratory: 2 runs are older than the race.")


def test_runs_under_another_suite_are_older_too(tmp_path):
    plan = plan_of(tmp_path)
    train(tmp_path, plan.runs[:3], "elsewhere")
    state = RaceState.begin(plan, tmp_path)
    assert len(state.start.earlier) == 3
    train(tmp_path, [run for run in state.due(plan.runs) if run.run_id not in state.start.earlier])
    assert state.look(plan.runs).looks[0].exploratory == ("3 runs are older than the race",)


def test_other_looks_are_a_new_race_over_the_same_runs(tmp_path):
    first = raced(plan_of(tmp_path), tmp_path, looks=2)
    changed = plan_of(tmp_path, SUITE.replace("[3, 5, 8]", "[3, 6, 8]"))
    second = RaceState.begin(changed, tmp_path)
    assert second.folder != first.folder
    assert second.looks == ()
    assert len(second.start.earlier) == first.taken()
    assert [state.race.looks for state in races_in(tmp_path / "raced")] == [(3, 5, 8), (3, 6, 8)]
    shorter = plan_of(tmp_path, SUITE.replace("[3, 5, 8]", "[3, 4]"))
    third = raced(shorter, tmp_path, looks=1)
    found = race_of(tmp_path / "raced", third.results(changed.runs))
    assert found and found.race == shorter.race, "what is left of the first race is no fixed number of seeds"
    assert found.looks[-1].exploratory


def test_a_race_over_code_that_changed_is_exploratory(tmp_path):
    plan = plan_of(tmp_path)
    train(tmp_path, [], code="a")
    state = RaceState.begin(plan, tmp_path)
    train(tmp_path, state.due(plan.runs))
    for path in (tmp_path / "raced").glob("*/*/result.json"):
        if '"seed":2' in path.read_text():
            path.write_text(path.read_text().replace('"code":"c0de"', '"code":"other"'))
    [doubt] = state.look(plan.runs).looks[0].exploratory
    assert doubt == "the runs of 4 configs were trained by several versions of the code"


def test_diverged_is_the_worst_and_out_of_memory_is_no_value(tmp_path):
    plan = plan_of(tmp_path)
    state = RaceState.begin(plan, tmp_path)
    for run in state.due(plan.runs):
        status = {"high": "diverged", "twin": "oom"}.get(run.spec.label, "ok")
        train(tmp_path, [run], status=status)
    state = state.look(plan.runs)
    by_label = {plan.configs()[one].label: values for one, values in state.looks[0].accuracy.items()}
    assert by_label["high"] == [0.0] * 3
    assert by_label["twin"] == [None] * 3
    assert {plan.configs()[one].label: left.why for one, (_, left) in state.left.items()} == {
        "low": "worse", "high": "worse", "twin": "no value"
    }  # fmt: skip


def test_times_that_are_disturbed_are_missing(tmp_path):
    plan = plan_of(tmp_path, SUITE.replace("race: best", "race: fastest"))
    state = RaceState.begin(plan, tmp_path)
    for run in state.due(plan.runs):
        train(tmp_path, [run], seconds=10.0 + run.spec.seed, disturbed=["noise"] if run.spec.seed == 1 else [])
    look = state.look(plan.runs).looks[0]
    assert set(map(tuple, look.train_seconds.values())) == {(10.0, None, 12.0)}


def test_accuracy_that_means_nothing_is_no_race(tmp_path):
    plan = plan_of(tmp_path)
    state = RaceState.begin(plan, tmp_path)
    train(tmp_path, state.due(plan.runs), rankable=False)
    with pytest.raises(HarnessError, match="no run of this race has an accuracy that counts"):
        state.look(plan.runs)


def test_against_a_config_it_says_what_each_is_beside_it(tmp_path):
    plan = plan_of(tmp_path, SUITE.replace("margin: 0.003", "margin: 0.05, against: high"))
    state = raced(plan, tmp_path, looks=2)
    words = verdict(state)
    assert words.endswith("beside “high”: worse “low” and “middle”; equivalent “twin”.")
    assert labels(plan, state.staying) == {"high"}


def test_it_is_no_race_any_more_where_other_runs_were_made(tmp_path):
    plan = plan_of(tmp_path)
    state = raced(plan, tmp_path, looks=2)
    results = state.results(plan.runs)
    found = race_of(tmp_path / "raced", results)
    assert found and found.race == plan.race
    left = next(iter(state.left))
    fixed = [run for run in plan.runs if run.config_id == left]
    train(tmp_path, fixed)
    assert race_of(tmp_path / "raced", state.results(plan.runs)) is None
    assert race_of(tmp_path / "nothing", results) is None


def test_a_file_that_is_torn_is_one_sentence(tmp_path):
    plan = plan_of(tmp_path)
    state = raced(plan, tmp_path)
    (state.folder / "look-1.json").write_text("{")
    with pytest.raises(HarnessError, match=r"cannot read .*look-1\.json") as caught:
        RaceState.begin(plan, tmp_path)
    assert "exploratory" in caught.value.hint


def test_a_look_of_a_thousand_configs_reads_only_what_it_needs(tmp_path):
    """The decision over 1,000 configs is timed in tests/statistics; here its record, which a resume reads."""
    plan = plan_of(tmp_path)
    state = raced(plan, tmp_path)
    look = state.looks[0]
    ids = [f"{place:012x}" for place in range(1000)]
    large = look.model_copy(update={"accuracy": {one: [0.9] * 20 for one in ids}, "staying": tuple(ids)})
    (state.folder / "look-1.json").write_text(large.model_dump_json(indent=1))
    started = time.thread_time()
    assert len(RaceState.read(state.folder).staying) == 1000
    assert time.thread_time() - started < 1


def test_what_comes_next_has_its_forecast(tmp_path):
    plan = plan_of(tmp_path)
    state = raced(plan, tmp_path)
    assert "forecast" not in next_text(state, plan.runs)
    due = state.due(plan.runs)
    spans = {run.run_id: {"seconds": 60.0, "low": 30.0, "high": 120.0} for run in due}
    (tmp_path / "raced/forecast.json").write_text(json.dumps({"runs": spans}))
    assert next_text(state, plan.runs).endswith("; forecast for 4 runs: 4 min (2 min to 8 min)")
    assert "forecast" in race_lines(state, plan.runs)[-1]
    assert "forecast" not in next_text(state)


def test_a_plan_that_only_looks_writes_nothing(tmp_path):
    plan = plan_of(tmp_path)
    state = RaceState.begin(plan, tmp_path / "out", write=False)
    assert verdict(state).startswith("Race open, before its first look: all configs are in the race.")
    assert not (tmp_path / "out").exists()
    assert replace(plan, runs=()).race
