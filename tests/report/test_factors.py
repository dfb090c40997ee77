"""What each factor of a suite does."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.records.read import SuiteResults
from harness.report.factors.design import Design, design_of
from harness.report.formats.machine import factor_rows
from harness.report.formats.markdown import markdown
from harness.report.formats.terminal import show
from harness.report.of_suite import build_suite_report
from harness.report.write import write_report
from harness.results.study import study_of_plans
from harness.suite.plan import Plan, load_suite

BASE = """
name: s
base:
  data: digits
  model: mlp
  optimizer: {name: sgd, lr: 0.1, momentum: 0.9}
"""
ONE_AT_A_TIME = """
one_at_a_time:
  optimizer.lr: [0.01]
  train.global_batch_size: [64]
"""
MATRIX = """
matrix:
  optimizer.lr: [0.1, 0.01]
  train.global_batch_size: [128, 64]
"""
Numbers = Mapping[str, Mapping[int, tuple[float, float]]]
"""Test accuracy and train seconds by label and seed."""


def _plan(folder: Path, text: str, *overrides: str, num_processes: int = 1, only: tuple[str, ...] = ()) -> Plan:
    path = folder / "suite.yaml"
    path.write_text(BASE + text)
    return load_suite(path, overrides).plan(lambda data: "f", num_processes=num_processes, only=only)


def _design(plan: Plan) -> Design | None:
    return design_of([plan], {run.config_id for run in plan.runs})


def _said(plan: Plan) -> list[str]:
    """Returns the changes with the labels of their pairs."""
    labels = {run.config_id: run.spec.label for run in plan.runs}
    design = _design(plan)
    changes = design.changes if design else ()
    return [
        f"{change.factor}: {change.base} -> {change.level} ["
        + "; ".join(f"{labels[base]} | {labels[changed]}" for base, changed in change.pairs)
        + "]"
        for change in changes
    ]


def _report(fake: Any, plan: Plan, numbers: Numbers, **options: Any) -> Any:
    results = [
        fake.result(
            run.spec.label,
            seed=run.spec.seed,
            accuracy=numbers[run.spec.label][run.spec.seed][0],
            seconds=numbers[run.spec.label][run.spec.seed][1],
            config_id=run.config_id,
            run_id=run.run_id,
            suite="s",
            **options,
        )
        for run in plan.runs
        if run.spec.seed in numbers.get(run.spec.label, {})
    ]
    return build_suite_report(study_of_plans([plan], SuiteResults(results, {}, {}), [Path()]))


def test_one_at_a_time_by_hand(fake: Any, tmp_path: Path) -> None:
    numbers = {
        "base": {0: (0.90, 100.0), 1: (0.80, 50.0)},
        "lr=0.01": {0: (0.92, 200.0), 1: (0.83, 400.0)},
    }
    plan = _plan(tmp_path, ONE_AT_A_TIME + "seeds: 2\n")
    lr, batch = factor_rows(_report(fake, plan, numbers))
    # Differences 0.02 and 0.03: mean 0.025, sd 0.0070711; half an interval is 12.7062 * 0.0070711 / sqrt(2) = 0.063531.
    assert (lr["factor"], lr["base_level"], lr["level"], lr["state"]) == ("optimizer.lr", "0.1", "0.01", "ok")
    assert lr["test_accuracy_difference_mean"] == pytest.approx(0.025)
    assert lr["test_accuracy_difference_ci95"] == pytest.approx(0.063531, abs=1e-6)
    assert (lr["test_accuracy_difference_n"], lr["train_seconds_ratio_n"], lr["pairs"]) == (2, 2, 1)
    # Ratios 2 and 8: geometric mean 4; sd of their logarithms log(4) / sqrt(2), half an interval 12.7062 * log(2).
    assert lr["train_seconds_ratio"] == pytest.approx(4.0)
    assert lr["train_seconds_ratio_low"] == pytest.approx(4 / 2**12.706205, rel=1e-5)
    assert lr["train_seconds_ratio_high"] == pytest.approx(4 * 2**12.706205, rel=1e-5)
    assert (batch["factor"], batch["state"], batch["pairs"]) == ("train.global_batch_size", "not run", 0)
    assert batch["test_accuracy_difference_mean"] is None
    assert batch["train_seconds_ratio"] is None


def test_pairing_takes_only_seeds_that_both_have(fake: Any, tmp_path: Path) -> None:
    numbers = {"base": {0: (0.5, 1.0), 1: (0.9, 9.0)}, "lr=0.01": {1: (0.8, 18.0), 2: (0.1, 1.0)}}
    row = factor_rows(_report(fake, _plan(tmp_path, ONE_AT_A_TIME + "seeds: 3\n"), numbers))[0]
    assert row["test_accuracy_difference_mean"] == pytest.approx(-0.1)
    assert (row["train_seconds_ratio"], row["train_seconds_ratio_low"]) == (pytest.approx(2.0), None)
    assert row["test_accuracy_difference_n"] == 1
    del numbers["lr=0.01"][1]
    row = factor_rows(_report(fake, _plan(tmp_path, ONE_AT_A_TIME + "seeds: 3\n"), numbers))[0]
    assert row["state"] == "no common seed"


def test_main_effects_by_hand(fake: Any, tmp_path: Path) -> None:
    numbers = {
        "lr=0.1, global_batch_size=128": {0: (0.80, 10.0)},
        "lr=0.1, global_batch_size=64": {0: (0.84, 20.0)},
        "lr=0.01, global_batch_size=128": {0: (0.70, 10.0)},
        "lr=0.01, global_batch_size=64": {0: (0.80, 80.0)},
    }
    plan = _plan(tmp_path, MATRIX)
    lr, batch = factor_rows(_report(fake, plan, numbers))
    assert lr["test_accuracy_difference_mean"] == pytest.approx((-0.10 - 0.04) / 2)
    assert lr["train_seconds_ratio"] == pytest.approx(math.sqrt(1 * 4))
    assert batch["test_accuracy_difference_mean"] == pytest.approx((0.04 + 0.10) / 2)
    assert batch["train_seconds_ratio"] == pytest.approx(math.sqrt(2 * 8))
    assert (batch["base_level"], batch["level"], batch["pairs"], batch["pairs_planned"]) == ("128", "64", 2, 2)


def test_main_effects_with_a_missing_config_say_so(fake: Any, tmp_path: Path) -> None:
    numbers = {
        "lr=0.1, global_batch_size=128": {0: (0.80, 10.0), 1: (0.80, 10.0)},
        "lr=0.1, global_batch_size=64": {0: (0.84, 20.0), 1: (0.90, 20.0)},
        "lr=0.01, global_batch_size=128": {0: (0.70, 10.0)},
    }
    report = _report(fake, _plan(tmp_path, MATRIX + "seeds: 2\n"), numbers)
    lr, batch = factor_rows(report)
    assert lr["test_accuracy_difference_mean"] == pytest.approx(-0.10)
    assert batch["test_accuracy_difference_mean"] == pytest.approx(0.07)
    assert (lr["pairs"], lr["pairs_planned"], batch["pairs"]) == (1, 2, 1)
    assert "| pairs of configs |" in markdown(report)
    assert "| x 1.00 | 1 | 1 of 2 |" in markdown(report)
    notes = " ".join(report.tables[0].factors.notes)
    assert "compare such rows with care" in notes
    assert "No result for the pairs with: lr=0.01, global_batch_size=64." in notes


def test_every_pair_counts_alike_in_every_seed(fake: Any, tmp_path: Path) -> None:
    # Seed 1 is there for one of the two pairs only: taken along, its mean would be over other configs than seed 0's.
    numbers = {
        "lr=0.1, global_batch_size=128": {0: (0.80, 1.0), 1: (0.80, 1.0)},
        "lr=0.01, global_batch_size=128": {0: (0.70, 1.0), 1: (0.70, 1.0)},
        "lr=0.1, global_batch_size=64": {0: (0.80, 1.0), 1: (0.80, 1.0)},
        "lr=0.01, global_batch_size=64": {0: (0.40, 1.0)},
    }
    lr = factor_rows(_report(fake, _plan(tmp_path, MATRIX + "seeds: 2\n"), numbers))[0]
    assert (lr["test_accuracy_difference_mean"], lr["test_accuracy_difference_n"]) == (pytest.approx(-0.25), 1)


def test_systems_are_kept_apart(fake: Any, tmp_path: Path) -> None:
    plan = _plan(tmp_path, ONE_AT_A_TIME)
    results = [
        fake.result("x", config_id=run.config_id, run_id=run.run_id, suite="s", system_id=system)
        for run, system in zip(plan.runs, ["one", "two", "two"], strict=True)
    ]
    report = build_suite_report(study_of_plans([plan], SuiteResults(results, {}, {}), [Path()]))
    assert {(row["system_id"], row["state"]) for row in factor_rows(report)} == {("one", "not run"), ("two", "not run")}


def test_synthetic_data_have_times_only(fake: Any, tmp_path: Path) -> None:
    numbers = {label: {0: (0.9, 10.0)} for label in ("base", "lr=0.01")}
    row = factor_rows(_report(fake, _plan(tmp_path, ONE_AT_A_TIME), numbers, rankable=False))[0]
    assert (row["test_accuracy_difference_mean"], row["train_seconds_ratio"], row["pairs"]) == (None, 1.0, 1)


def test_runs_without_a_time_have_accuracies_only(fake: Any, tmp_path: Path) -> None:
    numbers: Any = {"base": {0: (0.8, None)}, "lr=0.01": {0: (0.9, None)}}
    row = factor_rows(_report(fake, _plan(tmp_path, ONE_AT_A_TIME), numbers))[0]
    assert (row["test_accuracy_difference_mean"], row["train_seconds_ratio"]) == (pytest.approx(0.1), None)
    assert (row["state"], row["pairs"]) == ("ok", 1)


def test_changes_of_one_at_a_time(tmp_path: Path) -> None:
    include = """
