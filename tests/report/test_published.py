"""Published numbers beside ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.records.read import SuiteResults, read_suite
from harness.records.store import run_folder
from harness.report.build import build_report
from harness.report.formats import as_json, latex, markdown, rows_of_files
from harness.report.write import write_report
from harness.results.study import study_of_plans, study_of_suite
from harness.suite.plan import load_suite


def _only(report: Any) -> dict[str, Any]:
    (row,) = rows_of_files(report)["references"]
    return row


def _compared(
    fake: Any, published: float, accuracies: list[float], metric: str = "test.accuracy", **reference: Any
) -> dict[str, Any]:
    results = [fake.result("a", seed=seed, accuracy=accuracy) for seed, accuracy in enumerate(accuracies)]
    references = {results[0].config_id: [fake.Published(metric, published, "report 1, table 1", **reference)]}
    return _only(fake.report(results, references=references))


@pytest.mark.parametrize(
    ("reference", "half"),
    [
        # mean 0.91, sd 0.01, t(0.975, 2) = 4.302653: t * sd * sqrt(1 / 3 + 1 / runs)
        ({}, 0.0496828),
        ({"runs": 6}, 0.0304244),
        ({"runs": 10**6}, 0.0248414),
        # 10,000 other images: with t(0.975, 9999) = 1.960201 times sqrt(2 * 0.91 * 0.09 / 10000)
        ({"same_images": False}, 0.0503128),
    ],
)
def test_a_published_number_is_held_against_where_such_a_number_would_lie(
    fake: Any, reference: dict[str, Any], half: float
) -> None:
    seeds = [0.90, 0.91, 0.92]
    row = _compared(fake, 0.93, seeds, **reference)
    assert (row["ours_n"], row["source"], row["published_runs"]) == (3, "report 1, table 1", reference.get("runs", 1))
    assert row["ours_mean"] == pytest.approx(0.91) and row["difference"] == pytest.approx(-0.02)
    assert row["expected_low"] == pytest.approx(0.91 - half, abs=1e-6)
    assert row["expected_high"] == pytest.approx(0.91 + half, abs=1e-6)
    for inside in (0.91 + half - 1e-5, 0.91 - half + 1e-5):
        assert _compared(fake, inside, seeds, **reference)["verdict"] == "reproduced"
    for outside in (0.91 + half + 1e-5, 0.91 - half - 1e-5):
        assert _compared(fake, outside, seeds, **reference)["verdict"] == "differs"


def test_a_loss_on_other_images_has_no_verdict(fake: Any) -> None:
    row = _compared(fake, 0.3, [0.90, 0.91, 0.92], "test.loss", same_images=False)
    assert (row["verdict"], row["expected_low"]) == ("other images", None)


def test_no_accuracy_is_expected_beyond_its_ends(fake: Any) -> None:
    row = _compared(fake, 0.9, [0.99, 0.80, 0.95])
    assert row["expected_high"] == 1.0 and 0 <= row["expected_low"] < 0.9


def test_equal_seeds_reproduce_their_own_value(fake: Any) -> None:
    assert _compared(fake, 0.9, [0.9] * 3)["verdict"] == "reproduced"
    assert _compared(fake, 0.9001, [0.9] * 3)["verdict"] == "differs"
    assert _compared(fake, 0.053, [0.053] * 19)["verdict"] == "reproduced"  # the floats' mean is not quite 0.053


def test_a_plan_gives_the_numbers_of_what_it_has_run(fake: Any, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    reference = "{match: {label: mlp}, metric: test.accuracy, value: 0.9, source: report 1}"
    path.write_text(f"name: s\nbase: {{data: digits, model: mlp, optimizer: adam}}\nreferences: [{reference}]\n")

    def rows(ran: list[int], *overrides: str) -> list[Any]:
        plans = [load_suite(path, overrides).plan(lambda data: "f", num_processes=size) for size in (1, 2)]
        results = [
            fake.result("mlp", config_id=run.config_id, run_id=run.run_id)
            for size, plan in enumerate(plans, 1)
            for run in plan.runs
            if size in ran
        ]
        report = build_report(study_of_plans(plans, SuiteResults(results, {}, {}), [Path()]))
        beside = report.tables[0].published
        assert beside is not None
        if overrides:
            assert any("Overrides" in note for note in beside.notes)
        return [(row["label"], row["verdict"]) for row in rows_of_files(report)["references"]]

    assert rows([2]) == [("mlp on 2", "one seed")]
    assert rows([1, 2]) == [("mlp on 1", "one seed"), ("mlp on 2", "one seed")]
    rows([1], "train.epochs=3")


def test_one_seed_has_a_difference_but_no_verdict(fake: Any) -> None:
    row = _compared(fake, 0.9, [0.9])
    assert (row["verdict"], row["ours_n"], row["ours_ci95"], row["difference"]) == ("one seed", 1, None, 0.0)


@pytest.mark.parametrize(
    ("metric", "ours"), [("clock.train_seconds", 100.0), ("throughput.samples_per_second", 25_123.4)]
)
def test_times_never_get_a_verdict(fake: Any, metric: str, ours: float) -> None:
    row = _compared(fake, ours, [0.9, 0.9], metric)  # the very number that was published
    assert (row["ours_mean"], row["difference"], row["verdict"]) == (pytest.approx(ours), None, "other system")


def test_what_the_runs_did_not_record_is_not_called_not_run(fake: Any) -> None:
    row = _compared(fake, 0.5, [0.9, 0.9], "validation.accuracy")
    assert (row["verdict"], row["ours_mean"], row["difference"]) == ("not measured", None, None)


def test_failed_runs_are_not_run_and_enter_no_mean(fake: Any) -> None:
    ok, failed = fake.result("a"), fake.result("b", status="oom", train={"epochs": 2})
    reference = fake.Published("test.accuracy", 0.9, "report 1")
    report = fake.report([ok, failed], references={failed.config_id: [reference]})
    assert (_only(report)["verdict"], _only(report)["ours_n"]) == ("not run", 0)


def test_a_table_for_each_system_and_results_never_mix(fake: Any) -> None:
    near = [fake.result("a", seed=seed, accuracy=0.9 + seed / 1000, system_id="near") for seed in range(2)]
    far = [fake.result("a", seed=seed, accuracy=0.5 + seed / 1000, system_id="far") for seed in range(2)]
    other = fake.result("b", train={"epochs": 2}, system_id="far")
    references = {result.config_id: [fake.Published("test.accuracy", 0.9, "report 1")] for result in (near[0], other)}
    rows = rows_of_files(fake.report([*near, *far, other], references=references))["references"]
    found = {(row["system_id"], row["label"]): row["verdict"] for row in rows}
    assert found == {
        ("far", "a"): "differs",
        ("far", "b"): "one seed",
        ("near", "a"): "reproduced",
        ("near", "b"): "not run",
    }


def test_no_references_no_table(fake: Any) -> None:
    report = fake.report([fake.result()])
    assert report.tables[0].beside() == []
    assert rows_of_files(report)["references"] == []


def test_overrides_stand_beside_the_verdicts(fake: Any) -> None:
    results = [fake.result("a", seed=seed) for seed in range(2)]
    references = {results[0].config_id: [fake.Published("test.accuracy", 0.9, "report 1")]}
    overrides = {"data.name": "image_folder", "seeds": 2}
    report = fake.report(results, references=references, overrides=overrides)
    notes = report.tables[0].published.notes
    assert any('Overrides: {"data.name": "image_folder"}. The published runs had none' in note for note in notes)
    assert 'Overrides: {"data.name": "image_folder", "seeds": 2}.' in report.notes
    only_seeds = fake.report(results, references=references, overrides={"seeds": 2})
    assert not any("Overrides" in note for note in only_seeds.tables[0].published.notes)


def test_people_read_it_below_the_ranking_and_no_longer_in_it(fake: Any) -> None:
    results = [fake.result("a", seed=seed, accuracy=0.90 + seed / 100, seconds=0.5) for seed in range(3)]
    references = {
        results[0].config_id: [
            fake.Published("test.accuracy", 0.93, "report 1"),
            fake.Published("clock.train_seconds", 4567.0, "report 4"),
        ]
    }
    report = fake.report(results, references=references)
    assert not any("published" in column.title for column in report.tables[0].shown())
    ranking, beside = markdown(report).split(
        "### Published numbers beside milestones on 1x NVIDIA GTX 1060, torch 2.10"
    )
    assert "report 1" not in ranking
    row = "| a | test.accuracy | 93.00 % | 91.00 % | -2.00 points | 86.03 to 95.97 % | 3 | 1 | report 1 | reproduced |"
    assert row in beside
    assert "| a | clock.train_seconds | 4,567 s | 0.500 s | - | - | 3 | 1 | report 4 | other system |" in beside
    assert r"-2.00 points & 86.03 to 95.97 \% & 3 & report 1 & reproduced \\" in latex(report)


@pytest.mark.usefixtures("no_charts")
def test_programs_get_it_as_files_that_do_not_outlive_it(fake: Any, tmp_path: Path) -> None:
    result = fake.result("a")
    references = {result.config_id: [fake.Published("test.loss", 0.25, "report 1")]}
    report = fake.report([result], references=references)
    write_report(tmp_path, report)
    assert (tmp_path / "references.csv").read_text().count("\n") == 2
    assert json.loads(json.dumps(as_json(report)))["references"] == rows_of_files(report)["references"]
    write_report(tmp_path, fake.report([result]))
    assert not list(tmp_path.glob("references.*"))


def test_a_number_of_an_earlier_epoch_is_compared_with_that_epoch(fake: Any, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    reference = "{match: {label: mlp}, metric: test.accuracy, epoch: 2, value: 0.7, source: report 4}"
    path.write_text(f"name: many\nbase: {{data: digits, model: mlp, optimizer: adam}}\nreferences: [{reference}]\n")
    plan = load_suite(path).plan(lambda data: "f")
    run = plan.runs[0]
    result = fake.result("mlp", config_id=run.config_id, run_id=run.run_id, suite="many")
    fake.store(tmp_path, [result])
    folder = run_folder(tmp_path, "many", result.run_id, result.system_id)
    for accuracies in ([0.1, 0.2], [0.5, 0.65, 0.9]):
        folder.event("run_started", attempt=1)
        for epoch, accuracy in enumerate(accuracies):
            folder.event("epoch", epoch=epoch, metrics={"test": {"accuracy": accuracy}})
    report = build_report(study_of_plans([plan], read_suite(tmp_path, "many"), [tmp_path]))
    row = _only(report)
    assert (row["epoch"], row["ours_mean"]) == (2, 0.65) and row["difference"] == pytest.approx(-0.05)
    assert "test.accuracy, epoch 2" in markdown(report)
    assert folder.metric_at("test.accuracy", 4) is None and folder.metric_at("test.loss", 1) is None
    assert folder.metric_at("validation.accuracy", 1) is None


def test_pictures_of_runs_are_listed_with_their_captions(fake: Any, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text("name: many\nbase: {data: digits, model: mlp, optimizer: adam}\n")
    plan = load_suite(path).plan(lambda data: "f")
    run = plan.runs[0]
    result = fake.result("mlp", config_id=run.config_id, run_id=run.run_id, suite="many")
    fake.store(tmp_path, [result])
    drawn = run_folder(tmp_path, "many", result.run_id, result.system_id).path / "pictures"
    drawn.mkdir()
    for name in ("curves", "a b"):
        (drawn / f"{name}.png").write_bytes(b"")
    (drawn / "curves.txt").write_text("Accuracy | by epoch.\n")
    report = build_report(study_of_plans([plan], read_suite(tmp_path, "many"), [tmp_path]))
    text = markdown(report)
    where = f"{result.run_id}/{result.system_id}/pictures"
    assert f"mlp, seed 0: Accuracy \\| by epoch.\n\n![curves]({where}/curves.png)" in text
    assert f"![a b]({where}/a%20b.png)" in text, "a picture without a caption is named after its file"
    assert as_json(report)["pictures"][1] == {
        "path": f"{where}/curves.png",
        "run": "mlp, seed 0",
        "caption": "Accuracy | by epoch.",
    }


def test_pictures_of_a_run_that_is_done_under_another_suite_are_listed(fake: Any, tmp_path: Path) -> None:
    plans = {}
    for name in ("first", "second"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"name: {name}\nbase: {{data: digits, model: mlp, optimizer: adam}}\n")
        plans[name] = load_suite(path).plan(lambda data: "f")
    run = plans["first"].runs[0]
    result = fake.result("mlp", config_id=run.config_id, run_id=run.run_id, suite="first")
    fake.store(tmp_path, [result])
    drawn = run_folder(tmp_path, "first", result.run_id, result.system_id).path / "pictures"
    drawn.mkdir()
    (drawn / "curves.png").write_bytes(b"")
    study = study_of_suite(plans["second"], [tmp_path])
    [picture] = build_report(study).pictures
    study.folder.mkdir()  # which a report makes
    assert (study.folder / picture.path).is_file()
