"""The table of runs, and the Python API."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

import harness
from harness.__main__ import main
from harness.errors import HarnessError
from harness.records.result import Selected, TargetReached
from harness.report.build import Options, build_report
from harness.report.formats import summary_rows
from harness.results.frame import run_columns, run_frame, run_values
from harness.results.study import study_of_folders
from tests.house import ROOT
from tests.report.conftest import make_metrics, make_result, make_suite, store

NAMES = ["read_results", "describe_columns", "summarize", "compare_configs", "make_plan", "train_suite"]


def test_a_row_a_run_with_typed_columns(tmp_path: Path) -> None:
    results = [*make_suite(2, 2), make_result("dead", status="oom", suite="many", config_id="dead", run_id="dead")]
    store(tmp_path, results)
    frame = harness.read_results(tmp_path / "many")
    assert len(frame) == 5 and list(frame["label"]) == sorted(frame["label"])
    by_run = frame.set_index("run_id")
    for result in results:
        row = by_run.loc[result.run_id]
        assert (row["seed"], row["status"], row["suite"]) == (result.seed, result.status, "many")
        if result.status == "ok":
            assert row["metrics.test.accuracy"] == result.metrics["test"].accuracy
            assert row["clock.train_seconds"] == result.clock.train_seconds
        assert row["spec.train.global_batch_size"] == result.spec["train"]["global_batch_size"]
        assert Path(row["folder"], "result.json").is_file()
    kinds = {name: str(frame[name].dtype) for name in ("seed", "clock.train_seconds", "data.rankable")}
    assert kinds == {"seed": "Int64", "clock.train_seconds": "float64", "data.rankable": "boolean"}
    dead = by_run.loc["dead", ["clock.train_seconds", "data.rankable"]]
    assert list(dead.isna()) == [True, True]
    assert set(frame["system"]) == {"NVIDIA H100 80GB HBM3, 16 cores"} or len(set(frame["system"])) == 1


def test_several_roots_and_suites_are_one_table(tmp_path: Path) -> None:
    store(tmp_path / "a", make_suite(2, 1, suite="one"))
    store(tmp_path / "a", make_suite(1, 1, suite="two"))
    store(tmp_path / "b", make_suite(2, 1, suite="one"))  # the same runs once more
    assert list(harness.read_results(tmp_path / "a", tmp_path / "b")["suite"]) == ["one", "one", "two"]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    results = make_suite(2, 1)
    store(tmp_path, results)
    path = next((tmp_path / "many" / results[0].run_id).glob("*/result.json"))
    path.write_text("{")
    with pytest.warns(UserWarning, match="1 record left out"):
        frame = harness.read_results(tmp_path / "many")
    assert len(frame) == 1 and list(frame.attrs["left_out"]) == [str(path)]
    with pytest.raises(HarnessError, match="no results in"):
        harness.read_results(tmp_path / "nowhere")


def test_every_column_says_what_it_means(tmp_path: Path) -> None:
    selected = [Selected(selected_on="validation", epoch=1, test=make_metrics(0.9))]
    target = TargetReached(metric="test.accuracy", at_least=0.5, epoch=1, train_seconds=1.0)
    frame = run_frame([make_result(selected=selected, target=target), make_result("oom", status="oom")])
    described = harness.describe_columns(frame).set_index("name")
    assert "" not in set(described["meaning"]), "a meaning each"
    assert {name for name in frame.columns if "." in name} >= {"selected.validation.test.accuracy", "target.epoch"}
    assert tuple(described.loc["metrics.test.accuracy", ["unit", "better"]]) == ("fraction", "higher")
    assert tuple(described.loc["clock.train_seconds", ["unit", "better"]]) == ("s", "lower")
    assert tuple(described.loc["memory.max_allocated_bytes", ["unit", "better"]]) == ("bytes", "lower")
    assert described.loc["seed", "better"] == "" and described.loc["spec.train.epochs", "better"] == ""
    names = [column.name for column in run_columns()]
    assert len(set(names)) == len(names)


def test_mixed_parameters_are_texts_and_lists_are_json() -> None:
    runs = [make_result(train={"compile": False}), make_result("b", train={"compile": "max-autotune"})]
    unusual = {"environment": {"LD_PRELOAD": "x.so"}, "usual_environment": {}}
    runs[0] = runs[0].model_copy(update={"disturbed": ["others, busy"], **unusual})
    values = run_values(runs)
    assert values["spec.train.compile"] == ["false", "max-autotune"]
    assert json.loads(values["disturbed"][0]) == ["others, busy"]
    assert values["environment"] == ['{"LD_PRELOAD": "x.so"}', None] and values["usual_environment"] == ["{}", None]
    assert not [name for name in values if "by_class" in name], "as long as there are classes"
    assert str(run_frame(runs)["spec.train.compile"].dtype) in ("object", "str")


def test_nothing_of_it_imports_torch(tmp_path: Path) -> None:
    store(tmp_path, make_suite(2, 2))
    (tmp_path / "suite.yaml").write_text("name: s\nbase: {data: digits, model: mlp, optimizer: adam}\nseeds: 2\n")
    code = f"""
