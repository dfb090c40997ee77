"""What mattered: main effects and two-way interactions, their intervals, and what cannot be told."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from harness.factorial.effects import terms_of
from harness.records.read import SuiteResults
from harness.report.charts.interactions import interactions
from harness.report.factors import estimates
from harness.report.factors.crossing import crossings_of
from harness.report.factors.estimates import estimate
from harness.report.formats.machine import as_json, mattered_rows
from harness.report.formats.terminal import show
from harness.report.of_suite import build_suite_report
from harness.report.tables import Report
from harness.report.write import write_report
from harness.results.study import study_of_plans
from harness.statistics.significance import holm
from harness.suite.plan import Plan, load_suite

HEAD = """\
name: s
base:
  data: digits
  model: mlp
  optimizer: {name: sgd, lr: 0.1, momentum: 0.9}
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
ONE_AT_A_TIME = """\
one_at_a_time:
  optimizer.lr: [0.01]
  model: [{name: cnn3, filters: [8, 8, 8]}]
  train.drop_last: [true]
seeds: 2
"""
Numbers = Callable[[dict[str, Any], int], tuple[float, float] | None]


def _plan(folder: Path, text: str, **options: Any) -> Plan:
    path = folder / "suite.yaml"
    path.write_text(HEAD + text)
    return load_suite(path).plan(lambda data: "f", **options)


def _report(fake: Any, plan: Plan | list[Plan], numbers: Numbers) -> Report:
    """Returns the report on runs with (test accuracy, train seconds), by config and seed; None leaves a run out."""
    plans = plan if isinstance(plan, list) else [plan]
    results = []
    for run in (run for one in plans for run in one.runs):
        found = numbers(run.spec.model_dump(mode="json"), run.spec.seed)
        if found:
            made = fake.result(run.spec.label, seed=run.spec.seed, accuracy=found[0], seconds=found[1], suite="s",
                               config_id=run.config_id, run_id=run.run_id)  # fmt: skip
            results.append(made)
    return build_suite_report(study_of_plans(plans, SuiteResults(results, {}, {}), [Path()]))


def _by_effect(report: Report, metric: str = "test_accuracy") -> dict[str, dict[str, Any]]:
    return {row["effect"]: row for row in mattered_rows(report) if row["metric"] == metric}


def _level(dump: dict[str, Any]) -> tuple[int, int]:
    return int(dump["optimizer"]["lr"] == 0.01), int(dump["train"]["global_batch_size"] == 64)


def _wobble(dump: dict[str, Any], seed: int) -> float:
    """Returns noise of a run, the same each time."""
    return random_of(str(sorted(dump["train"].items())) + str(dump["optimizer"]), seed)


def random_of(text: str, seed: int) -> float:
    return float(np.random.default_rng([sum(text.encode()), len(text), seed]).normal())


