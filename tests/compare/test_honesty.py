"""What `harness compare` promises, on made-up suites whose truth is known.

Limits are those of the binomial distribution that a true promise leaves once in a thousand; the streams are fixed.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

pytestmark = pytest.mark.slow

TIMES = 1000


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The simulations that docs/method.md reports on."""
    import importlib

    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks" / "method")
    return importlib.import_module("simulate")


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The simulations of tables."""
    import importlib

    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks" / "method")
    return importlib.import_module("pairs")


def limits(share: float, times: int = TIMES) -> tuple[float, float]:
    """Returns between which shares a promise may be found kept."""
    low, high = stats.binom.interval(0.999, times, share)
    return low / times, high / times


def within(found: float, share: float, times: int = TIMES) -> bool:
    """Tells whether a share may be the promised one."""
    low, high = limits(share, times)
    return low <= found <= high


@pytest.mark.parametrize("seeds", [3, 5, 10, 20])
def test_students_interval_holds_the_truth_as_often_as_it_says(simulate: Any, seeds: int) -> None:
    assert within(simulate.coverage(simulate.SHAPES["normal"], seeds, TIMES, np.random.default_rng(seeds)), 0.95)


@pytest.mark.parametrize("shape", ["heavy tails (t, 4 df)", "skewed (gamma, shape 4)", "accuracies on 360 images"])
def test_students_interval_bears_what_is_not_normal(simulate: Any, shape: str) -> None:
    assert simulate.coverage(simulate.SHAPES[shape], 5, TIMES, np.random.default_rng(1)) > limits(0.92)[0]


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_equal_times_are_undecided_and_one_in_twenty_is_not(simulate: Any, seeds: int) -> None:
    found = simulate.verdicts(0.0, seeds, TIMES, np.random.default_rng(seeds))
    assert within(found["undecided"], 0.95)
    assert within(found["a"], 0.025)
    assert within(found["b"], 0.025)


@pytest.mark.parametrize("effect", [1.0, 2.0])
def test_a_difference_is_found_with_the_promised_seeds(simulate: Any, effect: float) -> None:
    seeds, found = simulate.found_as_promised(effect, TIMES, np.random.default_rng(2))
    power = TTestPower().power
    assert power(effect, seeds, 0.05) >= 0.8 > power(effect, seeds - 1, 0.05)
    assert within(found, power(effect, seeds, 0.05))


@pytest.mark.parametrize("of_config", [0.15, 0.0])
@pytest.mark.parametrize(("configs", "seeds"), [(2, 3), (2, 10), (8, 2), (8, 3), (16, 5)])
def test_equal_configs_are_rarely_told_apart(pairs: Any, configs: int, seeds: int, of_config: float) -> None:
    found = pairs.excluded(configs, seeds, 360, TIMES, of_config)["false_exclusions"]
    assert found["crossed"] <= limits(0.05)[1]
    assert found["without predictions"] <= limits(0.05, TIMES // 10)[1]
    if configs > 2 and seeds > 2 and of_config:  # one degree of freedom hides it
        by_seeds = found["seeds alone, with the best only"]
        assert by_seeds > limits(0.05, TIMES // 10)[1], "why the family is all pairs, and the images count"


@pytest.mark.parametrize(("configs", "seeds"), [(2, 3), (8, 3), (8, 10)])
def test_what_is_counted_once_finds_more(pairs: Any, configs: int, seeds: int) -> None:
    found = pairs.found_worse(configs, seeds, 360, 300)["found"]
    assert found["crossed"] > found["added up"] > found["without predictions"]


@pytest.mark.parametrize("seeds", [1, 5])
def test_equally_good_networks_are_rarely_called_different(simulate: Any, seeds: int) -> None:
    assert within(simulate.networks_differ(2000, seeds, 0.0, TIMES, np.random.default_rng(4)), 0.05)


def test_drift_is_in_unpaired_times_and_not_in_those_of_pairs(simulate: Any) -> None:
    times = TIMES // 2
    rng = np.random.default_rng(5)
    by_seed = simulate.drift(0.2, 8, 10, times, rng, interleaved=True)
    by_config = simulate.drift(0.2, 8, 10, times, rng, interleaved=False)
    assert by_seed["ratio"] == pytest.approx(1, abs=0.004), "what is left is the drift from a run to the next"
    assert by_seed["interval holds 1"] > limits(0.92, times)[0]
    assert by_seed["named"] == 0
    assert by_config["ratio"] < 0.98
    assert by_config["interval holds 1"] < 0.05
    assert by_config["named"] == 1