import sys, harness
frame = harness.read_results({str(tmp_path / "many")!r})
harness.describe_columns(frame); harness.summarize(frame)
a, b = frame["label"].unique()[:2]
harness.compare_configs(frame, a, b)
assert len(harness.make_plan({str(tmp_path / "suite.yaml")!r}, {{"train.epochs": 3}})) == 2
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_public_function_bears_the_name_of_a_module() -> None:
    found = [module.name for module in pkgutil.iter_modules(harness.__path__)]
    assert not set(NAMES) & set(found)
    for name in found:
        if name not in ("run", "__main__"):  # entrances: an import runs them
            importlib.import_module(f"harness.{name}")
    for name in NAMES:
        assert callable(getattr(harness, name)) and name in dir(harness)
    with pytest.raises(AttributeError, match="no attribute 'summarise'"):
        _ = harness.summarise


@pytest.mark.launch
def test_a_suite_is_planned_and_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: s\nbase: {data: digits, model: mlp, train: {epochs: 5}}\nmatrix: {optimizer: [adam, adamw]}\nseeds: 2\n"
    )
    planned = harness.make_plan(suite, {"train.epochs": 1})
    assert len(planned) == 4 and set(planned["spec.train.epochs"]) == {1} and set(planned["label"]) == {"adamw", "adam"}
    frame = harness.train_suite(suite, {"train.epochs": 1}, only=["seed=0"])
    assert sorted(zip(frame["label"], frame["seed"], frame["status"], strict=True)) == [
        ("adam", 0, "ok"),
        ("adamw", 0, "ok"),
    ]
    assert set(frame["run_id"]) < set(planned["run_id"])
    suite.write_text(suite.read_text().replace("name: s\n", "name: t\n"))
    again = harness.train_suite(suite, {"train.epochs": 1}, only=["seed=0"])
    assert set(again["run_id"]) == set(frame["run_id"]), "they were done under another suite"
    with pytest.raises(HarnessError, match="unknown"):
        harness.train_suite(suite, {"trian.epochs": 1})


def test_the_summary_has_the_numbers_of_the_reports_table(tmp_path: Path) -> None:
    results = make_suite(3, 4)
    results[0] = results[0].model_copy(update={"disturbed": ["a neighbour computed"]})
    results[1] = results[1].model_copy(update={"resumed_at_steps": [7]})
    store(tmp_path, [*results, make_result("dead", status="oom", suite="many", config_id="dead", run_id="dead")])
    anchor = results[4].model_copy(update={"run_id": "again", "spec": {**results[4].spec, "repeat": 1}})
    store(tmp_path, [anchor])
    frame = harness.read_results(tmp_path / "many")
    for with_resumed in (False, True):
        options = Options(with_resumed=with_resumed)
        report = build_report(study_of_folders([tmp_path / "many"]), options)
        expected = {row["config_id"]: row for row in summary_rows(report)}
        found = harness.summarize(frame, with_resumed=with_resumed)
        assert len(found) == 4 and list(found["runs"]).count("4 ok") == 3
        shared = [name for name in found.columns if name in expected["dead"]]
        assert {"test_accuracy_mean", "train_seconds_ci95", "train_seconds_n", "test_loss_mean"} < set(shared)
        assert {"train.global_batch_size", "peak_device_allocated_bytes", "runs_ok"} < set(shared)
        for row in found.to_dict("records"):
            for name in shared:
                value = None if pandas.isna(row[name]) else row[name]
                assert value == expected[row["config_id"]][name], name


