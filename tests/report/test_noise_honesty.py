"""How often drift and outliers are found, where there are some and where there are none, in 1,000 simulated suites."""

from __future__ import annotations

import datetime
import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from harness.records.result import Clock, RunResult, Telemetry
from harness.report.numbers.noise import Drift, drift_of, outliers_of
from harness.report.numbers.rows import Row

pytestmark = pytest.mark.slow

SIMULATIONS = 1000
NOISE = 0.01  # of log time
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def run(log_seconds: float, minute: int = 0, seed: int = 0) -> RunResult:
    """Returns what both look at of a result."""
    moment = START + datetime.timedelta(minutes=minute)
    clock = Clock(train_seconds=math.exp(log_seconds))
    fields: dict[str, Any] = {
        "telemetry": Telemetry(),
        "status": "ok",
        "label": "a",
        "seed": seed,
        "started_at": moment.isoformat(),
        "resumed_at_steps": [],
        "packed": 1,
        "disturbed": [],
        "elsewhere": None,
    }
    return cast(RunResult, SimpleNamespace(clock=clock, run_id=f"{minute}", metrics={}, **fields))


def within_binomial_limits(count: int, rate: float) -> bool:
    """Tells whether a count of the simulations is what the rate makes likely: within four standard deviations."""
    return abs(count - SIMULATIONS * rate) <= 4 * math.sqrt(SIMULATIONS * rate * (1 - rate))


@pytest.mark.parametrize("anchors", [3, 5, 10])
@pytest.mark.parametrize("planted", [0.0, 0.03])
def test_the_interval_of_the_drift_covers_at_its_nominal_rate(anchors: int, planted: float) -> None:
    rng = np.random.default_rng(anchors)
    covered = 0
    for noise in rng.normal(0, NOISE, (SIMULATIONS, anchors)):
        logs = 3 + planted * np.arange(anchors) / (anchors - 1) + noise
        drift = drift_of([run(value, 10 * number) for number, value in enumerate(logs)])
        assert drift and drift.low is not None and drift.high is not None
        covered += drift.low <= math.expm1(planted) <= drift.high
    assert within_binomial_limits(covered, 0.95), covered


def drifts(change: float, anchors: int) -> list[Drift | None]:
    """Returns what simulated suites show."""
    rng = np.random.default_rng(anchors)
    steps = change * np.arange(anchors) / (anchors - 1)
    noise = rng.normal(0, NOISE, (SIMULATIONS, anchors))
    return [drift_of([run(value, 10 * number) for number, value in enumerate(logs)]) for logs in 3 + steps + noise]


def test_a_drift_of_five_percent_is_found_by_ten_anchors() -> None:
    found = sum(bool(drift and drift.low is not None and drift.low > 0) for drift in drifts(0.05, 10))
    assert found > 0.95 * SIMULATIONS


def row(label: str, logs: np.ndarray) -> Row:
    """Returns a config's row."""
    runs = tuple(run(value, seed=seed) for seed, value in enumerate(logs))
    return Row("s", label, label, cast(Any, runs), {})


@pytest.mark.parametrize(("configs", "seeds"), [(4, 3), (10, 3), (4, 5), (20, 5)])
def test_noise_alone_is_seldom_flagged(configs: int, seeds: int) -> None:
    """At most one suite in twenty flags a run; a config's own speed does not matter."""
    rng = np.random.default_rng(configs * seeds)
    speeds = rng.normal(3, 1, (SIMULATIONS, configs, 1))
    suites = speeds + rng.normal(0, NOISE, (SIMULATIONS, configs, seeds))
    flagged = [outliers_of([row(str(place), logs) for place, logs in enumerate(suite)]) for suite in suites]
    assert sum(map(bool, flagged)) <= 0.05 * SIMULATIONS


@pytest.mark.parametrize(("configs", "seeds"), [(10, 3), (4, 5), (20, 5)])
def test_a_run_that_took_a_fifth_longer_is_found_and_no_other_is_blamed(configs: int, seeds: int) -> None:
    rng = np.random.default_rng(configs * seeds)
    suites = 3 + rng.normal(0, NOISE, (SIMULATIONS, configs, seeds))
    suites[:, 1, 2] += math.log(1.2)
    found = alone = 0
    for suite in suites:
        outliers = outliers_of([row(str(place), logs) for place, logs in enumerate(suite)])
        named = {(outlier.label, outlier.seed) for outlier in outliers}
        found += ("1", 2) in named
        alone += named == {("1", 2)}
    assert found > 0.99 * SIMULATIONS and alone > 0.9 * SIMULATIONS, (found, alone)
