"""`seeds: {race: ...}` in a suite: what it fixes before its first run, and what is wrong with one, with its line."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import HarnessError
from harness.suite.plan import Plan, load_suite
from harness.suite.race import Race

SUITE = """\
name: raced
base:
  model: mlp
  data: digits
  optimizer: {name: sgd, lr: 0.1}
  train: {epochs: 1, global_batch_size: 64}
matrix: {optimizer.lr: [0.1, 0.2, 0.3]}
seeds: {race: best, looks: [3, 5, 8], margin: 0.003}
"""


@pytest.fixture
def plan(tmp_path):
    def plan_text(text: str = SUITE, *overrides: str, smoke: bool = False, only: tuple[str, ...] = ()) -> Plan:
        path = tmp_path / "suite.yaml"
        path.write_text(text)
        return load_suite(path, overrides, smoke=smoke).plan(lambda data: f"content of {data.name}", only=only)

    return plan_text


def race_of(plan: Plan) -> Race:
    assert plan.race
    return plan.race


def test_a_race_fixes_its_looks_its_family_and_its_alpha(plan):
    planned = plan()
    race = race_of(planned)
    assert (race.kind, race.looks, race.margin, race.against) == ("best", (3, 5, 8), 0.003, None)
    assert race.alphas == pytest.approx((0.01875, 0.0125, 0.01875))
    assert list(race.configs.values()) == ["lr=0.1", "lr=0.2", "lr=0.3"]
    assert race.runs() == (9, 24)
    assert len(planned.runs) == 24
    assert race.text() == "race: best, looks at 3, 5 and 8 seeds, alpha 5 %, margin 0.3 points"
    assert Race.model_validate_json(race.model_dump_json()) == race


def test_what_is_fixed_is_hashed_and_runs_keep_their_ids(plan):
    first = plan()
    for change in (
        ("[3, 5, 8]", "[3, 5, 9]"),
        ("race: best", "race: fastest"),
        ("0.003", "0.004"),
        ("0.003", "0.003, alpha: 0.1"),
        ("0.003", "0.003, against: lr=0.2"),
        ("0.003", "0.003, confirm: 2"),
        ("0.2, 0.3", "0.2, 0.4"),
        ("raced", "other"),
    ):
        assert race_of(plan(SUITE.replace(*change))).race_id != race_of(first).race_id, change
    assert race_of(plan()).race_id == race_of(first).race_id
    labelled = plan(SUITE.replace("matrix: {", "zip: [{label: [a, b, c], ").replace("0.3]}", "0.3]}]"))
    assert race_of(labelled).race_id == race_of(first).race_id
    fixed = plan(SUITE, "seeds=8")
    assert [run.run_id for run in fixed.runs] == [run.run_id for run in first.runs]


def test_the_margin_of_the_suite_is_that_of_its_race(plan):
    suite = SUITE.replace(", margin: 0.003", "") + "margin: 0.01\n"
    assert race_of(plan(suite)).margin == 0.01
    assert race_of(plan(SUITE + "margin: 0.01\n")).margin == 0.003
    assert race_of(plan(SUITE.replace("best", "front").replace(", margin: 0.003", ""))).margin is None


def test_fresh_seeds_follow_the_last_look(plan):
    planned = plan(SUITE.replace("0.003", "0.003, confirm: 2"))
    assert {run.spec.seed for run in planned.runs} == set(range(10))
    assert race_of(planned).runs() == (11, 30)


def test_a_count_a_selection_and_the_short_version_are_no_race(plan):
    assert plan(SUITE, "seeds=2").race is None
    assert plan(only=("label=lr=0.2",)).race is None
    short = plan(SUITE + "smoke: {set: {train.epochs: 1}}\n", smoke=True)
    assert short.race is None
    assert {run.spec.seed for run in short.runs} == {0, 1, 2}


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (("[3, 5, 8]", "[3, 8, 5]"), "seeds.looks is [3, 8, 5]", "seeds that grow"),
        (("[3, 5, 8]", "[1, 5]"), "seeds.looks is [1, 5]", "from 2 to"),
        (("[3, 5, 8]", "[]"), "seeds.looks is []", "seeds that grow"),
        (("[3, 5, 8]", "[[0, 1], [2]]"), "seeds.looks.0 is [0, 1]", "a whole number"),
        (("{race: best, looks: [3, 5, 8], margin: 0.003}", "[race, 3]"), 'seeds.0 is "race"', "a count from 1"),
        (("looks", "look"), "unknown field 'look'", "looks"),
        (("race: best, ", ""), "'race' is missing", "add race"),
        (("margin: 0.003", "margin: 0"), "seeds.margin is 0", "greater than 0"),
        ((", margin: 0.003", ""), "a race for the best needs a margin", "margin: 0.003"),
        (("0.003", "0.3"), "margin is 0.3", "0.003 for 0.3 points"),
        (("0.003", "0.003, alpha: 5"), "seeds.alpha is 5", "0.5"),
        (("0.003", "0.003, against: lr=0.4"), "no config is called 'lr=0.4'", "lr=0.3"),
        (("best", "front, against: lr=0.1"), "'against' compares accuracies", "race: best"),
        (("[0.1, 0.2, 0.3]", "[0.1]"), "a race over one config", "seeds: 3"),
        (("optimizer.lr: [0.1, 0.2, 0.3]", "data: [digits, synthetic]"), "a race over different data", "for each"),
        (("seeds:", "anchors: {runs: 2}\nseeds:"), "anchors have a place", "leave 'anchors' out"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_line(plan, change, message, hint):
    assert change[0] in SUITE
    text = SUITE.replace(*change)
    with pytest.raises(HarnessError) as caught:
        plan(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    line = int(caught.value.message.split("suite.yaml:")[1].split(":")[0])
    assert text.splitlines()[line - 1].startswith(("seeds:", "anchors:"))
    assert "\n" not in caught.value.message


def test_plan_shows_the_runs_of_the_best_and_the_worst_case(tmp_path):
    (tmp_path / "suite.yaml").write_text(SUITE)
    shown = CliRunner().invoke(app, ["plan", str(tmp_path / "suite.yaml")])
    assert shown.exit_code == 0, shown.output
    said = "looks at 3, 5 and 8 seeds, alpha 5 %, margin 0.3 points: 9 runs if the first look decides, 24 at most"
    assert said in shown.stderr
    listed = CliRunner().invoke(app, ["plan", str(tmp_path / "suite.yaml"), "--json"])
    assert len(json.loads(listed.stdout)) == 24


def test_a_race_of_a_thousand_configs_is_planned_quickly(plan):
    import time

    rates = ", ".join(f"{place / 1000:.3f}" for place in range(1, 1001))
    suite = SUITE.replace("0.1, 0.2, 0.3", rates).replace("[3, 5, 8]", "[3, 5, 8, 12, 20]")
    started = time.thread_time()
    planned = plan(suite)
    assert len(planned.runs) == 20_000
    assert race_of(planned).race_id
    assert time.thread_time() - started < 2 * 2  # a core that others use


def test_a_plan_that_is_narrowed_keeps_its_race(plan):
    planned = plan()
    assert replace(planned, runs=planned.runs[:3]).race == planned.race