include:
  - {label: both, optimizer.lr: 0.01, train.global_batch_size: 64}
  - {label: elsewhere, train.epochs: 3}
  - {label: another level, train.global_batch_size: 32}
"""
    assert _said(_plan(tmp_path, ONE_AT_A_TIME + include)) == [
        "optimizer.lr: 0.1 -> 0.01 [base | lr=0.01]",
        "train.global_batch_size: 128 -> 64 [base | global_batch_size=64]",
        "train.global_batch_size: 128 -> another level [base | another level]",
    ]


def test_a_section_and_a_field_inside_it_are_two_factors(tmp_path: Path) -> None:
    text = "one_at_a_time: {model: [{name: cnn3, hidden_size: 64}], model.hidden_sizes: [[8]], optimizer: [adam]}\n"
    plan = _plan(tmp_path, text)
    base, *changed = plan.configs().values()
    labels = ["", *(spec.label for spec in changed)]
    assert _said(plan) == [
        f"model: mlp -> cnn3 hidden_size=64 [base | {labels[1]}]",
        f"model.hidden_sizes: {base.model_dump(mode='json')['model']['hidden_sizes']} -> [8] [base | {labels[2]}]",
        "optimizer: sgd lr=0.1 momentum=0.9 -> adam [base | adam]",
    ]


def test_zip_advances_together_and_exclusions_leave_pairs_out(tmp_path: Path) -> None:
    text = """
