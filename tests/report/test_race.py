"""The report of a race: its verdict is the answer, its intervals hold at every look, and nothing takes it for fixed."""

import csv
import json
import re

import pytest

from harness.report.build import build_report
from harness.results.race import RaceState
from harness.results.race_text import verdict
from harness.results.study import study_of_folders
from harness.statistics.intervals import summarise, t_quantile
from tests.house import ROOT
from tests.launching.test_submission import call
from tests.results.raced import SUITE, plan_of, train


@pytest.fixture
def raced(tmp_path):
    """The results root of a race that is over."""

    def race(text=SUITE, looks=3):
        plan = plan_of(tmp_path, text)
        state = RaceState.begin(plan, tmp_path / "out")
        for _ in range(looks):
            train(tmp_path / "out", state.due(plan.runs))
            state = state.look(plan.runs)
        train(tmp_path / "out", state.due(plan.runs) if state.ended else ())
        return state, tmp_path / "out/raced"

    return race


def test_the_answer_is_the_verdict_of_the_race(raced, capsys):
    state, folder = raced()
    code, out, _ = call(capsys, "report", str(folder))
    assert code == 0
    assert re.sub(r"\s+", " ", out).count(verdict(state)) == 1
    assert "is the most accurate, with" not in out, "that would be the answer of a fixed design"
    markdown = (folder / "table.md").read_text()
    assert verdict(state).replace("“", "").split(":")[0] in markdown.replace("“", "")
    code, out, _ = call(capsys, "report", str(folder), "--json")
    [system] = json.loads(out)["systems"]
    assert system["answer"] == [verdict(state)]
    assert [row["label"] for row in system["race"] if row["biased_by_stopping"]] == ["middle", "low"]


def test_the_page_has_its_table(raced, capsys):
    _, folder = raced()
    assert call(capsys, "report", str(folder), "--html")[0] == 0
    page = (folder / "report.html").read_text()
    [section] = re.findall(r'<section id="suite-race".*?</section>', page, re.DOTALL)
    assert section.count("left at look 1: worse than “") == 2
    assert "The mean is biased: the config left because of it." in section


def test_its_table_has_the_intervals_of_the_last_look_of_each_config(raced, monkeypatch):
    monkeypatch.setattr("harness.report.build.cautions", lambda rows: ["another"])
    state, folder = raced()
    [table] = build_report(study_of_folders([folder])).tables
    assert table.race
    rows = {row["label"]: row for row in table.race.records}
    assert {label: row["seeds"] for label, row in rows.items()} == {"low": 3, "middle": 3, "high": 8, "twin": 8}
    assert {label for label, row in rows.items() if row["biased_by_stopping"]} == {"low", "middle"}
    for label, alpha in (("low", state.race.alphas[0]), ("high", state.race.alphas[2])):
        config_id = rows[label]["config_id"]
        found = summarise(state.looks[-1].accuracy[config_id])
        assert found and found.sd and found.ci95
        half = t_quantile(found.n - 1, 1 - alpha / 2) * found.sd / found.n**0.5
        assert (rows[label]["alpha"], rows[label]["half_width"]) == (alpha, pytest.approx(half))
        assert half > found.ci95, "wider than an interval that takes the seeds for fixed"
    shown = {column.name: column.cells for column in table.race.columns}
    assert [cell.endswith("*") for cell in shown["mean"]] == [False, False, True, True]
    assert shown["state"][2].startswith("left at look 1: worse than “")
    assert "The mean is biased: the config left because of it." in " ".join(table.race.notes)
    assert "Stopped by a race: “low” and “middle” left it" in table.cautions[0], "a terminal may show no more"


