"""Factors are the lists that the suite's file declares, kept beside the results; configs take their places in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.results.factors import Design, design_of
from harness.results.question import DeclaredFactor, SuiteQuestion
from harness.suite.plan import Plan, load_suite
from tests.house import ROOT

SUITES = sorted((ROOT / "benchmarks").glob("*.yaml"))
BASE = "name: s\nbase: {data: digits, model: mlp, optimizer: {name: sgd, lr: 0.1, momentum: 0.9}}\n"


def _specs(plan: Plan) -> dict[str, Mapping[str, Any]]:
    return {config_id: spec.model_dump(mode="json") for config_id, spec in plan.configs().items()}


def _planned(folder: Path, text: str, **options: Any) -> Plan:
    (folder / "suite.yaml").write_text(BASE + text)
    return load_suite(folder / "suite.yaml").plan(lambda data: "f", **options)


def _factors(plan: Plan) -> list[DeclaredFactor]:
    """Returns them as they are kept."""
    kept = SuiteQuestion.model_validate_json(SuiteQuestion.of(plan.suite, {}).model_dump_json()).factors
    assert kept is not None
    return kept


def _found(folder: Path, text: str) -> tuple[Design | None, list[str]]:
    """Returns the design, and all levels that stand beside the first of their factor."""
    plan = _planned(folder, text)
    design = design_of(_specs(plan), _factors(plan))
    return design, [str(level) for factor in (design.factors if design else ()) for level in factor.levels[1:]]


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_each_suite_that_ships_has_each_config_in_its_place(path: Path) -> None:
    where = ["data.root=/folder"] if "name: image_folder" in path.read_text() else []
    plan = load_suite(path, where).plan(lambda data: "f")
    specs, declared = _specs(plan), [one for one in _factors(plan) if one.levels > 1]
    design = design_of(specs, _factors(plan))
    if len(declared) < 2 and not plan.suite.file.one_at_a_time:
        assert design is None
        return
    assert design and design.levels == tuple(one.levels for one in declared)
    every = itertools.product(*map(range, design.levels))
    assert dict(design.cells) == dict(zip(specs, every, strict=False)), "each config in its place, includes in none"
    assert len(design.cells) == math.prod(design.levels)
    if plan.suite.file.one_at_a_time:
        assert design.factors[-1].is_star
        changed = [path for path, values in plan.suite.file.one_at_a_time.items() for _ in values]
        assert [level.path for level in design.factors[-1].levels[1:]] == changed


def test_a_matrix_is_crossed_and_told_in_words(tmp_path: Path) -> None:
    design, said = _found(tmp_path, "matrix: {optimizer.lr: [0.1, 0.01], train.global_batch_size: [128, 64, 32]}\n")
    assert design and design.levels == (2, 3)
    assert said == ["lr: 0.1 -> 0.01", "global_batch_size: 128 -> 64", "global_batch_size: 128 -> 32"]
    assert design.factors[1].at(2) == "global_batch_size=32"


def test_one_at_a_time_is_a_star_with_what_stands_outside_left_out(tmp_path: Path) -> None:
    text = """
one_at_a_time: {optimizer.lr: [0.01], train.global_batch_size: [64], optimizer: [adam], train.epochs: [3, 4]}
include: [{label: both, optimizer.lr: 0.01, train.global_batch_size: 64}]
"""
    design, said = _found(tmp_path, text)
    assert design and design.levels == (6,) and len(design.cells) == 6
    assert said == [
        "lr: 0.1 -> 0.01",
        "global_batch_size: 128 -> 64",
        "optimizer: sgd -> adam",
        "epochs: 10 -> 3",
        "epochs: 10 -> 4",
    ]
    assert design.factors[0].at(0) == "base"


def test_the_lists_of_a_zip_and_a_section_with_its_parameters_are_one_factor_each(tmp_path: Path) -> None:
    text = """