matrix: {train.epochs: [1, 2]}
zip: [{train.global_batch_size: [128, 64], optimizer.lr: [0.1, 0.05]}]
exclude: [{train.epochs: 1, train.global_batch_size: 128}]
"""
    plan = _plan(tmp_path, text)
    first, both = "epochs=1, global_batch_size=64, lr=0.05", "epochs=2, global_batch_size=64, lr=0.05"
    assert _said(plan) == [
        f"train.epochs: 1 -> 2 [{first} | {both}]",
        "train.global_batch_size, optimizer.lr: 128, 0.1 -> 64, 0.05 "
        f"[epochs=2, global_batch_size=128, lr=0.1 | {both}]",
    ]


def test_one_at_a_time_within_each_row_of_a_zip(tmp_path: Path) -> None:
    plan = _plan(tmp_path, "one_at_a_time: {optimizer.lr: [0.01]}\nzip: [{train.epochs: [1, 2]}]\n")
    assert _said(plan) == [
        "train.epochs: 1 -> 2 [epochs=1 | epochs=2; epochs=1, lr=0.01 | epochs=2, lr=0.01]",
        "optimizer.lr: 0.1 -> 0.01 [epochs=1 | epochs=1, lr=0.01; epochs=2 | epochs=2, lr=0.01]",
    ]


def test_levels_of_one_name_are_told_apart(tmp_path: Path) -> None:
    plan = _plan(tmp_path, "matrix: {model: [cnn3, {name: cnn3, hidden_size: 64}], train.epochs: [1, 2]}\n")
    assert [text.partition(" [")[0] for text in _said(plan)] == [
        "model: cnn3 -> cnn3 hidden_size=64",
        "train.epochs: 1 -> 2",
    ]


@pytest.mark.parametrize("text", ["matrix: {train.epochs: [1, 2]}\n", "include: [{label: a}]\n", "seeds: 2\n"])
def test_no_table_without_two_factors(tmp_path: Path, text: str) -> None:
    assert _design(_plan(tmp_path, text)) is None


def test_what_set_pins_is_no_factor(tmp_path: Path) -> None:
    plan = _plan(tmp_path, ONE_AT_A_TIME, "optimizer.lr=0.5")
    assert _said(plan) == ["train.global_batch_size: 128 -> 64 [base | global_batch_size=64]"]
    assert _design(_plan(tmp_path, MATRIX, "optimizer.lr=0.5")) is None


def test_a_selection_without_the_base_says_what_it_leaves_out(tmp_path: Path) -> None:
    design = _design(_plan(tmp_path, ONE_AT_A_TIME, only=("label=lr=0.01",)))
    assert design is not None
    assert (design.changes, design.alone) == ((), ("optimizer.lr: 0.01",))


def test_pairs_are_of_one_world_size(tmp_path: Path) -> None:
    plans = [_plan(tmp_path, ONE_AT_A_TIME, num_processes=size) for size in (1, 2)]
    sizes = {run.config_id: run.spec.train.num_processes for plan in plans for run in plan.runs}
    design = design_of(plans, sizes.keys())
    assert design is not None
    assert [len(change.pairs) for change in design.changes] == [2, 2]
    assert all(sizes[base] == sizes[changed] for change in design.changes for base, changed in change.pairs)


def test_people_read_it_below_the_ranking(fake: Any, tmp_path: Path) -> None:
    numbers = {
        "base": {0: (0.90, 100.0), 1: (0.90, 100.0)},
        "lr=0.01": {0: (0.91, 132.0), 1: (0.91, 132.0)},
    }
    report = _report(fake, _plan(tmp_path, ONE_AT_A_TIME + "seeds: 2\n"), numbers)
    text = markdown(report)
    assert "### Factors of s on" in text
    assert "| optimizer.lr: 0.1 -&gt; 0.01 | +1.00 ± 0.00 points | x 1.32 (1.32 to 1.32) | 2 |" in text
    assert "| train.global_batch_size: 128 -&gt; 64 | not run | not run | 0 |" in text
    file = io.StringIO()
    show(report, Console(file=file, width=100), explain=True)
    assert "optimizer.lr: 0.1 -> 0.01" in file.getvalue()
    assert max(map(len, file.getvalue().splitlines())) <= 100


@pytest.mark.usefixtures("no_charts")
def test_files_for_programs(fake: Any, tmp_path: Path) -> None:
    report = _report(fake, _plan(tmp_path, ONE_AT_A_TIME), {"base": {0: (0.9, 1.0)}})
    write_report(tmp_path / "out", report)
    assert (tmp_path / "out" / "factors.csv").read_text().startswith("system_id,system,factor,base_level,level,state,")
    assert (tmp_path / "out" / "factors.parquet").exists()
    write_report(tmp_path / "out", fake.report([fake.result()]))
    assert not list((tmp_path / "out").glob("factors.*"))


@pytest.mark.parametrize(
    ("base", "far", "text"), [(1.0, 1e9, "x 1.00 (4e-115 to 2e+114)"), (1e-20, 1e30, "x 1.00 (0e+00 to inf)")]
)
def test_two_seeds_may_leave_any_interval(fake: Any, tmp_path: Path, base: float, far: float, text: str) -> None:
    numbers = {"base": {0: (0.9, base), 1: (0.9, base)}, "lr=0.01": {0: (0.9, base / far), 1: (0.9, base * far)}}
    assert text in markdown(_report(fake, _plan(tmp_path, ONE_AT_A_TIME + "seeds: 2\n"), numbers))


def test_a_label_names_the_rows_of_a_zip_and_keeps_no_pair_apart(tmp_path: Path) -> None:
    text = (
        "zip: [{label: [short, long], train.epochs: [1, 3], train.drop_last: [true, false]}]\n"
        "one_at_a_time: {train.tf32: [true]}\n"
    )
    assert _said(_plan(tmp_path, text)) == [
        "train.epochs, train.drop_last: short -> long [short | long; short, tf32=yes | long, tf32=yes]",
        "train.tf32: no -> yes [short | short, tf32=yes; long | long, tf32=yes]",
    ]


def test_a_design_without_a_pair_is_shown_as_what_it_is(fake: Any, tmp_path: Path) -> None:
    plan = _plan(tmp_path, ONE_AT_A_TIME + "seeds: 2\n", only=("label=lr=0.01",))
    report = _report(fake, plan, {"lr=0.01": {0: (0.92, 200.0), 1: (0.83, 400.0)}})
    show(report, Console(file=(file := io.StringIO()), width=120), explain=True)
    assert "optimizer.lr: 0.01" in file.getvalue() and factor_rows(report) == []
