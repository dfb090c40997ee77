"""What mattered: the table of effects, why some have no number, and that every output has the same ones."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from harness.records.read import SuiteResults
from harness.records.store import run_folder
from harness.report.build import NO_FACTORS, build_report
from harness.report.formats import as_json, markdown, rows_of_files
from harness.report.tables import Report
from harness.report.terminal import show
from harness.report.write import write_report
from harness.results.question import keep_question
from harness.results.study import study_of_folders, study_of_plans
from harness.statistics.pairs import holm
from harness.suite.plan import Plan, load_suite

HEAD = """\
name: s
base: {data: digits, model: mlp, optimizer: {name: sgd, lr: 0.1, momentum: 0.9}}
"""
TWO_BY_TWO = "matrix: {optimizer.lr: [0.1, 0.01], train.global_batch_size: [128, 64]}\n"
FOUR = """\
matrix:
  optimizer.lr: [0.1, 0.01]
  train.global_batch_size: [128, 64]
  train.epochs: [1, 2]
  optimizer.momentum: [0.0, 0.9]
design: fractional
seeds: 3
"""
STAR = "one_at_a_time: {optimizer.lr: [0.01], train.global_batch_size: [64]}\n"
Numbers = Callable[[dict[str, Any], int], tuple[float | None, float | None] | None]


def _plan(folder: Path, text: str, **options: Any) -> Plan:
    path = folder / "suite.yaml"
    path.write_text(HEAD + text)
    return load_suite(path).plan(lambda data: "f", **options)


def _report(fake: Any, plan: Plan | list[Plan], numbers: Numbers, root: Path = Path(), **options: Any) -> Report:
    """Returns the report on runs with (test accuracy, train seconds), by config and seed; None leaves a run out."""
    plans = plan if isinstance(plan, list) else [plan]
    results = []
    for run in (run for one in plans for run in one.runs):
        dump = run.spec.model_dump(mode="json")
        found = numbers(dump, run.spec.seed)
        if found:
            made = fake.result(run.spec.label, seed=run.spec.seed, accuracy=found[0], seconds=found[1], suite="s",
                               config_id=run.config_id, run_id=run.run_id, **options)  # fmt: skip
            results.append(made.model_copy(update={"spec": dump}))
    return build_report(study_of_plans(plans, SuiteResults(results, {}, {}), [root]))


def _by_effect(report: Report, metric: str = "test_accuracy") -> dict[str, dict[str, Any]]:
    return {row["effect"]: row for row in rows_of_files(report)["what_mattered"] if row["metric"] == metric}


def _notes(report: Report) -> str:
    assert report.tables[0].mattered
    return " ".join(report.tables[0].mattered.notes)


def _level(dump: dict[str, Any]) -> tuple[int, int]:
    return int(dump["optimizer"]["lr"] == 0.01), int(dump["train"]["global_batch_size"] == 64)


def _wobble(dump: dict[str, Any], seed: int) -> float:
    """Returns noise of a run, the same each time."""
    text = str(sorted(dump["train"].items())) + str(dump["optimizer"])
    return float(np.random.default_rng([sum(text.encode()), len(text), seed]).normal())


def test_two_by_two_by_hand(fake: Any, tmp_path: Path) -> None:
    # Cells (lr, batch): 00 .80, 01 .84, 10 .70, 11 .90 in seed 0; in seed 1 the last is .94; no predictions were kept.
    accuracy = {(0, 0): 0.80, (0, 1): 0.84, (1, 0): 0.70, (1, 1): 0.90}
    seconds = {(0, 0): 10.0, (0, 1): 20.0, (1, 0): 10.0, (1, 1): 80.0}

    def numbers(dump: dict[str, Any], seed: int) -> tuple[float, float]:
        at = _level(dump)
        return accuracy[at] + 0.04 * (seed == 1 and at == (1, 1)), seconds[at] * (1 + seed * at[1])

    report = _report(fake, _plan(tmp_path, TWO_BY_TWO + "seeds: 2\n"), numbers)
    rows = _by_effect(report)
    batch, both = rows["train.global_batch_size"], rows["optimizer.lr x train.global_batch_size"]
    assert (batch["from_level"], batch["to_level"], batch["kind"], batch["seeds"]) == ("128", "64", "main effect", 2)
    assert [row["estimate"] for row in rows.values()] == pytest.approx([0.18, 0.13, -0.01]), "the largest first"
    assert (both["kind"], both["beside_level"], both["at_level"]) == ("interaction", "128", "64")
    # Over seeds .01 with t(1) = 12.706; over 10,000 images each level's two configs err alike: p(1 - p) at .8, .87 / 2.
    images = sum((sum((p * (1 - p)) ** 0.5 for p in side) / 2) ** 2 for side in ((0.8, 0.7), (0.84, 0.92))) / 10_000
    half = ((12.7062 * 0.01) ** 2 + 1.96**2 * images) ** 0.5
    assert batch["high"] - batch["estimate"] == pytest.approx(half, rel=1e-3)
    assert [row["p_holm"] for row in rows.values()] == pytest.approx(holm([row["p"] for row in rows.values()]))
    times = _by_effect(report, "train_seconds")
    # (80 / 10) / (20 / 10) = 4 in both seeds: no noise, no verdict. The ratio of the batches is 4, then 8.
    assert times["optimizer.lr x train.global_batch_size"]["estimate"] == pytest.approx(4)
    assert times["optimizer.lr x train.global_batch_size"]["verdict"] is None
    ratio = times["train.global_batch_size"]
    assert ratio["estimate"] == pytest.approx(32**0.5)
    assert ratio["low"] == pytest.approx(32**0.5 / 2 ** (12.7062 / 2), rel=1e-3)
    assert "Predictions were not kept" in _notes(report)


def test_stored_predictions_give_the_variance_over_the_images(fake: Any, tmp_path: Path) -> None:
    plan, images = _plan(tmp_path, TWO_BY_TWO + "seeds: 3\n"), 10_000
    rng = np.random.default_rng(0)
    right = {}
    for run in plan.runs:
        right[run.config_id, run.spec.seed] = own = rng.random(images) < 0.8 + 0.1 * _level(run.spec.model_dump())[0]
        folder = run_folder(tmp_path, "s", run.run_id, "a1b2c3").path
        folder.mkdir(parents=True)
        np.savez(folder / "predictions.npz", label=np.zeros(images, np.int32), prediction=(~own).astype(np.int32))
    by_level = {run.config_id: _level(run.spec.model_dump()) for run in plan.runs}
    ids = {level: config_id for config_id, level in by_level.items()}
    report = _report(
        fake,
        plan,
        lambda dump, seed: (float(right[ids[_level(dump)], seed].mean()), 10.0 + seed),
        tmp_path,
    )
    assert report.tables[0].effects
    lr = report.tables[0].effects.accuracy.effects[0]
    shares = {i: np.mean([right[i, seed] for seed in range(3)], 0) for i in by_level}
    of_image = sum((0.5 if level[0] else -0.5) * shares[i] for i, level in by_level.items())
    assert lr.summary and lr.summary.over_images + lr.summary.own == pytest.approx(
        np.var(of_image, ddof=1) / images, rel=1e-4
    )
    assert (lr.verdict, lr.is_decided) == ("better", True)
    assert "Predictions were not kept" not in _notes(report) and "10,000 test images" in _notes(report)


def test_one_at_a_time_stands_beside_the_base(fake: Any, tmp_path: Path) -> None:
    def numbers(dump: dict[str, Any], seed: int) -> tuple[float, float] | None:
        if dump["train"]["global_batch_size"] == 64:
            return None
        lr = _level(dump)[0]
        return 0.9 - 0.1 * seed + lr * (0.02 + 0.01 * seed), 100.0 * (1 + lr * (1 + 6 * seed))

    report = _report(fake, _plan(tmp_path, STAR + "seeds: 2\n"), numbers)
    rows = _by_effect(report)
    assert rows["optimizer.lr"]["estimate"] == pytest.approx(0.025)
    # Ratios 2 and 8: geometric mean 4, half an interval 12.7062 * log(2).
    ratio = _by_effect(report, "train_seconds")["optimizer.lr"]
    assert (ratio["estimate"], ratio["high"]) == (pytest.approx(4), pytest.approx(4 * 2**12.706205, rel=1e-5))
    batch = rows["train.global_batch_size"]
    assert (batch["estimate"], batch["state"]) == (None, "not run: global_batch_size=64")
    assert "Their interactions were not measured" in _notes(report)
    assert "| lr: 0.1 -&gt; 0.01 | +2.50 ±" in markdown(report)


def test_results_alone_have_the_same_effects(fake: Any, tmp_path: Path) -> None:
    """Without the suite's file and its plan, as where results were copied to."""

    def numbers(dump: dict[str, Any], seed: int) -> tuple[float, float]:
        return 0.8 + 0.01 * _wobble(dump, seed), 10.0 + _level(dump)[0] + seed

    plan, root = _plan(tmp_path, TWO_BY_TWO + "seeds: 3\n"), tmp_path / "results"
    report = _report(fake, plan, numbers)
    fake.store(root, [run for row in report.tables[0].rows for run in row.runs])
    keep_question(plan, root)
    alone = build_report(study_of_folders([root / "s"]))
    assert [row["estimate"] for row in rows_of_files(alone)["what_mattered"]] == [
        row["estimate"] for row in rows_of_files(report)["what_mattered"]
    ]


