"""A race whose runs are written rather than trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.suite.plan import Plan, PlannedRun, load_suite
from tests.report.conftest import make_result, store

SUITE = """\
name: raced
base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 1, global_batch_size: 64}}
zip: [{label: [low, middle, high, twin], optimizer.lr: [0.1, 0.2, 0.3, 0.4]}]
seeds: {race: best, looks: [3, 5, 8], margin: 0.003}
"""
MEANS = {"low": 0.5, "middle": 0.86, "high": 0.9, "twin": 0.9, "high2": 0.9, "twin2": 0.9}


def plan_of(folder: Path, text: str = SUITE, *overrides: str) -> Plan:
    """Writes the suite and returns its plan."""
    (folder / "suite.yaml").write_text(text)
    return load_suite(folder / "suite.yaml", overrides).plan(lambda data: "f00d")


def accuracy(run: PlannedRun) -> float:
    """What a run comes to: its config's mean, with a deviation of half a point."""
    return MEANS[run.spec.label] + 0.005 * float(np.random.default_rng(int(run.run_id, 16)).standard_normal())


def train(output: Path, runs: Iterable[PlannedRun], suite: str = "raced", **more: Any) -> int:
    """Writes the results of runs that have none, as a launch would; returns its exit code."""
    for run in runs:
        if not (output / suite / run.run_id).exists():
            own = {"accuracy": accuracy(run), "suite": suite, **more}
            ids = {"config_id": run.config_id, "run_id": run.run_id}
            store(output, [make_result(run.spec.label, seed=run.spec.seed, **ids, **own)])
    return 0


def labels(plan: Plan, config_ids: Sequence[str]) -> set[str]:
    """Returns what configs are called."""
    return {plan.configs()[config_id].label for config_id in config_ids}
