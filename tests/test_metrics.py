"""Metrics as plug-ins: declared in one file, in the record of each run, and shown by what the records say."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from pydantic import ValidationError

import harness
from harness import registry
from harness.cli.app import app
from harness.cli.completing import columns
from harness.contracts import metric as contract
from harness.errors import HarnessError
from harness.launching.manifest import Manifest
from harness.metric import ENDINGS, TAKEN
from harness.records.extra_metrics import code_of, compute, number
from harness.records.predictions import PREDICTIONS
from harness.records.result import ExtraMetric, Metrics, RunResult
from harness.records.store import RunFolder
from harness.results.columns import INTERVAL, MEASURED, Column, fields
from harness.results.extra_metrics import NOT_KEPT, OTHER_CODE, with_extra_metrics
from harness.suite.plan import load_suite
from harness.trackers.entries import read_entries
from tests.house import House
from tests.report.conftest import make_result

MARK = '@metric("{}", unit="{}", title="{}", better="{}")\ndef f(test):\n    {}\n'
HEAD = "from harness.registry import metric\n\n\n"
DISTANCE = MARK.format(
    "distance", "classes", "mean distance", "lower", "return abs(test.labels - test.predictions).mean()"
)
NOT_A_NUMBER = MARK.format("no", "", "no", "lower", "return {}").replace("def f(", "def g(")
SUITE = """name: own
plugins: [mine.py]
base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 1}}
"""


@pytest.fixture(autouse=True)
def nothing_outside() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    registry.use()
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in ("mine", "other"):
            del sys.modules[name]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file with a metric, beside a suite."""
    (tmp_path / "suite.yaml").write_text(SUITE)
    (tmp_path / "mine.py").write_text(HEAD + DISTANCE)
    return tmp_path / "mine.py"


# Declared


@pytest.mark.parametrize("name", registry.names("metric"))
def test_a_metric_of_the_package_keeps_its_promises(name: str) -> None:
    plugin = registry.find("metric", name)
    assert plugin.declaration
    for promise, holds in contract.promises(plugin.load(), plugin.declaration):
        assert promise
        holds()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('better="lower"', 'better="smaller"', "better is 'smaller': it should be 'higher' or 'lower'"),
        (', better="lower"', "", "better is missing"),
        ('unit="classes"', "unit=3", "unit is 3: it should be a valid string"),
        ('title="mean distance"', 'title=""', "title is '': "),
        ('title="mean distance"', r'title="a\nb"', r"title is 'a\nb': one line"),
        ("title=", "tilte=", "title is missing"),
        ('better="lower"', 'better="lower", over="row"', "over is unknown"),
        ('"distance"', '"Mean distance"', "has not one name of small letters"),
        ('"distance"', '"a", "b"', "has not one name of small letters"),
        ('"distance"', '"accuracy"', "every table has a column test_accuracy already"),
        ('"distance"', '"accuracy_mean"', "add _mean, _sd, _ci95, _n to a name, and 'accuracy_mean' ends so already"),
        ("(test)", "(test, *, top: int = 5)", "has parameters, and no suite sets those of a metric"),
        ('better="lower"', "better=BETTER", "is not a literal"),
    ],
)
def test_a_declaration_that_is_wrong_is_one_sentence_with_its_line(mine: Path, old: str, new: str, told: str) -> None:
    text = mine.read_text()
    assert old in text
    mine.write_text(text.replace(old, new))
    with pytest.raises(HarnessError) as caught:
        load_suite(mine.with_name("suite.yaml"))
    assert caught.value.message.startswith(f"{mine}:4: @metric of f") and told in caught.value.message
    assert caught.value.hint and "\n" not in caught.value.message


def test_a_name_that_another_metric_has(mine: Path) -> None:
    mine.write_text((HEAD + DISTANCE).replace('"distance"', '"worst_class_accuracy"'))
    with pytest.raises(HarnessError, match=rf"{mine}:5: the metric 'worst_class_accuracy' is declared by .*, too"):
        load_suite(mine.with_name("suite.yaml"))


def test_no_metric_has_the_name_of_a_column_that_every_table_has() -> None:
    there = [one.name.removeprefix("test_") for one in MEASURED if one.name.startswith("test_")]
    assert set(TAKEN) == {name for name in there if not name.endswith(ENDINGS)} <= Metrics.model_fields.keys()
    own = Column("test_own", "own", over=INTERVAL)
    assert all(name.removeprefix("test_own").startswith(ENDINGS) for name in fields(own))