def test_factors_that_an_earlier_version_did_not_keep_are_said(fake: Any, tmp_path: Path) -> None:
    plan, root = _plan(tmp_path, TWO_BY_TWO + "seeds: 2\n"), tmp_path / "results"
    report = _report(fake, plan, lambda dump, seed: (0.5 + 0.01 * seed, 10.0))
    fake.store(root, [run for row in report.tables[0].rows for run in row.runs])
    told = [build_report(study_of_folders([root / "s"])).tables[0]]
    keep_question(plan, root)
    told.append(build_report(study_of_folders([root / "s"])).tables[0])
    assert [table.mattered is None for table in told] == [NO_FACTORS in table.notes for table in told] == [True, False]


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("not run", "not run"),
        ("failed", "failed (3 oom)"),
        ("left out", "left out by --only"),
        ("excluded", "not in the suite"),
        ("disturbed", "no time that counts"),
    ],
)
def test_a_combination_without_a_number_is_named_with_its_cause(
    fake: Any, tmp_path: Path, how: str, cause: str
) -> None:
    exclude = "exclude: [{optimizer.lr: 0.01, train.global_batch_size: 64, train.epochs: 1},"
    exclude += " {optimizer.lr: 0.01, train.global_batch_size: 64, train.epochs: 2}]\n"
    matrix = "matrix: {optimizer.lr: [0.1, 0.05, 0.01], train.global_batch_size: [128, 64], train.epochs: [1, 2]}\n"
    only = ("label!=x",) if how == "left out" else ()
    text = matrix + ("seeds: 3\n" if how not in ("excluded", "left out") else exclude + "seeds: 3\n")
    plan = _plan(tmp_path, text)
    if only:
        plan = type(plan)(**{**vars(plan), "selection": only})

    def numbers(dump: dict[str, Any], seed: int) -> tuple[float | None, float | None] | None:
        own = 0.8 + 0.01 * _wobble(dump, seed), 10.0 + _wobble(dump, seed)
        if _level(dump) != (1, 1):
            return own
        return None if how in ("not run", "failed") else (own[0], None) if how == "disturbed" else own

    report = _report(fake, plan, numbers)
    if how == "failed":
        failed = [
            fake.result(run.spec.label, seed=run.spec.seed, status="oom", suite="s", config_id=run.config_id,
                        run_id=run.run_id).model_copy(update={"spec": run.spec.model_dump(mode="json")})
            for run in plan.runs
            if _level(run.spec.model_dump()) == (1, 1)
        ]  # fmt: skip
        done = [run for row in report.tables[0].rows for run in row.runs]
        report = build_report(study_of_plans([plan], SuiteResults([*done, *failed], {}, {}), [Path()]))
    rows = rows_of_files(report)["what_mattered"]
    metric = "train_seconds" if how == "disturbed" else "test_accuracy"
    lost = {(row["effect"], row["to_level"]): row["state"] for row in rows if row["estimate"] is None}
    assert {row["metric"] for row in rows if row["estimate"] is None} >= {metric}
    assert lost["optimizer.lr", "0.01"] == f"{cause}: lr=0.01, global_batch_size=64"
    told = {(row["effect"], row["to_level"]) for row in rows if row["estimate"] is not None and row["metric"] == metric}
    assert ("optimizer.lr", "0.05") in told and ("train.epochs", "2") in told


