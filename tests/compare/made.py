"""Configs with numbers that a test chooses, without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.results.measured import MeasuredConfig, measured_configs
from harness.suite.plan import Plan, load_suite
from tests.report.conftest import make_result, store

IMAGES = 200
SUITE = """\
name: two
base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}}
matrix: {train.epochs: [1, 2, 3]}
seeds: 5
"""


def config(
    label: str,
    accuracies: Sequence[float],
    seconds: Sequence[float] | None = None,
    *,
    first_seed: int = 0,
    output: Path = Path("nowhere"),
    system: str = "",
    **more: Any,
) -> MeasuredConfig:
    """Returns a config with a run for each accuracy; `more` are those of `make_result`."""
    results = [
        make_result(label, seed=first_seed + index, accuracy=one, seconds=seconds[index] if seconds else 100.0, **more)
        for index, one in enumerate(accuracies)
    ]
    config_id = results[0].config_id
    return measured_configs("milestones", {config_id: label}, results, output, system=system)[0]


def fill(path: Path, output: Path, values: Mapping[str, Sequence[tuple[float, float]]], **more: Any) -> Plan:
    """Writes a suite and stores results of it: accuracy and train seconds of each seed, by label; and predictions."""
    path.write_text(SUITE)
    plan = load_suite(path).plan(lambda data: "f00d")
    for run in plan.runs:
        own = values.get(run.spec.label, ())
        if run.spec.seed >= len(own):
            continue
        accuracy, seconds = own[run.spec.seed]
        result = make_result(
            run.spec.label,
            seed=run.spec.seed,
            accuracy=accuracy,
            seconds=seconds,
            config_id=run.config_id,
            run_id=run.run_id,
            suite="two",
            **more,
        )
        assert result.data
        result.data.test_samples = IMAGES
        store(output, [result])
        folder = output / "two" / run.run_id / result.system_id
        write_predictions(folder, round(accuracy * IMAGES), shift=run.spec.seed)
    return plan


def write_predictions(folder: Path, right: int, *, images: int = IMAGES, shift: int = 0) -> None:
    """Writes predictions of which so many are right."""
    label = np.arange(images, dtype=np.int32) % 10
    wrong = (np.arange(images) + shift) % images >= right
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "predictions.npz", label=label, prediction=np.where(wrong, (label + 1) % 10, label))