def test_two_by_two_by_hand(fake: Any, tmp_path: Path) -> None:
    # Cells (lr, batch): 00 .80, 01 .84, 10 .70, 11 .90 in seed 0; in seed 1 the last is .94.
    accuracy = {(0, 0): 0.80, (0, 1): 0.84, (1, 0): 0.70, (1, 1): 0.90}
    seconds = {(0, 0): 10.0, (0, 1): 20.0, (1, 0): 10.0, (1, 1): 80.0}

    def numbers(dump: dict[str, Any], seed: int) -> tuple[float, float]:
        at = _level(dump)
        return accuracy[at] + 0.04 * (seed == 1 and at == (1, 1)), seconds[at]

    report = _report(fake, _plan(tmp_path, TWO_BY_TWO + "seeds: 2\n"), numbers)
    rows = _by_effect(report)
    assert list(rows) == ["train.global_batch_size", "optimizer.lr x train.global_batch_size", "optimizer.lr"]
    batch, both, lr = rows.values()
    # Batch: within seed 0 (.04 + .20) / 2 = .12, seed 1 (.04 + .24) / 2 = .14; mean .13, half width 12.7062 * .01.
    assert (batch["from_level"], batch["to_level"], batch["kind"]) == ("128", "64", "main effect")
    assert batch["estimate"] == pytest.approx(0.13) and batch["high"] - batch["estimate"] == pytest.approx(0.127062)
    # Interaction: .20 - .04 = .16 and .20; mean .18, half width 12.7062 * .02.
    assert both["estimate"] == pytest.approx(0.18) and both["estimate"] - both["low"] == pytest.approx(0.254124)
    levels = [both[name] for name in ("from_level", "to_level", "beside_level", "at_level")]
    assert levels == ["0.1", "0.01", "128", "64"]
    assert lr["estimate"] == pytest.approx((-0.02 + 0.0) / 2)
    # Means .80 .84 .70 .92: variance 6.475e-3; batch .13, interaction .18 and lr -.01 make .13^2/4, .18^2/16, .01^2/4.
    parts = [0.13**2 / 4, 0.18**2 / 16, 0.01**2 / 4]
    assert [row["share"] for row in rows.values()] == pytest.approx([part / sum(parts) for part in parts])
    # t of 13, 9 and 1 with one degree of freedom: p = 2 / pi * atan(1 / t); times three, two and one.
    p = [2 / math.pi * math.atan(1 / t) for t in (13, 9, 1)]
    assert [row["p"] for row in rows.values()] == pytest.approx(p)
    assert [row["p_holm"] for row in rows.values()] == pytest.approx([3 * p[0], max(3 * p[0], 2 * p[1]), p[2]])
    times = _by_effect(report, "train_seconds")
    assert times["optimizer.lr x train.global_batch_size"]["estimate"] == pytest.approx((80 / 10) / (20 / 10))
    assert times["train.global_batch_size"]["estimate"] == pytest.approx(math.sqrt(2 * 8))
    assert times["optimizer.lr"]["p"] == 0.0  # the seeds agree to the last digit


def test_missing_runs_take_the_same_numbers_where_both_ways_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = (2, 3, 2)
    cells = np.array(list(itertools.product(*map(range, levels))))
    values = np.random.default_rng(0).normal(size=(len(cells), 3)) + 2 * cells[:, :1]
    sums = estimate(cells, values, levels, terms_of(levels))
    monkeypatch.setattr(estimates, "_complete", lambda *_: False)
    fitted = estimate(cells, values, levels, terms_of(levels))
    assert (sums.fitted, fitted.fitted) == (False, True)
    for ours, theirs in zip(sums.effects, fitted.effects, strict=True):
        assert ours.contrast == theirs.contrast and ours.lost == theirs.lost == 0
        numbers = [(one.value, one.half_width, one.p, one.share) for one in (ours, theirs)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-6)
        means = [[(level.mean, level.half_width) for level in one.means] for one in (ours, theirs)]
        assert np.allclose(np.array(means[0], dtype=float), np.array(means[1], dtype=float))


def test_missing_runs_do_not_bias_an_additive_truth() -> None:
    levels = (2, 2, 3)
    cells = np.array(list(itertools.product(*map(range, levels))))
    values = np.tile((cells @ [1.0, 10.0, 100.0])[:, None], (1, 3)) + np.array([0.0, 5.0, -3.0])
    values[0, 0] = values[5, 1] = values[7] = np.nan
    found = {one.term: one for one in estimate(cells, values, levels, terms_of(levels)).effects}
    assert [found[term].value for term in ((0,), (1,), (2,))] == pytest.approx([1.0, 10.0, 200.0])
    assert [found[term].value for term in ((0, 1), (0, 2), (1, 2))] == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)
    assert found[(2,)].means[1].mean - found[(2,)].means[0].mean == pytest.approx(100.0)


def test_a_config_with_one_seed_of_several_is_left_out() -> None:
    """It is far off, and says nothing of how it scatters; a seed that only it has goes with it."""
    levels = (2, 2)
    cells = np.array([*itertools.product(range(2), range(2)), (1, 1)])
    values = np.tile((cells @ [1.0, 10.0])[:, None], (1, 4)) + np.array([0.0, 5.0, -3.0, 0.0])
    values[:4, 3] = values[4, :3] = np.nan
    values[4, 3] = 1000.0
    found = estimate(cells, values, levels, terms_of(levels))
    assert (found.configs, found.seeds) == (4, 3)
    assert [one.value for one in found.effects] == pytest.approx([1.0, 10.0, 0.0], abs=1e-9)


