"""Suites with a planted truth, 1,000 of each: what the report says of fronts and prices is right as often as it says.

`benchmarks/method/fronts.py` makes the suites and measures more of the same; docs/method.md gives the figures.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SUITES = 1000
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "method" / "fronts.py"
OURS = "paired t, own scales"


@pytest.fixture(scope="module")
def method() -> ModuleType:
    """The script that the document's figures come from."""
    spec = importlib.util.spec_from_file_location("method_fronts", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_sure_member_has_a_probability_near_one(method: Any) -> None:
    said = method.probability_of("sure member", 5, SUITES)
    assert said["mean"] > 0.99
    assert said["over_95_percent"] > 0.99


def test_a_planted_dominated_config_has_a_probability_near_zero(method: Any) -> None:
    said = method.probability_of("surely dominated", 5, SUITES)
    assert said["mean"] < 0.01
    assert said["under_5_percent"] > 0.99


@pytest.mark.parametrize("common", [0.0, 0.6])
def test_equal_configs_are_not_told_apart(method: Any, common: float) -> None:
    said = method.probability_of("two equal configs", 3, SUITES, common)
    # Two dimensions: of two equal configs each is on the front unless the other is better in both.
    assert said["mean"] == pytest.approx(0.75, abs=0.03)
    assert said["under_5_percent"] < 0.05


def test_a_tie_in_accuracy_leaves_the_slower_config_at_one_half(method: Any) -> None:
    said = method.probability_of("equal accuracy, slower by 20 deviations", 5, SUITES)
    assert said["mean"] == pytest.approx(0.5, abs=0.04)
    assert said["over_95_percent"] < 0.08


@pytest.mark.parametrize("seeds", [3, 5])
def test_probabilities_are_calibrated(method: Any, seeds: int) -> None:
    found = method.calibration([OURS], seeds, SUITES // 4)[OURS]  # for each of four kinds of suite
    assert sum(one["count"] for one in found["bins"]) == SUITES * method.CONFIGS
    for one in found["bins"]:
        if one["count"] > 100:
            assert one["true"] == pytest.approx(one["said"], abs=0.1), one


def test_the_limits_of_calibration_would_catch_the_textbooks_bootstrap(method: Any) -> None:
    found = method.calibration(["seeds redrawn"], 3, SUITES // 4)["seeds redrawn"]
    assert any(one["count"] > 100 and abs(one["true"] - one["said"]) > 0.1 for one in found["bins"])


@pytest.mark.parametrize(("seeds", "common"), [(3, 0.0), (5, 0.6)])
def test_the_intervals_of_gain_and_price_cover_at_their_nominal_rate(method: Any, seeds: int, common: float) -> None:
    found = method.price_coverage(10.0, seeds, SUITES, common)
    assert 0.93 <= found["gain_covered"] <= 0.97
    assert 0.93 <= found["price_covered"] <= 0.97
    assert found["decided"] > 0.9


def test_steps_that_the_runs_chose_are_falsely_decided_in_at_most_five_percent_of_suites(method: Any) -> None:
    found = method.chosen_steps(3, SUITES // 2, 0.0)
    assert found["decided"] > 100
    assert found["falsely_decided"] <= 0.05
