"""Effects that are not there are found in one table of twenty at most, and those that are there are found.

`benchmarks/method/factors.py` makes more of these simulations; here a share of 5 % may be off by four standard errors.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.slow

SUITES = 1000
MOST = 0.05 + 4 * math.sqrt(0.05 * 0.95 / SUITES)


@pytest.fixture(scope="module")
def simulated() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks" / "method")
        return importlib.import_module("factors")


@pytest.mark.parametrize("noise", ["each run alone", "shared", "uneven"])
@pytest.mark.parametrize(("design", "seeds"), [("2 x 2 x 2", 2), ("4 x 2", 3), ("five, one at a time", 5)])
def test_of_times_no_kind_of_noise_is_taken_for_an_effect(
    simulated: ModuleType, design: str, seeds: int, noise: str
) -> None:
    assert simulated.times(design, seeds, noise, SUITES)["shares"]["false"] < MOST


def test_few_test_images_are_not_taken_for_an_effect(simulated: ModuleType) -> None:
    found = simulated.accuracies("2 x 2 x 2", 5, 360, SUITES)
    assert found["shares"]["crossed"] < 0.02
    assert found["others"]["shares"]["without predictions"] < 0.02
    assert found["others"]["shares"]["seeds alone"] > 0.05, "what the test images are counted for"
    assert found["power"]["8 points"] > 0.9 > found["power"]["1 points"]


def test_three_seeds_find_a_large_effect(simulated: ModuleType) -> None:
    assert simulated.times("2 x 2 x 2", 3, "each run alone", SUITES)["power at 4 deviations"] > 0.85


def test_missing_runs_and_fractions_keep_the_level(simulated: ModuleType) -> None:
    for row in simulated.incomplete(SUITES // 4):
        assert row["shares"]["false"] < 0.05 + 4 * math.sqrt(0.05 * 0.95 / (SUITES // 4))