def test_one_seed_has_numbers_and_no_verdict(fake: Any, tmp_path: Path) -> None:
    report = _report(fake, _plan(tmp_path, TWO_BY_TWO), lambda dump, seed: (0.8 + 0.1 * _level(dump)[0], 10.0))
    row = _by_effect(report)["optimizer.lr"]
    assert row["estimate"] == pytest.approx(0.1)
    assert {row[name] for name in ("low", "high", "p", "p_holm", "verdict")} == {None}
    assert "One seed: no interval and no verdict" in _notes(report)
    assert report.tables[0].mattered
    assert not [column for column in report.tables[0].mattered.columns if "verdict" in column.title]


def test_margins_make_effects_equivalent(fake: Any, tmp_path: Path) -> None:
    text = TWO_BY_TWO + "seeds: 5\nmargin: 0.05\n"
    report = _report(fake, _plan(tmp_path, text), lambda dump, seed: (0.8 + 0.0005 * _wobble(dump, seed), 10.0))
    rows = _by_effect(report)
    assert rows["optimizer.lr"]["verdict"] == "equivalent" and rows["optimizer.lr"]["p_beyond_margin"] < 0.05
    assert "the suite's margin of 5.00 points" in _notes(report)
    assert all(row["p_beyond_margin"] is None for row in _by_effect(report, "train_seconds").values())