def test_one_seed_has_numbers_and_no_intervals(fake: Any, tmp_path: Path) -> None:
    report = _report(fake, _plan(tmp_path, TWO_BY_TWO), lambda dump, seed: (0.8 + 0.1 * _level(dump)[0], 10.0))
    row = _by_effect(report)["optimizer.lr"]
    assert row["estimate"] == pytest.approx(0.1)
    assert {row[name] for name in ("low", "high", "p", "p_holm")} == {None}
    text = " ".join(report.tables[0].mattered[0].notes)
    assert "One seed: no interval and no p" in text
    assert "p (Holm)" not in [column.title for column in report.tables[0].mattered[0].columns]


def test_a_combination_without_a_result_is_named_and_gets_no_number(fake: Any, tmp_path: Path) -> None:
    text = "matrix: {optimizer.lr: [0.1, 0.01], train.global_batch_size: [128, 64], train.epochs: [1, 2]}\nseeds: 3\n"
    report = _report(
        fake,
        _plan(tmp_path, text),
        lambda dump, seed: None if _level(dump) == (1, 1) else (0.8 + 0.01 * _wobble(dump, seed), 10.0),
    )
    rows = _by_effect(report)
    lost = {name for name, row in rows.items() if row["estimate"] is None}
    assert lost == {"optimizer.lr", "train.global_batch_size", "optimizer.lr x train.global_batch_size"}
    assert rows["optimizer.lr x train.global_batch_size"]["state"] == "no result at lr=0.01, global_batch_size=64"
    assert rows["train.epochs"]["estimate"] is not None and rows["train.epochs"]["state"] == "ok"
    assert all(row["p_holm"] is None for row in rows.values() if row["estimate"] is None)


def test_runs_of_one_seed_only_say_nothing_where_others_have_more(fake: Any, tmp_path: Path) -> None:
    report = _report(
        fake,
        _plan(tmp_path, TWO_BY_TWO + "seeds: 3\n"),
        lambda dump, seed: None if _level(dump) == (1, 1) and seed else (0.8 + 0.01 * _wobble(dump, seed), 10.0),
    )
    rows = _by_effect(report)
    assert {row["estimate"] for row in rows.values()} == {None}
    state = rows["optimizer.lr x train.global_batch_size"]["state"]
    assert state == "no result in two seeds at lr=0.01, global_batch_size=64"