def test_fresh_seeds_give_the_figure_of_what_is_left(raced):
    state, folder = raced(SUITE.replace("0.003", "0.05, confirm: 2"), looks=1)
    assert state.ended == "equivalent"
    [table] = build_report(study_of_folders([folder])).tables
    first, *confirmed = table.answer
    assert first == verdict(state)
    assert [re.sub(r"[\d.]+ ± [\d.]+", "N", one) for one in sorted(confirmed)] == [
        "By 2 fresh seeds, from which nothing was decided, “high” has N %.",
        "By 2 fresh seeds, from which nothing was decided, “twin” has N %.",
    ]


def test_a_race_that_goes_on_says_what_comes_next(raced):
    state, folder = raced(looks=1)
    assert state.ended is None
    [table] = build_report(study_of_folders([folder])).tables
    assert table.answer == (verdict(state),)
    assert table.answer[0].startswith("Race open, after 12 runs of at most 32: “high” and “twin” are left in the race")
    assert table.race and any("look 2 of 3 comes at 5 seeds" in note for note in table.race.notes)


def test_before_the_first_look_there_is_no_answer_but_that_it_goes_on(raced, tmp_path, capsys):
    state, folder = raced(looks=0)
    train(tmp_path / "out", state.due(plan_of(tmp_path).runs)[:8])
    [table] = build_report(study_of_folders([folder])).tables
    assert table.answer == ("Race open, before its first look: all configs are in the race.",)
    assert table.race is None
    assert call(capsys, "compare", str(folder))[0] == 2


@pytest.mark.parametrize("words", [[], ["high", "low"], ["--to", "low"]])
def test_compare_refuses_to_take_it_for_a_fixed_design(raced, capsys, words):
    _, folder = raced()
    arguments = [f"{folder}:{words[0]}", words[1]] if words and words[0] == "high" else [str(folder), *words]
    code, out, err = call(capsys, "compare", *arguments)
    assert (code, out) == (2, "")
    assert f"error: {folder} was a race: it stopped training configs by their results" in err
    assert f"hint: the verdicts of the race: harness report {folder}" in err


def test_with_all_seeds_it_is_a_fixed_design_again(raced, tmp_path, capsys):
    _, folder = raced()
    train(tmp_path / "out", plan_of(tmp_path).runs)
    code, out, _ = call(capsys, "compare", str(folder))
    assert code == 0 and "low" in out
    [table] = build_report(study_of_folders([folder])).tables
    assert table.race is None and not table.raced


def test_a_race_that_stopped_nobody_may_be_compared(raced, capsys):
    state, folder = raced(SUITE.replace("low, middle", "high2, twin2").replace("[3, 5, 8]", "[4, 5]"), looks=2)
    assert state.is_fixed_design and not state.left
    assert call(capsys, "compare", str(folder))[0] == 0


def test_status_shows_who_is_in_who_left_and_what_comes_next(raced, capsys):
    state, folder = raced(looks=1)
    code, out, _ = call(capsys, "status", str(folder))
    assert code == 0
    assert "Race open, after 12 runs" in out
    assert re.search(r"“low” left at look 1: worse than “\w+” \(p \S+, below 0.019\)", out)
    assert "look 2 of 3 comes at 5 seeds, with 2 of 4 configs in the race" in out
    assert "12 ok\n" in out, "the folder of the race is no run"
    code, out, _ = call(capsys, "status", str(folder), "--json")
    assert json.loads(out)["race"]["staying"] == list(state.staying)


def test_the_files_hold_all_runs_with_their_seeds(raced, capsys):
    _, folder = raced()
    call(capsys, "report", str(folder))
    with (folder / "table.csv").open() as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    assert {label: int(row["runs_ok"]) for label, row in rows.items()} == {"low": 3, "middle": 3, "high": 8, "twin": 8}


def test_a_race_that_stopped_configs_has_no_effects_of_factors():
    study = study_of_folders([ROOT / "results/reference/cnn3_race"])
    assert study.question.factors and study.race and study.race.left
    [table] = build_report(study).tables
    assert table.effects is None and table.mattered is None
    assert "Effects of factors are not computed." in table.cautions[0]
