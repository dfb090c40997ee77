"""A suite with its results: by its file, and by folders of records alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.__main__ import main
from harness.data.prepare import fingerprint
from harness.errors import HarnessError
from harness.launching.status import folder_status
from harness.records.read import read_suite
from harness.report.build import build_report
from harness.results.question import SuiteQuestion, keep_question, read_question
from harness.results.study import study_of_folders, study_of_suite, suite_folders
from harness.suite.plan import Plan, load_suite
from tests.report.conftest import make_result, make_suite, store

SUITE = """\
name: s
description: Which is best?
base: {data: digits, model: mlp, optimizer: adam}
matrix: {optimizer.lr: [0.01, 0.02, 0.03]}
seeds: 2
margin: 0.003
budget: 60s
references: [{match: {optimizer.lr: 0.01}, metric: test.accuracy, value: 0.9, source: a paper}]
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A plan whose runs all have a result in `tmp_path / "results"`."""
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    plan = load_suite(path).plan(lambda data: "f00d")
    store(tmp_path / "results", [_result(run) for run in plan.runs])
    return plan


def _result(run: Any, **more: Any) -> Any:
    rate = run.spec.optimizer.lr
    spec = run.spec.model_dump(mode="json")
    made = make_result(
        run.spec.label,
        seed=run.spec.seed,
        config_id=run.config_id,
        run_id=run.run_id,
        suite="s",
        accuracy=0.9 + rate + run.spec.seed / 1000,
        **more,
    )
    return made.model_copy(update={"spec": spec})


def call(*words: str) -> int:
    """Calls the command line and returns its exit code."""
    with pytest.raises(SystemExit) as left:
        main([*words])
    return int(left.value.code or 0)


def test_a_folder_says_what_the_file_says(plan: Plan, tmp_path: Path) -> None:
    keep_question(plan, tmp_path / "results")
    by_file = build_report(study_of_suite(plan, [tmp_path / "results"]))
    copied = tmp_path / "laptop/results/s"
    shutil.copytree(tmp_path / "results/s", copied)
    by_folder = build_report(study_of_folders([copied]))
    assert by_folder.tables[0].answer == by_file.tables[0].answer
    assert by_folder.notes == by_file.notes
    for one, other in zip(by_folder.tables[0].rows, by_file.tables[0].rows, strict=True):
        assert one.values == other.values
    assert by_folder.tables[0].compared.margin == 0.003 and by_folder.tables[0].budget == by_file.tables[0].budget
    published = by_folder.tables[0].published
    assert published and published.records == (by_file.tables[0].published or published).records


def test_records_alone_are_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = make_suite(3, 2)
    for result in results:
        result.spec["model"] = {"name": "nobody_has_this", "width": 7}
        result.spec["data"] = {"name": "gone", "root": "/nowhere"}
    store(tmp_path, results)
    assert call("report", str(tmp_path / "many")) == 0
    out = capsys.readouterr().out
    assert "is the most accurate" in out or "are the most accurate" in out
    assert (tmp_path / "many/table.md").is_file()
    assert call("status", str(tmp_path / "many")) == 0
    assert "6 ok" in capsys.readouterr().out
    assert call("compare", str(tmp_path / "many")) == 0
    assert results[0].label in capsys.readouterr().out


def test_the_only_suite_is_taken_and_of_two_one_is_to_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("report") == 2
    assert "no results in results" in capsys.readouterr().err
    store(Path("results"), make_suite(2, 2, suite="one"))
    for verb in ("report", "status"):
        assert call(verb) == 0
        assert "one" in capsys.readouterr().out
    store(Path("results"), make_suite(2, 2, suite="two"))
    assert call("report") == 2
    assert "results has the results of 2 suites\nhint: name one: results/one, results/two" in capsys.readouterr().err
    assert call("report", "results") == 0, "the root itself: each of them"
    assert {path.parent.name for path in Path("results").glob("*/table.md")} == {"one", "two"}


@pytest.mark.parametrize("option", [["--set", "train.epochs=3"], ["--smoke"], ["--config_file", "launch/cpu.yaml"]])
def test_what_changes_a_suite_needs_its_file(option: list[str], tmp_path: Path, capsys: Any) -> None:
    store(tmp_path, make_suite(2, 2))
    assert call("report", str(tmp_path / "many"), *option) == 2
    assert f"{option[0]} needs a suite's file, and {tmp_path}/many is a folder of results" in capsys.readouterr().err


def test_a_mistyped_folder_is_a_sentence_and_makes_nothing(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty").mkdir()
    for word in ("empty", "nowhere"):
        assert call("report", str(tmp_path / word)) == 2
        assert "error: " in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists() and not any((tmp_path / "empty").iterdir())


def test_several_roots_are_one_suite(plan: Plan, tmp_path: Path) -> None:
    runs = list(plan.runs)
    for root, own in (("anna", runs[:4]), ("bert", runs[3:])):
        store(tmp_path / root, [_result(run) for run in own])
    later = _result(runs[3], ended_at="2030-01-01T00:00:00+00:00").model_copy(update={"label": "the later one"})
    path = tmp_path / "bert/s" / later.run_id / later.system_id / "result.json"
    path.write_text(later.model_dump_json())
    roots = [tmp_path / "anna", tmp_path / "bert"]
    for study in (study_of_suite(plan, roots), study_of_folders([root / "s" for root in roots])):
        assert sorted(result.run_id for result in study.results) == sorted(run.run_id for run in runs)
        [twice] = [result for result in study.results if result.run_id == later.run_id]
        assert twice.label == "the later one"
        assert study.folder == tmp_path / "anna/s"


def test_several_margins_are_told(plan: Plan, tmp_path: Path) -> None:
    folders = []
    for root, margin in (("anna", "0.003"), ("bert", "0.01")):
        other = tmp_path / f"{root}.yaml"
        other.write_text(SUITE.replace("0.003", margin))
        store(tmp_path / root, [_result(run) for run in plan.runs])
        folders.append(tmp_path / root / "s")
        keep_question(load_suite(other).plan(lambda data: "f00d"), tmp_path / root)
    study = study_of_folders(folders)
    told = [note for note in study.notes if "margins" in note]
    assert told == [f"The folders have different margins or budgets: those of {folders[0]} count."]
    assert study.question.margin == 0.003
    assert not any("margins" in note for note in study_of_folders(folders[:1]).notes)


def test_a_renamed_folder_keeps_its_times(tmp_path: Path) -> None:
    store(tmp_path, make_suite(2, 3))
    (tmp_path / "many").rename(tmp_path / "many-of-anna")
    [table] = build_report(study_of_folders([tmp_path / "many-of-anna"])).tables
    assert all(row.values["train_seconds"].n == 3 for row in table.rows)


def test_one_record_of_another_suite_is_from_elsewhere(tmp_path: Path) -> None:
    results = make_suite(2, 3)
    store(tmp_path, results)
    path = next((tmp_path / "many").glob(f"{results[0].run_id}/*/result.json"))
    path.write_text(results[0].model_copy(update={"suite": "other"}).model_dump_json())
    found = {result.run_id: result.elsewhere for result in study_of_folders([tmp_path / "many"]).results}
    assert found.pop(results[0].run_id) == "other" and set(found.values()) == {None}


def test_equal_labels_say_in_what_they_differ(tmp_path: Path) -> None:
    store(tmp_path, [make_result("mlp", train={"epochs": n}, config_id=f"c{n}", run_id=f"r{n}") for n in (1, 9)])
    assert sorted(study_of_folders([next(tmp_path.iterdir())]).labels.values()) == [
        "mlp (train.epochs=1)",
        "mlp (train.epochs=9)",
    ]


def test_a_selection_of_records(tmp_path: Path, capsys: Any) -> None:
    results = make_suite(3, 2)
    store(tmp_path, results)
    study = study_of_folders([tmp_path / "many"], [f"label={results[0].label}", "seed=1"])
    assert [(run.label, run.seed) for run in study.results] == [(results[0].label, 1)]
    assert call("report", str(tmp_path / "many"), "--only", "label=none of them") == 2
    assert "selects no run" in capsys.readouterr().err


def test_without_the_data_runs_are_found_by_config_and_seed(plan: Plan, tmp_path: Path) -> None:
    unknown = load_suite(tmp_path / "suite.yaml").plan(lambda data: "")
    study = study_of_suite(unknown, [tmp_path / "results"])
    assert len(study.results) == 6 and any("data are not here" in note for note in study.notes)
    assert not any("data are not here" in note for note in study_of_suite(plan, [tmp_path / "results"]).notes)


def test_what_a_suite_asks_is_kept_and_a_selection_keeps_the_order(plan: Plan, tmp_path: Path) -> None:
    root = tmp_path / "results"
    keep_question(plan, root)
    whole = json.loads((root / "s/suite.json").read_text())
    assert (whole["margin"], whole["budget"], list(whole["labels"])) == (0.003, 60.0, list(plan.order))
    changed = load_suite(tmp_path / "suite.yaml", ["train.epochs=3"]).plan(lambda data: "f00d")
    keep_question(changed, tmp_path / "other")
    assert read_question([tmp_path / "other/s"]).overrides == {"train.epochs": 3}
    keep_question(changed, root)
    assert json.loads((root / "s/suite.json").read_text()) == whole, "a trial leaves the suite's own question"
    part = load_suite(tmp_path / "suite.yaml").plan(lambda data: "f00d", only=["optimizer.lr=0.03"])
    keep_question(part, root)
    assert json.loads((root / "s/suite.json").read_text()) == whole
    (root / "s/suite.json").write_text("[")
    with pytest.raises(HarnessError, match=r"suite\.json cannot be read"):
        study_of_folders([root / "s"])


def test_a_trial_with_other_settings_has_files_of_its_own(tmp_path: Path) -> None:
    root, suite = tmp_path / "results", str(tmp_path / "suite.yaml")
    Path(suite).write_text(SUITE)
    plan = load_suite(Path(suite)).plan(fingerprint)
    store(root, [_result(run) for run in plan.runs])
    keep_question(plan, root)
    assert call("report", suite, "--output", str(root)) == 0
    table = (root / "s/table.md").read_bytes()
    changed = load_suite(Path(suite), ["train.epochs=3"]).plan(fingerprint)
    store(root, [_result(run) for run in changed.runs])
    assert call("report", suite, "--output", str(root), "--set", "train.epochs=3") == 0
    assert (root / "s/table.md").read_bytes() == table, "the suite's own tables stay"
    assert "train.epochs" in (root / "s/set-train.epochs=3/table.md").read_text()
    assert call("report", suite, "--output", str(root), "--set", "train.epochs=3", "--only", "seed=0") == 0
    assert (root / "s/set-train.epochs=3+only-seed=0/table.csv").is_file()
    assert call("report", suite, "--output", str(root), "--set", "seeds=3") == 0, "more seeds are no other configs"
    assert "seeds" in (root / "s/table.md").read_text() and not list((root / "s").glob("set-seeds*"))
    other = tmp_path / "other"  # that was never run without
    store(other, [_result(run) for run in changed.runs])
    keep_question(changed, other)
    assert call("report", suite, "--output", str(other), "--set", "train.epochs=3") == 0
    assert (other / "s/table.md").is_file()


def test_folders_of_suites(tmp_path: Path) -> None:
    for suite in ("one", "two"):
        store(tmp_path / "results", make_suite(1, 1, suite=suite))
    assert suite_folders(tmp_path / "results/one") == [tmp_path / "results/one"]
    assert suite_folders(tmp_path / "results") == [tmp_path / "results/one", tmp_path / "results/two"]
    assert suite_folders(tmp_path) == []
    assert len(read_suite(tmp_path / "results", "one").results) == 1


def test_runs_on_earlier_data_are_left_out(tmp_path: Path) -> None:
    old = [make_result(seed=seed, run_id=f"old{seed}", fingerprint="old", accuracy=0.5) for seed in range(3)]
    new = [make_result(seed=seed, run_id=f"new{seed}", fingerprint="new", accuracy=0.9) for seed in range(3)]
    later = [one.model_copy(update={"ended_at": "2030-01-01T00:00:00+00:00"}) for one in new]
    store(tmp_path, [*old, *later])
    folder = next(tmp_path.iterdir())
    study = study_of_folders([folder])
    assert {result.run_id for result in study.results} == {"new0", "new1", "new2"}
    assert any(note.startswith("Other data: 3 runs of “base”") for note in study.notes)
    [row] = harness.summarize(harness.read_results(folder)).to_dict("records")
    assert (row["test_accuracy_n"], row["test_accuracy_mean"]) == (3, pytest.approx(0.9))


def test_runs_by_earlier_code_are_left_out_of_the_frame(tmp_path: Path) -> None:
    runs = [make_result(seed=seed, run_id=f"r{seed}") for seed in range(3)]
    runs[0] = runs[0].model_copy(update={"code": "old", "ended_at": "2020-01-01T00:00:00+00:00"})
    runs[1:] = [run.model_copy(update={"code": "new"}) for run in runs[1:]]
    store(tmp_path, runs)
    frame = harness.read_results(tmp_path)
    assert len(frame) == 2 and any("Other code" in note for note in frame.attrs["notes"])


def test_a_finished_run_counts_over_a_later_attempt_elsewhere(tmp_path: Path, capsys: Any) -> None:
    done = make_result(suite="s", run_id="r")
    store(tmp_path / "a", [done])
    stopped = done.model_copy(update={"status": "preempted", "ended_at": "2030-01-01T00:00:00+00:00"})
    store(tmp_path / "b", [stopped])
    for roots in (["a", "b"], ["b", "a"]):
        folders = [tmp_path / root / "s" for root in roots]
        assert [result.status for result in study_of_folders(folders).results] == ["ok"]
        assert folder_status(*folders).systems["a1b2c3"].counts == {"ok": 1}


def test_what_the_suite_asks_for_is_shown_and_the_rest_is_told(plan: Plan, tmp_path: Path) -> None:
    root = tmp_path / "results"
    keep_question(plan, root)
    trial = load_suite(tmp_path / "suite.yaml", ["train.epochs=7"]).plan(lambda data: "f00d")
    store(root, [_result(run) for run in trial.runs])
    gone = next(run for run in plan.runs if run.spec.label == "lr=0.03")
    for run in plan.runs:
        if run.config_id == gone.config_id:
            shutil.rmtree(root / "s" / run.run_id)
    study = study_of_folders([root / "s"])
    assert {result.spec["train"]["epochs"] for result in study.results} == {plan.runs[0].spec.train.epochs}
    assert any(note.startswith("No record here of 1 config of the suite: “lr=0.03”") for note in study.notes)
    assert any(note.startswith("Left out: 6 results of configs that the suite does not have") for note in study.notes)


def test_a_published_number_without_a_record_is_known_by_its_label(plan: Plan, tmp_path: Path) -> None:
    root = tmp_path / "results"
    keep_question(plan, root)
    asked = json.loads((root / "s/suite.json").read_text())
    asked["references"] = [
        {"match": {"label": "lr=0.03"}, "metric": "test.accuracy", "value": 0.9, "source": "report 1"},
        {"match": {"model": "cnn3"}, "metric": "test.accuracy", "value": 0.8, "source": "report 2"},
    ]
    (root / "s/suite.json").write_text(json.dumps(asked))
    gone = next(run.config_id for run in plan.runs if run.spec.label == "lr=0.03")
    for run in plan.runs:
        if run.config_id == gone:
            shutil.rmtree(root / "s" / run.run_id)
    study = study_of_folders([root / "s"])
    assert gone not in study.specs and [one.value for one in study.references()[gone]] == [0.9]
    only = study_of_folders([root / "s"], ["label=lr=0.01"])
    assert gone not in only.references()


def test_other_world_sizes_of_the_suites_configs_are_shown(plan: Plan, tmp_path: Path) -> None:
    root = tmp_path / "results"
    keep_question(plan, root)
    pairs = load_suite(tmp_path / "suite.yaml").plan(lambda data: "f00d", num_processes=2)
    store(root, [_result(run) for run in pairs.runs])
    study = study_of_folders([root / "s"])
    assert len(study.results) == 12 and len(study.labels) == 6
    assert not any("Left out" in note for note in study.notes)
    assert "lr=0.01 (train.num_processes=2)" in study.labels.values()


def test_a_config_that_ran_at_no_world_size_is_missing(plan: Plan, tmp_path: Path) -> None:
    pairs = load_suite(tmp_path / "suite.yaml").plan(lambda data: "f00d", num_processes=2)
    lost = pairs.order[0]
    label = next(run.spec.label for run in pairs.runs if run.config_id == lost)
    ran = [_result(run) for run in pairs.runs if run.config_id != lost]
    store(tmp_path / "pairs", [run.model_copy(update={"num_processes": 2}) for run in ran])
    study = study_of_suite(plan, [tmp_path / "pairs"], lambda size: pairs)
    others = {f"{run.spec.label} on 2" for run in pairs.runs if run.config_id != lost}
    assert set(study.labels.values()) == {f"{label} on 1", *others}


def test_labels_are_those_of_the_suite_today(plan: Plan, tmp_path: Path) -> None:
    renamed = {config_id: f"new {number}" for number, config_id in enumerate(plan.order)}
    question = SuiteQuestion.of(plan.suite, renamed)
    (tmp_path / "results/s/suite.json").write_text(question.model_dump_json())
    assert list(study_of_folders([tmp_path / "results/s"]).labels.values()) == ["new 0", "new 1", "new 2"]


def test_a_results_root_is_no_suite_to_compare(tmp_path: Path, capsys: Any) -> None:
    for suite in ("one", "two"):
        store(tmp_path / "results", make_suite(2, 2, suite=suite))
    assert call("compare", str(tmp_path / "results")) == 2
    assert "has the results of 2 suites" in capsys.readouterr().err
    assert call("status", str(tmp_path / "results"), "--json") == 2
    assert call("report", str(tmp_path / "results/one"), "--output", str(tmp_path / "x")) == 2