def test_without_statsmodels_incomplete_data_say_what_they_need(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    report = _report(
        fake,
        _plan(tmp_path, TWO_BY_TWO + "seeds: 3\n"),
        lambda dump, seed: None if _level(dump) == (1, 1) and seed == 2 else (0.8 + 0.01 * _wobble(dump, seed), 10.0),
    )
    assert mattered_rows(report) == []
    assert "it needs statsmodels (pip install statsmodels)" in " ".join(report.tables[0].mattered[0].notes)
    show(report, Console(file=io.StringIO(), width=80), explain=True)


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
    interactions_ = [row for row in rows.values() if row["kind"] == "interaction"]
    assert len(interactions_) == 6 and all(row["estimate"] is None for row in interactions_)
    assert rows["optimizer.lr x train.global_batch_size"]["state"] == "aliased with epochs x momentum"
    notes = " ".join(report.tables[0].mattered[0].notes)
    assert "lr x global_batch_size = epochs x momentum" in notes
    assert _by_effect(report, "train_seconds")["train.epochs"]["estimate"] == pytest.approx(2.0)
    assert interactions(report.tables[0]) is None


def test_many_numbers_are_halved_and_many_names_averaged_over(fake: Any, tmp_path: Path) -> None:
    rates = [round(0.01 * (at + 1), 2) for at in range(11)]
    names = [f"{{name: mlp, hidden_sizes: [{width}]}}" for width in range(8, 17)]
    text = f"matrix: {{optimizer.lr: {rates}, model: [{', '.join(names)}], train.epochs: [1, 2]}}\nseeds: 2\n"
    report = _report(
        fake, _plan(tmp_path, text), lambda dump, seed: (0.5 + (dump["optimizer"]["lr"] > 0.06) * 0.1, 10.0)
    )
    rows = _by_effect(report)
    assert set(rows) == {"optimizer.lr", "train.epochs", "optimizer.lr x train.epochs"}
    assert rows["optimizer.lr"]["estimate"] == pytest.approx(0.1)
    assert (rows["optimizer.lr"]["from_level"], rows["optimizer.lr"]["to_level"]) == ("0.01 to 0.05", "0.07 to 0.11")
    notes = " ".join(report.tables[0].mattered[0].notes)
    assert "lr: its 11 numbers are taken as two levels, their lower and upper half, and 0.06 left out." in notes
    assert "9 values without an order are averaged over" in notes


def test_one_at_a_time_within_a_zip_shows_the_interaction_with_the_zip_alone(fake: Any, tmp_path: Path) -> None:
    text = (
        "zip: [{label: [short, long], train.epochs: [1, 3]}]\n"
        "one_at_a_time: {optimizer.lr: [0.01], train.global_batch_size: [64]}\nseeds: 2\n"
    )

    def numbers(dump: dict[str, Any], seed: int) -> tuple[float, float]:
        lr, batch = _level(dump)
        return 0.3 + 0.1 * (dump["train"]["epochs"] == 3) * (1 + lr) + 0.2 * batch + 0.01 * seed, 10.0

    rows = _by_effect(_report(fake, _plan(tmp_path, text), numbers))
    assert set(rows) == {
        "train.epochs",
        "optimizer.lr",
        "train.epochs x optimizer.lr",
        "train.global_batch_size",
        "train.epochs x train.global_batch_size",
    }
    assert rows["train.epochs x optimizer.lr"]["estimate"] == pytest.approx(0.1)
    assert rows["optimizer.lr"]["estimate"] == pytest.approx(
        0.1 / 2
    )  # beside the base, not beside the other batch size
    assert rows["train.epochs"]["estimate"] == pytest.approx((0.1 + 0.2 + 0.1) / 3)
    assert {row["share"] for row in rows.values()} == {None}


def test_several_world_sizes_are_a_factor(fake: Any, tmp_path: Path) -> None:
    plans = [_plan(tmp_path, TWO_BY_TWO + "seeds: 2\n", num_processes=size) for size in (1, 2)]
    report = _report(fake, plans, lambda dump, seed: (0.5, 10.0 / dump["train"]["num_processes"]))
    rows = _by_effect(report, "train_seconds")
    assert rows["train.num_processes"]["estimate"] == pytest.approx(0.5)
    assert "optimizer.lr x train.num_processes" in rows


@pytest.mark.parametrize("text", ["matrix: {train.epochs: [1, 2]}\n", "include: [{label: a}]\n", ONE_AT_A_TIME])
def test_no_crossing_no_table(tmp_path: Path, text: str) -> None:
    plan = _plan(tmp_path, text)
    assert crossings_of([plan], {run.config_id for run in plan.runs}) == []


@pytest.mark.launch
def test_people_and_programs_read_it(fake: Any, tmp_path: Path) -> None:
    report = _report(
        fake,
        _plan(tmp_path, TWO_BY_TWO + "seeds: 3\n"),
        lambda dump, seed: (0.8 + 0.1 * _level(dump)[0] + 0.001 * _wobble(dump, seed), 10.0 + seed * _level(dump)[1]),
    )
    written = write_report(tmp_path / "out", report)
    assert {"what_mattered.csv", "what_mattered.parquet", "interactions.png"} <= {path.name for path in written}
    text = (tmp_path / "out" / "table.md").read_text()
    assert "### What mattered for test accuracy in s on" in text and "### What mattered for train time in s on" in text
    assert "](interactions.png)" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "what_mattered.csv").read_text())))
    assert len(rows) == 6 and as_json(report)["what_mattered"][0]["effect"] == rows[0]["effect"] == "optimizer.lr"
    assert r"What mattered for train time" in (tmp_path / "out" / "table.tex").read_text()
    for width in (80, 120):
        show(report, Console(file=(file := io.StringIO()), width=width), explain=True)
        assert max(map(len, file.getvalue().splitlines())) <= width
        numbers = r"lr: 0\.1 -> 0\.01 +\+(9|10)\.\d\d ± \d\.\d\d points +(< 0\.001|0\.0\d\d) +(9\d|100)\.\d %"
        assert re.search(numbers, file.getvalue())
    write_report(tmp_path / "out", fake.report([fake.result()]))
    assert not list((tmp_path / "out").glob("what_mattered.*")) and not list((tmp_path / "out").glob("interactions*"))