def test_a_metric_is_no_part_of_a_run_and_a_launch_lets_it_change(mine: Path, tmp_path: Path) -> None:
    def planned() -> Manifest:
        return Manifest.of(load_suite(mine.with_name("suite.yaml")).plan(lambda data: "data"), tmp_path)

    mine.write_text("raise SystemExit('imported')\n" + mine.read_text())
    first = planned()
    assert first.metrics == (mine,) and not first.plugins
    first.write(tmp_path / "manifest.jsonl")
    mine.write_text(mine.read_text().replace("abs(", "2 * abs("))
    registry.use()
    assert Manifest.read(tmp_path / "manifest.jsonl").model_dump() == first.model_dump()
    assert [one.names for one in registry.plugins("metric") if one.is_named] == [("distance",)]
    assert planned().model_dump() == first.model_dump()
    mine.write_text(HEAD)
    (mine.with_name("suite.yaml")).write_text(SUITE.replace("plugins: [mine.py]\n", ""))
    assert [run.run_id for run in planned().runs] == [run.run_id for run in first.runs]
    assert not planned().metrics


# Computed


def test_what_a_metric_may_return(mine: Path) -> None:
    declared = registry.find("metric", "worst_class_accuracy").declaration
    assert declared
    for value in (1, 1.0, np.float32(1), np.int64(1), np.array(1.0), torch.tensor(1.0)):
        assert number(declared, value) == (1.0, "")
    for value, told in (
        (True, "a bool, not one number"),
        (None, "a NoneType, not one number"),
        ([1.0], "a list, not one number"),
        (np.ones(1), "shape (1,), not one number"),
        (torch.ones(2, 3), "shape (2, 3), not one number"),
        (np.array("x"), "a str, not one number"),
        (float("nan"), "nan, not a finite number"),
        (float("-inf"), "-inf, not a finite number"),
        (81.5, "81.5, and a fraction is from 0 to 1"),
    ):
        assert number(declared, value)[1] == told


def test_a_metric_that_fails_is_null_with_the_reason_and_keeps_no_other_from_its_value(mine: Path) -> None:
    bodies = {
        "raises": ("return 1 / 0", "mine.py:6: ZeroDivisionError: division by zero"),
        "leaves": ("raise SystemExit(3)", "mine.py:10: SystemExit: 3"),
        "writes": ("test.labels[0] = 3", "mine.py:14: ValueError: assignment destination is read-only"),
        "huge": ("return 10**400", "mine.py:17: OverflowError: int too large to convert to float"),
        "none": ("pass", "mine.py:21: it returned a NoneType, not one number"),
        "lines": (r"raise ValueError('a\nb' * 999)", "mine.py:26: ValueError: a"),
    }
    marks = [
        MARK.format(name, "", name, "lower", body).replace("def f(", f"def {name}(")
        for name, (body, _) in bodies.items()
    ]
    mine.write_text(HEAD + "\n".join(marks) + "\n" + DISTANCE)
    load_suite(mine.with_name("suite.yaml"))
    plugins = [one for one in registry.plugins("metric") if one.is_named]
    found, reasons = compute(plugins, np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]), 3)
    assert found["distance"].value == 0.5 and found["distance"].unit == "classes"
    assert all(found[name].value is None for name in bodies)
    assert reasons == {f"extra_metrics.{name}": told for name, (_, told) in bodies.items()}
    found, reasons = compute(plugins, np.array([0, 7]), np.array([0, 1]), 3)
    assert found["distance"].value is None
    assert reasons["extra_metrics.distance"] == "predictions.npz holds classes from 0 to 7, of 3"


def test_a_record_refuses_a_value_out_of_range_and_what_it_does_not_know() -> None:
    good = {"unit": "fraction", "title": "a", "better": "higher", "value": 0.5, "code": "c"}
    assert ExtraMetric.model_validate(good).value == 0.5
    assert ExtraMetric.model_validate(good | {"value": None}).value is None
    record = json.loads(make_result(extra_metrics={"a": good}).model_dump_json())
    assert RunResult.model_validate_json(json.dumps(record)).extra_metrics["a"] == ExtraMetric.model_validate(good)
    for wrong in ({"value": 81.5}, {"value": float("nan")}, {"better": ""}, {"title": "a\x1bb"}, {"unknown": 1}):
        record["extra_metrics"] = {"a": good | wrong}
        with pytest.raises(ValidationError):
            RunResult.model_validate_json(json.dumps(record))
    record["extra_metrics"] = {"a.b": good}
    with pytest.raises(ValidationError):
        RunResult.model_validate_json(json.dumps(record))
    del record["extra_metrics"]
    assert RunResult.model_validate_json(json.dumps(record)).extra_metrics == {}, "as of an old record"


# Computed anew


def having(name: str, value: float | None, code: str) -> dict[str, Any]:
    return {name: {"unit": "", "title": "own", "better": "lower", "value": value, "code": code}}


