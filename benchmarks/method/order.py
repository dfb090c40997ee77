"""How often configs of equal train time are called different, by what the machine does and the order of the runs.

    python benchmarks/method/order.py [--suites 1000] [--output results/method/order.json]

Suites of eight configs whose train times are equal in truth, judged by the test of `harness compare`: every pair of
configs, at a level of 5 %. Each run has noise of its own, and the machine does one of these:

drift        each run is slower than the one before; the last one by 20 %
carry-over   the first config leaves a warm machine behind: the run after it is slower by 3 % (it is in no pair itself)
two speeds   at random moments, after ten runs on average, the machine becomes slower by 10 %, or fast again

`as planned` is the order that a plan has, drawn from the suite's name and the seed; in `fixed` the configs come in the
same order in each round.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.statistics.pairs import LEVEL, PairwiseTests
from harness.suite.order import round_order

CONFIGS = 8
SEEDS = (3, 5, 10)
NOISE = (0.003, 0.01)  # standard deviation of the logarithm of one run's train time
DRIFT, CARRIED, SLOWER, RUNS_BETWEEN_CHANGES = 0.2, 0.03, 0.1, 10
HEAVY = 0  # the config that carries over

Order = Callable[[str, int, list[str]], list[int]]
ORDERS: dict[str, Order] = {"as planned": round_order, "fixed": lambda suite, seed, ids: list(range(len(ids)))}


def drift(plan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the logarithm of how much slower each run is, float [runs]; `plan` has the config of each run."""
    return np.log1p(DRIFT * np.arange(len(plan)) / (len(plan) - 1))


def carry_over(plan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As `drift`; a run is slower that follows one of the heavy config."""
    return np.log1p(CARRIED) * np.concatenate([[False], plan[:-1] == HEAVY])


def two_speeds(plan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As `drift`; the speed changes at random moments, whatever the plan."""
    changes = rng.random(len(plan)) < 1 / RUNS_BETWEEN_CHANGES
    return np.log1p(SLOWER) * ((rng.integers(2) + np.cumsum(changes)) % 2)


MACHINES = {"drift": drift, "carry-over": carry_over, "two speeds": two_speeds}


def simulate(machine: str, order: str, seeds: int, noise: float, suites: int) -> dict[str, Any]:
    """Returns how often equal configs are called different: all pairs, and the worst one and its places in the file."""
    rng = np.random.default_rng([list(MACHINES).index(machine), seeds, round(1e4 * noise)])  # the same for each order
    compared = range(HEAVY + 1 if machine == "carry-over" else 0, CONFIGS)
    wrong = dict.fromkeys(itertools.combinations(compared, 2), 0)
    for name in map("suite {}".format, range(suites)):
        ids = [hashlib.sha256(f"{name}, config {config}".encode()).hexdigest()[:12] for config in range(CONFIGS)]
        plan = np.array([ORDERS[order](name, seed, ids) for seed in range(seeds)])
        logs = MACHINES[machine](plan.reshape(-1), rng) + noise * rng.normal(size=plan.size)
        by_config = np.take_along_axis(logs.reshape(plan.shape), plan.argsort(1), 1)  # [seeds, configs]
        for a, b in wrong:
            wrong[a, b] += bool(PairwiseTests(by_config[:, [a, b]].T).p[0, 1] < LEVEL)  # each pair by itself
    worst = max(wrong, key=lambda pair: wrong[pair])
    return {
        "all pairs": sum(wrong.values()) / len(wrong) / suites,
        "worst pair": wrong[worst] / suites,
        "its places": [place + 1 for place in worst],
    }


def measure(suites: int) -> list[dict[str, Any]]:
    """Returns a row for each machine, noise, number of seeds and order."""
    cases = itertools.product(MACHINES, NOISE, SEEDS, ORDERS)
    return [
        {"machine": machine, "noise": noise, "seeds": seeds, "order": order}
        | simulate(machine, order, seeds, noise, suites)
        for machine, noise, seeds, order in cases
    ]


def main() -> None:
    """Simulates, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--suites", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments.suites)
    for row in rows:
        shown = [
            f"{name}: {value:.3g}" if isinstance(value, float) else f"{name}: {value}" for name, value in row.items()
        ]
        sys.stdout.write(", ".join(shown) + "\n")
    if arguments.output:
        command = f"python benchmarks/method/order.py --suites {arguments.suites} --output {arguments.output}"
        found = {"command": command, "configs": CONFIGS, "suites": arguments.suites, "shares": rows}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