def test_the_chart_has_a_line_per_level_of_one_factor(fake: Any, tmp_path: Path) -> None:
    text = "matrix: {optimizer.lr: [0.1, 0.01, 0.001], train.global_batch_size: [128, 64]}\nseeds: 2\n"
    report = _report(
        fake, _plan(tmp_path, text), lambda dump, seed: (0.5 + 0.1 * _level(dump)[0] * _level(dump)[1], 8.0)
    )
    chart = fake.spec(interactions(report.tables[0]))
    [row] = chart["vconcat"]
    accuracy = row["hconcat"][0]
    encoding = accuracy["layer"][0]["encoding"]
    assert encoding["x"]["sort"] == ["0.1", "0.01", "0.001"] and encoding["color"]["sort"] == ["128", "64"]
    assert encoding["y"]["title"] == "Test accuracy (%)" and accuracy["title"]["text"] == "lr x global_batch_size"
    points = accuracy["data"]["values"] if "data" in accuracy else accuracy["layer"][0]["data"]["values"]
    assert {(p["x"], p["line"]): round(p["y"], 6) for p in points}[("0.01", "64")] == 60.0


def test_a_warning_with_lines_that_can_be_pasted(fake: Any, tmp_path: Path) -> None:
    report = _report(fake, _plan(tmp_path, ONE_AT_A_TIME), lambda dump, seed: (0.5, 10.0))
    show(report, Console(file=(file := io.StringIO()), width=80), explain=True)
    shown = file.getvalue()
    assert "8 configs x 2 seeds = 16 runs" in " ".join(shown.split())
    lines = shown[shown.index("matrix: {") :]
    pasted = _plan(tmp_path, lines[: lines.rindex("]}") + 2] + "\nseeds: 2\n")
    assert len(pasted.runs) == 16
    base = load_suite(tmp_path / "suite.yaml")
    (tmp_path / "suite.yaml").write_text(HEAD + ONE_AT_A_TIME)
    changed = set(load_suite(tmp_path / "suite.yaml").configs())
    assert changed <= set(base.configs())  # the runs that are there already are not run again


def test_a_large_product_is_proposed_as_a_fraction(fake: Any, tmp_path: Path) -> None:
    paths = ["drop_last", "tf32", "deterministic", "channels_last", "evaluate_train"]
    flags = "".join(f"  train.{path}: [true]\n" for path in paths)
    plan = _plan(tmp_path, f"one_at_a_time:\n{flags}  optimizer.lr: [0.5]\n  optimizer.momentum: [0.5]\nseeds: 2\n")
    notes = _report(fake, plan, lambda dump, seed: (0.5, 10.0)).tables[0].factors.notes  # type: ignore[union-attr]
    assert "in 16 configs x 2 seeds = 32 runs" in notes[-3] and notes[-1] == "design: fractional"
    assert len(_plan(tmp_path, f"{notes[-2]}\n{notes[-1]}\nseeds: 2\n").runs) == 32


def test_holm_is_that_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    ps = np.random.default_rng(0).uniform(0, 0.2, 30)
    assert holm(list(ps)) == pytest.approx(np.asarray(multipletests(ps, method="holm")[1], dtype=float))
    assert holm([]) == []


@pytest.mark.launch
def test_complete_data_need_no_slow_library(tmp_path: Path) -> None:
    code = """
import itertools, sys
import numpy as np
from harness.factorial.effects import terms_of
from harness.report.factors.estimates import estimate
cells = np.array(list(itertools.product(range(2), range(2))))
values = np.random.default_rng(0).normal(size=(4, 3))
estimate(cells, values, (2, 2), terms_of((2, 2)))
print([name for name in ("statsmodels", "pandas", "scipy.stats") if name in sys.modules])
values[0, 0] = np.nan
estimate(cells, values, (2, 2), terms_of((2, 2)))
print("statsmodels" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True"]