def test_synthetic_data_have_times_only(fake: Any, tmp_path: Path) -> None:
    plan = _plan(tmp_path, TWO_BY_TWO + "seeds: 2\n")
    report = _report(fake, plan, lambda dump, seed: (0.9, 10.0 + seed), rankable=False)
    assert {row["state"] for row in _by_effect(report).values()} == {"no result"}
    assert _by_effect(report, "train_seconds")["optimizer.lr"]["estimate"] == pytest.approx(1)
    assert report.tables[0].mattered
    assert "Effects on accuracy are not shown" in _notes(report)
    assert "test accuracy, difference" not in [column.title for column in report.tables[0].mattered.columns]


def test_a_fraction_gives_main_effects_and_names_what_is_aliased(fake: Any, tmp_path: Path) -> None:
    plan = _plan(tmp_path, FOUR)
    assert len(plan.configs()) == 8

    def numbers(dump: dict[str, Any], seed: int) -> tuple[float, float]:
        lr, batch = _level(dump)
        return 0.5 + 0.1 * lr + 0.2 * lr * batch + 0.02 * seed, 10.0 * dump["train"]["epochs"]

    report = _report(fake, plan, numbers)
    rows = _by_effect(report)
    assert rows["optimizer.lr"]["estimate"] == pytest.approx(0.1 + 0.2 / 2)
    assert rows["train.epochs"]["estimate"] == pytest.approx(0.0, abs=1e-9)
    lost = [row for row in rows.values() if row["kind"] == "interaction"]
    assert len(lost) == 6 and all(row["estimate"] is None for row in lost)
    assert rows["optimizer.lr x train.global_batch_size"]["state"] == "aliased with epochs x momentum"
    assert _by_effect(report, "train_seconds")["train.epochs"]["estimate"] == pytest.approx(2.0)


def test_one_at_a_time_within_a_zip_shows_the_interaction_with_the_zip(fake: Any, tmp_path: Path) -> None:
    text = "zip: [{label: [short, long], train.epochs: [1, 3], train.drop_last: [true, false]}]\n" + STAR + "seeds: 2\n"

    def numbers(dump: dict[str, Any], seed: int) -> tuple[float, float]:
        lr, batch = _level(dump)
        return 0.3 + 0.1 * (dump["train"]["epochs"] == 3) * (1 + lr) + 0.2 * batch + 0.01 * seed, 10.0

    rows = _by_effect(_report(fake, _plan(tmp_path, text), numbers))
    zipped = "train.epochs, train.drop_last"
    assert set(rows) == {
        zipped,
        "optimizer.lr",
        "train.global_batch_size",
        f"{zipped} x optimizer.lr",
        f"{zipped} x train.global_batch_size",
    }
    assert rows[f"{zipped} x optimizer.lr"]["estimate"] == pytest.approx(0.1)
    assert rows["optimizer.lr"]["estimate"] == pytest.approx(0.05), "beside the base, not beside the other batch size"
    assert rows[zipped]["estimate"] == pytest.approx((0.1 + 0.2 + 0.1) / 3)


def test_several_world_sizes_are_a_factor(fake: Any, tmp_path: Path) -> None:
    plans = [_plan(tmp_path, TWO_BY_TWO + "seeds: 2\n", num_processes=size) for size in (1, 2)]
    report = _report(fake, plans, lambda dump, seed: (0.5, 10.0 / dump["train"]["num_processes"]))
    rows = _by_effect(report, "train_seconds")
    assert rows["train.num_processes"]["estimate"] == pytest.approx(0.5)
    assert "train.num_processes x optimizer.lr" in rows