matrix: {model: [mlp, {name: cnn3, padding: same}, {name: cnn3, padding: same, hidden_size: 64}]}
zip: [{label: [small, large], train.global_batch_size: [64, 128], optimizer.lr: [0.05, 0.1]}]
"""
    design, said = _found(tmp_path, text)
    assert design and design.levels == (3, 2)
    assert said[:2] == ["model: mlp -> cnn3 hidden_size=512", "model: mlp -> cnn3 hidden_size=64"]
    assert said[2] == "global_batch_size and lr: 64, 0.05 -> 128, 0.1"


def test_one_at_a_time_within_each_row_of_a_zip(tmp_path: Path) -> None:
    text = """
zip: [{label: [a, b], train.epochs: [1, 2], train.drop_last: [true, false]}]
one_at_a_time: {optimizer.lr: [0.01], optimizer.momentum: [0.5]}
"""
    design, _ = _found(tmp_path, text)
    assert design and design.levels == (2, 3)
    assert [factor.is_star for factor in design.factors] == [False, True]


def test_a_combination_that_is_excluded_leaves_a_crossing(tmp_path: Path) -> None:
    hole = "exclude: [{optimizer.lr: 0.1, train.epochs: 1}]\n"
    design, _ = _found(tmp_path, "matrix: {optimizer.lr: [0.01, 0.05, 0.1], train.epochs: [1, 2]}\n" + hole)
    assert design and design.levels == (3, 2) and len(design.cells) == 5


def test_a_matrix_stays_one_beside_what_include_adds(tmp_path: Path) -> None:
    added = "include: [{model: cnn3}, {train.drop_last: true, train.tf32: true}, {optimizer.lr: 0.3}]\n"
    design, said = _found(tmp_path, "matrix: {optimizer.lr: [0.01, 0.1], train.epochs: [1, 2]}\n" + added)
    assert design and design.levels == (2, 2) and len(design.cells) == 4
    assert said == ["lr: 0.01 -> 0.1", "epochs: 1 -> 2"]


def test_a_fraction_of_a_product_has_all_factors(tmp_path: Path) -> None:
    flags = "".join(
        f"  train.{name}: [false, true]\n" for name in ("tf32", "channels_last", "drop_last", "deterministic")
    )
    text = f"matrix:\n  optimizer.lr: [0.1, 0.01]\n  optimizer.momentum: [0.9, 0.5]\n{flags}design: fractional\n"
    design, _ = _found(tmp_path, text)
    assert design and design.levels == (2,) * 6 and len(design.cells) == 16


def test_world_sizes_are_a_factor_like_any_other(tmp_path: Path) -> None:
    text = "matrix: {optimizer.lr: [0.1, 0.01]}\n"
    plans = [_planned(tmp_path, text, num_processes=size) for size in (1, 2)]
    design = design_of({i: spec for plan in plans for i, spec in _specs(plan).items()}, _factors(plans[0]))
    assert design and [factor.name for factor in design.factors] == ["num_processes", "lr"]


@pytest.mark.parametrize(
    "text",
    [
        "matrix: {train.epochs: [1, 2, 3]}\n",
        "include: [{label: a}]\n",
        "include: [{train.epochs: 2, optimizer.lr: 0.2}, {train.epochs: 3, model: cnn3}, {train.drop_last: true,"
        " model: cnn3, optimizer.lr: 0.5}]\n",
        "zip: [{train.epochs: [1, 2, 3], optimizer.lr: [0.3, 0.2, 0.1]}]\n",
    ],
)
def test_lists_and_a_single_factor_are_no_design(tmp_path: Path, text: str) -> None:
    assert _found(tmp_path, text)[0] is None


def test_labels_seeds_and_folders_are_no_factors(tmp_path: Path) -> None:
    plan = _planned(tmp_path, "matrix: {optimizer.lr: [0.1, 0.01], train.epochs: [1, 2]}\n")
    specs = _specs(plan)
    changed = {
        i: {**spec, "label": i, "seed": at, "data": {**spec["data"], "root": f"/{at}"}}
        for at, (i, spec) in enumerate(specs.items())
    }
    assert design_of(changed, _factors(plan)) == design_of(specs, _factors(plan)) is not None
