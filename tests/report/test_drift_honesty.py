"""How often drift is found, where there is some and where there is none, in 1,000 simulated suites."""

from __future__ import annotations

import datetime
import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from harness.records.result import Clock, RunResult, Telemetry
from harness.report.drift import Drift, drift_of

pytestmark = pytest.mark.slow

SIMULATIONS = 1000
NOISE = 0.01  # of log time
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def run(log_seconds: float, minute: int = 0, seed: int = 0) -> RunResult:
    """Returns what is looked at of a result."""
    moment = START + datetime.timedelta(minutes=minute)
    clock = Clock(train_seconds=math.exp(log_seconds))
    fields: dict[str, Any] = {
        "telemetry": Telemetry(),
        "status": "ok",
        "label": "a",
        "config_id": "a",
        "is_anchor": minute > 0,
        "seed": seed,
        "started_at": moment.isoformat(),
        "resumed_at_steps": [],
        "packed": 1,
        "disturbed": [],
        "elsewhere": None,
        "usual_environment": None,
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
        assert drift
        covered += drift.low <= math.expm1(planted) <= drift.high
    assert within_binomial_limits(covered, 0.95), covered


def drifts(change: float, anchors: int) -> list[Drift | None]:
    """Returns what simulated suites show."""
    rng = np.random.default_rng(anchors)
    steps = change * np.arange(anchors) / (anchors - 1)
    noise = rng.normal(0, NOISE, (SIMULATIONS, anchors))
    return [drift_of([run(value, 10 * number) for number, value in enumerate(logs)]) for logs in 3 + steps + noise]


def test_a_drift_of_five_percent_is_found_by_ten_anchors() -> None:
    found = sum(bool(drift and drift.low > 0) for drift in drifts(0.05, 10))
    assert found > 0.95 * SIMULATIONS