def values(found: list[RunResult], name: str) -> list[float | None]:
    return [run.extra_metrics[name].value if name in run.extra_metrics else None for run in found]


def of_folder(folder: Path, run: RunResult, answers: tuple[list[int], list[int]] | None = None) -> RunResult:
    """Returns a run as it is read from a folder, which has its predictions where they were kept."""
    vars(run).update(folder=folder)
    folder.mkdir(exist_ok=True)
    if answers:
        np.savez(folder / PREDICTIONS, label=np.array(answers[0]), prediction=np.array(answers[1]))
    return run


def test_a_column_has_values_of_one_code(tmp_path: Path) -> None:
    runs = [
        make_result("old", seed=0, extra_metrics=having("own", 1.0, "a")),
        make_result("new", seed=1, extra_metrics=having("own", 2.0, "b")),
        make_result("none", seed=2),
        make_result("failed", seed=3, status="failed"),
    ]
    found, notes = with_extra_metrics([of_folder(tmp_path, run) for run in runs])
    assert values(found, "own") == [None, 2.0, None, None], "by the code of the newest run"
    assert found[0].unavailable["extra_metrics.own"] == OTHER_CODE
    assert notes == [f"test_own is missing in 1 run: {OTHER_CODE}.", f"test_own is missing in 1 run: {NOT_KEPT}."]
    assert not any("worst_class_accuracy" in run.extra_metrics for run in found), "where nothing was kept"
    assert values(runs, "own") == [1.0, 2.0, None, None]


def test_what_is_known_here_is_computed_from_predictions_where_it_is_missing_or_changed(mine: Path) -> None:
    load_suite(mine.with_name("suite.yaml"))
    code, folder = code_of(registry.find("metric", "distance")), mine.parent
    own = [having("distance", 7.0, "other"), having("distance", 8.0, code), {}, having("distance", 9.0, "other")]
    answers = [([0, 1], [0, 3]), ([0, 1], [5, 1]), ([0, 1], [5, 1]), None]
    made = [make_result("a", seed=seed, extra_metrics=extra) for seed, extra in enumerate(own)]
    runs = [of_folder(folder / str(run.seed), run, answers[run.seed]) for run in made]
    found, notes = with_extra_metrics(runs)
    assert values(found, "distance") == [1.0, 8.0, 2.5, None] and found[0].extra_metrics["distance"].unit == "classes"
    assert values(found, "worst_class_accuracy") == [0.0, 0.0, 0.0, None]
    assert notes[0] == f"test_distance is missing in 1 run: {OTHER_CODE}."
    recorded = make_result(extra_metrics=having("worst_class_accuracy", 0.5, "of another version"))
    found, _ = with_extra_metrics([of_folder(folder / "0", recorded)])
    assert values(found, "worst_class_accuracy") == [0.5], "what a record has stays, unless it is asked for"
    registry.use()  # elsewhere, without the file
    assert values(with_extra_metrics(runs[:2])[0], "distance") == [None, 8.0]
    assert values(with_extra_metrics(runs[:1])[0], "distance") == [7.0]


# Through the command line