def test_effects_are_told_of_all_systems_and_of_each(fake: Any, tmp_path: Path) -> None:
    plan = _plan(tmp_path, STAR)
    results = [
        fake.result("x", config_id=run.config_id, run_id=run.run_id, suite="s", system_id=system)
        for run, system in zip(plan.runs, ["one", "two", "two"], strict=True)
    ]
    report = build_report(study_of_plans([plan], SuiteResults(results, {}, {}), [Path()]))
    states = {(row["system_id"], row["state"]) for row in rows_of_files(report)["what_mattered"]}
    assert {one for one, _ in states} == {"all", "one", "two"} and all(
        "not run" in state for one, state in states if one != "all"
    )


def test_the_note_says_of_how_many_seeds_the_effects_are(fake: Any, tmp_path: Path) -> None:
    def numbers(dump: dict[str, Any], seed: int) -> tuple[float, float] | None:
        lost = seed == 3 and dump["optimizer"]["lr"] == 0.01  # so that one change of the star has a seed less
        return None if lost else (0.8 + 0.01 * seed + 0.001 * _wobble(dump, seed), 10.0)

    notes = _notes(_report(fake, _plan(tmp_path, STAR + "seeds: 4\n"), numbers))
    assert "95 % intervals over 3 to 4 seeds" in notes


def test_a_factor_of_many_levels_is_left_to_the_ranking(fake: Any, tmp_path: Path) -> None:
    text = f"matrix: {{optimizer.lr: {[0.001 * at for at in range(1, 31)]}, train.epochs: [1, 2, 3]}}\nseeds: 2\n"
    report = _report(fake, _plan(tmp_path, text), lambda dump, seed: (0.5 + 0.01 * dump["train"]["epochs"], 10.0))
    rows = [row for row in rows_of_files(report)["what_mattered"] if row["metric"] == "test_accuracy"]
    assert [(row["effect"], row["to_level"]) for row in rows] == [("train.epochs", "3"), ("train.epochs", "2")]
    assert [row["estimate"] for row in rows] == pytest.approx([0.02, 0.01])
    assert "lr has 30 levels: its effects are not listed, the ranking has them." in _notes(report)


@pytest.mark.launch
def test_people_and_programs_read_the_same(fake: Any, tmp_path: Path) -> None:
    report = _report(
        fake,
        _plan(tmp_path, TWO_BY_TWO + "seeds: 3\n"),
        lambda dump, seed: (0.8 + 0.1 * _level(dump)[0] + 0.001 * _wobble(dump, seed), 10.0 + seed * _level(dump)[1]),
    )
    written, _ = write_report(tmp_path / "out", report)
    assert "what_mattered.csv" in {path.name for path in written}
    text = (tmp_path / "out" / "table.md").read_text()
    assert "### What mattered in s on" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "what_mattered.csv").read_text())))
    assert len(rows) == 6 and as_json(report)["what_mattered"][0]["effect"] == rows[0]["effect"] == "optimizer.lr"
    assert r"What mattered in s" in (tmp_path / "out" / "table.tex").read_text()
    estimate = 100 * float(rows[0]["estimate"])
    for width in (80, 120, 160):
        show(report, Console(file=(file := io.StringIO()), width=width), explain=True)
        assert max(map(len, file.getvalue().splitlines())) <= width
        assert re.search(rf"lr: 0\.1 -> 0\.01 +\+{estimate:.2f} ± \d\.\d\d points +better", file.getvalue())
    assert re.search(r"points +better +(< 0\.001|0\.0\d\d) ", file.getvalue())
    write_report(tmp_path / "out", fake.report([fake.result()]))
    assert not list((tmp_path / "out").glob("what_mattered.*"))


@pytest.mark.launch
def test_effects_need_no_slow_library() -> None:
    code = """
import itertools, sys
import numpy as np
from harness.statistics.effects import CellModel, contrasts_of, estimate
import harness.report.what_mattered
model = CellModel(np.array(list(itertools.product(range(2), range(2)))), (2, 2))
values = np.random.default_rng(0).normal(size=(4, 3))
values[0, 0] = np.nan
estimate(model, model.contrast_rows(contrasts_of((2, 2))), values)
print([name for name in ("statsmodels", "pandas", "scipy.stats") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
