"""The order of a plan lets no drift of the machine look like a difference of configs, on made-up suites.

`benchmarks/method/order.py` makes 1,000 of each, and more cases; docs/method.md gives the figures. The streams are
fixed, so none of these fails by chance.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

SUITES = 300


@pytest.fixture
def simulation(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The simulations that docs/method.md reports on."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks" / "method")
    return importlib.import_module("order")


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("machine", ["drift", "carry-over", "two speeds"])
def test_what_the_machine_does_is_no_difference_of_configs(simulation: Any, machine: str, seeds: int) -> None:
    found = simulation.simulate(machine, "as planned", seeds, 0.01, SUITES)
    assert found["all pairs"] < 0.065
    assert found["worst pair"] < 0.115  # of 28, each with a deviation of 0.013


@pytest.mark.parametrize(("machine", "all_pairs", "worst"), [("drift", 0.3, 0.85), ("carry-over", 0.15, 0.5)])
def test_in_an_order_that_is_the_same_in_each_round_it_is_one(
    simulation: Any, machine: str, all_pairs: float, worst: float
) -> None:
    found = simulation.simulate(machine, "fixed", 3, 0.01, SUITES)
    assert found["all pairs"] > all_pairs and found["worst pair"] > worst


def test_every_case_is_simulated_in_both_orders(simulation: Any) -> None:
    rows = simulation.measure(2)
    assert len(rows) == 3 * 2 * 3 * 2
    assert {row["order"] for row in rows} == {"as planned", "fixed"}