def call(house: House, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(command, cwd=house.path, env=house.environment(COLUMNS="300"), capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.launch
def test_from_a_file_beside_the_suite_to_every_output_and_elsewhere_without_it(house: House, tmp_path: Path) -> None:
    (house.path / "mine.py").write_text(HEAD + DISTANCE + "\n\n" + NOT_A_NUMBER)
    house.suite("plugins: [mine.py]\nmatrix: {optimizer.lr: [0.1, 0.2]}\nseeds: 2\nwarm_up_seconds: 0\n")
    done = house.run("suite.yaml")
    assert done.returncode == 0 and "extra_metrics.no is null: mine.py:10: it returned a dict" in done.stderr
    results = house.results()
    assert {result["status"] for result in results.values()} == {"ok"} and len(results) == 4
    for result in results.values():
        own = result["extra_metrics"]["distance"]
        assert (own["unit"], own["title"], own["better"]) == ("classes", "mean distance", "lower")
        assert 0 < own["value"] < 9 and len(own["code"]) == 12
        worst = min(result["metrics"]["test"]["recall_by_class"])
        assert result["extra_metrics"]["worst_class_accuracy"]["value"] == pytest.approx(worst)
        assert result["extra_metrics"]["no"]["value"] is None
        assert result["unavailable"]["extra_metrics.no"] == "mine.py:10: it returned a dict, not one number"
    assert "test_no is missing in 4 runs" in done.stdout
    listed = json.loads(call(house, "list", "metrics", "distance", "--plugin", "mine.py", "--json").stdout)
    assert list(listed.values()) == [{"unit": "classes", "title": "mean distance", "better": "lower"}]
    mirrored = read_entries(RunFolder(next(house.path.glob("results/*/*/*/result.json")).parent))
    assert mirrored and 0 < mirrored.summary["extra_metrics/distance"] < 9

    away = tmp_path / "away"
    shutil.copytree(house.path / "results/faults", away / "copied")
    for path in away.glob("copied/*.*"):
        if path.name != "suite.json":
            path.unlink()
    (house.path / "mine.py").unlink()
    shown = call(house, "report", str(away / "copied"), "--sort", "test_distance", "--html").stdout
    assert "mean distance" in shown and "(classes)" in shown
    table = rows(away / "copied/table.csv")
    means = [float(row["test_distance_mean"]) for row in table]
    assert means == sorted(means) and len(means) == 2 and table[0]["test_distance_n"] == "2"
    assert {row["extra_metrics.distance.better"] for row in rows(away / "copied/runs.csv")} == {"lower"}
    assert "mean distance (classes)" in (away / "copied/report.html").read_text()
    assert "mean distance (classes)" in (away / "copied/table.md").read_text()
    compared = call(house, "compare", str(away / "copied"), "lr=0.1", "lr=0.2").stdout
    assert "mean distance (classes): A minus B is" in compared and "lower is better" in compared
    told = json.loads(call(house, "compare", str(away / "copied"), "--json").stdout)["comparisons"][0]["metrics"]
    assert {one["name"]: one["better"] for one in told} == {"distance": "lower", "worst_class_accuracy": "higher"}

    named = typer.Context(typer.main.get_command(app))
    named.params["suites"] = [away / "copied"]
    assert {"test_distance", "test_worst_class_accuracy"} <= {*columns(named, "test_")}

    frame = harness.read_results(away / "copied")
    told = harness.describe_columns(frame).set_index("name").loc["extra_metrics.distance.value"]
    assert (told["unit"], told["meaning"], told["better"]) == ("classes", "mean distance", "lower")
    assert sorted(harness.summarize(frame)["test_distance_mean"]) == pytest.approx(means)
    part = frame.drop(columns="extra_metrics.distance.title")
    assert "extra_metrics.distance.value" in list(harness.describe_columns(part)["name"])
    assert "test_distance_mean" in harness.summarize(part)


@pytest.mark.launch
def test_a_metric_that_is_written_later_is_computed_without_training(house: House) -> None:
    house.suite("base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 1}}\nseeds: 2\n")
    path = house.path / "suite.yaml"
    path.write_text("name: faults\n" + path.read_text().partition("\n")[2].partition("\n")[2])
    assert house.run("suite.yaml").returncode == 0
    records = {file: file.read_bytes() for file in house.path.glob("results/*/*/*/result.json")}
    (house.path / "mine.py").write_text(HEAD + DISTANCE)
    means = []
    for suite, times in (("suite.yaml", 1), ("results/faults", 3)):
        (house.path / "mine.py").write_text(HEAD + DISTANCE.replace("abs(", f"{times} * abs("))
        shown = call(house, "report", suite, "--plugin", "mine.py", "--json").stdout
        means.append(json.loads(shown)["systems"][0]["configs"][0]["test_distance_mean"])
        assert {row["extra_metrics.distance.unit"] for row in rows(house.path / "results/faults/runs.csv")} == {
            "classes"
        }
    assert means[1] == pytest.approx(3 * means[0])
    assert {file: file.read_bytes() for file in records} == records
    (house.path / "mine.py").write_text(HEAD + DISTANCE.replace("return", "return test.nothing or"))
    shown = call(house, "report", "suite.yaml", "--plugin", "mine.py").stdout
    assert "test_distance is missing in 2 runs: mine.py:6: AttributeError: 'Predictions' object has no" in shown
    (house.path / "mine.py").write_text("import no_such_package\n" + HEAD + DISTANCE)
    refused = call(house, "run", "suite.yaml", "--plugin", "mine.py", "--set", "seeds=3", code=2).stderr
    assert f"{house.path}/mine.py:1: it cannot be imported: ModuleNotFoundError" in refused, "before a run trains"


def test_a_metric_that_writes_into_its_input_leaves_the_others_theirs(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = "print('here'); own = test.labels; own.setflags(write=True); own += 1; return 0.0"
    writes = MARK.format("a", "", "a", "lower", body)
    right = MARK.format("b", "", "b", "higher", "return (test.labels == test.predictions).mean()")
    mine.write_text(HEAD + writes + "\n\n" + right.replace("def f(", "def g("))
    registry.use([mine])
    labels = np.arange(10) % 3
    found, reasons = compute(registry.plugins("metric"), labels, labels, 5)
    assert found["b"].value == 1.0 and not reasons
    out, err = capsys.readouterr()
    assert "here" in err and not out  # stdout may be JSON