def test_two_configs_compare_as_the_command_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = make_suite(2, 5)
    for result in results[:5]:
        result.metrics["test"].accuracy -= 0.2
    store(tmp_path, results)
    a, b = results[0].label, results[5].label
    with pytest.raises(SystemExit):
        main(["compare", str(tmp_path / "many"), a, b, "--json"])
    [said] = json.loads(capsys.readouterr().out)["comparisons"]
    frame = harness.read_results(tmp_path)
    found = harness.compare_configs(frame, a, b)
    assert list(found.index) == ["accuracy", "train time"]
    assert found.loc["accuracy", "verdict"] == "b"
    for row, question in (("accuracy", "accuracy"), ("train time", "time")):
        for name, value in said[question].items():
            if name not in ("by_seed", "seeds"):
                own = found.loc[row, name]
                assert (None if pandas.isna(own) else own) == value, name
    assert harness.compare_configs(frame, results[0].config_id, b).loc["accuracy", "p"] == said["accuracy"]["p"]
    half = harness.compare_configs(frame, a, b, margin=0.5)
    assert half.loc["accuracy", "margin"] == 0.5
    with pytest.raises(HarnessError, match="no config 'nobody'"):
        harness.compare_configs(frame, a, "nobody")
    store(tmp_path, [make_result(a, suite="other", config_id="c")])
    with pytest.raises(HarnessError, match="2 configs are called"):
        harness.compare_configs(harness.read_results(tmp_path), a, b)


@pytest.mark.launch
def test_the_tour_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    (tmp_path / "results/reference").symlink_to(ROOT / "results/reference")
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(ROOT / "docs/python.md"), module_relative=False, encoding="utf-8")
    assert tried > 10 and failed == 0


def test_a_run_that_stands_twice_is_one_and_a_lost_column_is_a_sentence(tmp_path: Path) -> None:
    store(tmp_path, make_suite(2, 3))
    frame = harness.read_results(tmp_path)
    once, twice = harness.summarize(frame), harness.summarize(pandas.concat([frame, frame]))
    assert once.equals(twice)
    for lost in ("spec.repeat", "marks", "run_id"):
        with pytest.raises(HarnessError, match=f"lacks {lost}"):
            harness.summarize(frame.drop(columns=lost))
    with pytest.raises(HarnessError, match="no folder"):
        harness.read_results()
    with pytest.raises(HarnessError, match="no share"):
        harness.compare_configs(frame, *frame["label"].unique(), margin=-1)


def test_a_target_that_a_run_missed_has_no_mean(tmp_path: Path) -> None:
    reached = TargetReached(metric="test.accuracy", at_least=0.5, epoch=1, train_seconds=1.0)
    missed = TargetReached(metric="test.accuracy", at_least=0.5)
    store(tmp_path, [make_result(seed=seed, run_id=f"r{seed}", target=reached) for seed in range(2)])
    frame = harness.read_results(tmp_path)
    assert list(harness.summarize(frame)["target_seconds_mean"]) == [1.0]
    store(tmp_path, [make_result(seed=2, run_id="r2", target=missed)])
    [mean] = harness.summarize(harness.read_results(tmp_path))["target_seconds_mean"]
    assert pandas.isna(mean)


def test_a_disturbed_run_that_missed_the_target_leaves_no_mean(tmp_path: Path) -> None:
    def target(seconds: float | None) -> TargetReached:
        return TargetReached(metric="test.accuracy", at_least=0.9, epoch=1 if seconds else None, train_seconds=seconds)

    runs = [make_result(seed=seed, target=target(10.0 + seed)) for seed in range(2)]
    store(tmp_path, [*runs, make_result(seed=2, target=target(None), disturbed=["others"])])
    [row] = harness.summarize(harness.read_results(tmp_path)).to_dict("records")
    assert pandas.isna(row["target_seconds_mean"])


def test_a_diverged_run_missed_the_target(tmp_path: Path) -> None:
    reached = TargetReached(metric="test.accuracy", at_least=0.5, epoch=1, train_seconds=1.0)
    store(tmp_path, [make_result(run_id="r0", target=reached), make_result(seed=1, run_id="r1", status="diverged")])
    [mean] = harness.summarize(harness.read_results(tmp_path))["target_seconds_mean"]
    assert pandas.isna(mean)
