"""Results as real runs leave them, without running anything."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from harness.records.result import (
    Cause,
    Clock,
    DataFacts,
    Memory,
    Metrics,
    ModelFacts,
    Resolved,
    RunResult,
    Status,
    TargetReached,
    Throughput,
)
from harness.records.store import run_folder
from harness.report.build import DEFAULT_SORT, Options, Stored, build_report
from harness.report.charts.chart import Chart
from harness.report.tables import Report
from harness.results.question import SuiteQuestion
from harness.results.study import Study
from harness.spec import parse_run_spec

SYSTEM = {"system_id": "a1b2c3", "name": "1x NVIDIA GTX 1060, torch 2.10"}


class Published(NamedTuple):
    """A published number, as harness.suite.plan gives it."""

    metric: str
    value: float
    source: str
    epoch: int | None = None
    runs: int = 1
    same_images: bool = True


class Planned(NamedTuple):
    """A planned config."""

    config_id: str
    label: str


def make_result(
    label: str = "base",
    *,
    seed: int = 0,
    accuracy: float | None = 0.9,
    seconds: float | None = 100.0,
    model: str = "resnet18",
    train: Mapping[str, Any] | None = None,
    config_id: str | None = None,
    system_id: str = SYSTEM["system_id"],
    suite: str = "milestones",
    status: Status = "ok",
    cause: Cause | None = None,
    resolved: Resolved | None = None,
    rankable: bool = True,
    target: TargetReached | None = None,
    device_bytes: int | None = 3 * 2**30,
    **more: Any,
) -> RunResult:
    """Returns one run's result; `more` are fields of RunResult."""
    spec = parse_run_spec(
        {
            "label": label,
            "seed": seed,
            "model": {"name": model},
            "data": {"name": "cifar10", "augment": {"crop": 4, "flip": True}},
            "optimizer": {"name": "sgd", "lr": 0.1},
            "train": {"mixed_precision": "no", **(train or {})},
        }
    )
    ok = status == "ok"
    config_id = config_id or spec.config_id()
    return RunResult(
        suite=suite,
        label=label,
        run_id=more.pop("run_id", f"{config_id}-{seed}"),
        config_id=config_id,
        system_id=system_id,
        seed=seed,
        status=status,
        cause=cause,
        started_at=f"2026-01-01T00:{seed:02}:00.000+00:00",
        code="c0de",
        ended_at=more.pop("ended_at", f"2026-01-01T00:{seed:02}:30.000+00:00"),
        num_processes=more.pop("num_processes", 1),
        epochs=spec.train.epochs if ok else 0,
        spec=spec.model_dump(mode="json"),
        resolved=resolved
        or Resolved(device="cuda", mixed_precision="no", loader=spec.loader.name, micro_batch_size=128),
        data=DataFacts(
            fingerprint=more.pop("fingerprint", "f00d"),
            train_samples=50000,
            validation_samples=0,
            test_samples=10000,
            num_classes=10,
            rankable=rankable,
        )
        if ok
        else None,
        model=ModelFacts(parameters=11_173_962, multiply_accumulates=556_651_520) if ok else None,
        clock=Clock(train_seconds=seconds, eval_seconds=4.5, build_seconds=0.8, total_seconds=110.0) if ok else Clock(),
        throughput=Throughput(samples_per_second=25_123.4, data_wait_share=0.034, skipped_samples=0)
        if ok
        else Throughput(skipped_samples=0),
        memory=Memory(max_allocated_bytes=device_bytes, host_rss_bytes=5 * 2**30) if ok else Memory(),
        metrics={"test": make_metrics(accuracy), "train": make_metrics(0.97)} if ok and accuracy is not None else {},
        target=target,
        **more,
    )


def make_metrics(accuracy: float) -> Metrics:
    """Returns the metrics of one split."""
    return Metrics(
        accuracy=accuracy,
        top5_accuracy=min(1.0, accuracy + 0.05),
        loss=1 - accuracy,
        macro_recall=accuracy,
        recall_by_class=[accuracy] * 9 + [None],
    )


def make_suite(
    configs: int, seeds: int, *, spread: float = 30.0, suite: str = "many", sd: float = 0.002
) -> list[RunResult]:
    """Returns a suite of several architectures whose accuracy grows with the logarithm of the time, with noise."""
    rng = random.Random(configs)
    models = ("mlp", "cnn3", "resnet18", "resnet34", "vgg16")
    results = []
    for index in range(configs):
        share = rng.random()
        centre = 0.70 + 0.24 * share**0.5 + rng.gauss(0, 0.012)
        seconds = 20.0 * spread**share
        model = models[min(int(share * len(models)), len(models) - 1)] if index % 3 else rng.choice(models)
        precision = ("no", "bf16")[index % 2]
        batch = 64 + index
        for seed in range(seeds):
            results.append(
                make_result(
                    f"{model} {precision} batch {batch}",
                    seed=seed,
                    accuracy=min(0.999, centre + rng.gauss(0, sd)),
                    seconds=seconds * (1 + rng.gauss(0, 0.01)),
                    model=model,
                    train={"mixed_precision": precision, "global_batch_size": batch},
                    suite=suite,
                )
            )
    return results


def store(root: Path, results: Sequence[RunResult], system: Mapping[str, Any] = SYSTEM) -> None:
    """Writes results to where runs leave them."""
    for result in results:
        folder = run_folder(root, result.suite, result.run_id, result.system_id)
        folder.path.mkdir(parents=True)
        (folder.path / "result.json").write_text(result.model_dump_json())
        (folder.path / "system.json").write_text(json.dumps({**system, "system_id": result.system_id}))


@dataclass(frozen=True)
class MadeStudy(Study):
    """A study whose published numbers are given by config_id."""

    published: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def references(self) -> dict[str, list[Any]]:
        return {config_id: list(own) for config_id, own in self.published.items()}


def make_report(
    results: Sequence[RunResult],
    *,
    sort: str = DEFAULT_SORT,
    with_resumed: bool = False,
    asked_seconds: float | None = None,
    systems: Mapping[str, Mapping[str, Any]] | None = None,
    planned: Sequence[Any] = (),
    references: Mapping[str, Sequence[Any]] | None = None,
    overrides: Mapping[str, Any] | None = None,
    budget_seconds: float | None = None,
    margin: float | None = None,
    selection: Sequence[str] = (),
    factors: Sequence[Any] = (),
    output: Path = Path(),
    **stored: Any,
) -> Report:
    """Returns the report of results on systems that are named after their ids, but for the usual one.

    Args:
        planned: configs with their labels, in the order of the suite, before those that have only results.
        output: the results root.
        stored: fields of `harness.report.build.Stored`.
    """
    named = {result.system_id: {"name": f"system {result.system_id}"} for result in results}
    named[SYSTEM["system_id"]] = SYSTEM
    suite = results[0].suite if results else "empty"
    study = MadeStudy(
        name=suite,
        source=output / suite,
        folder=output / suite,
        specs={result.config_id: result.spec for result in results},
        labels={config.config_id: config.label for config in (*planned, *results, *planned)},
        results=results,
        systems=systems or named,
        question=SuiteQuestion(
            budget=budget_seconds, margin=margin, overrides=dict(overrides or {}), factors=list(factors)
        ),
        selection=tuple(selection),
        published=references or {},
    )
    return build_report(study, Options(sort, with_resumed, asked_seconds), Stored(**stored))


def spec_of(chart: Chart | None) -> dict[str, Any]:
    """Returns a chart's specification, which Altair has validated."""
    import altair

    assert chart
    altair.Chart.from_dict(chart.spec)
    return chart.spec


def run_rows(report: Report) -> list[dict[str, Any]]:
    """Returns the table of a report's runs, row by row."""
    return [dict(zip(report.runs, row, strict=True)) for row in zip(*report.runs.values(), strict=True)]


@pytest.fixture
def fake() -> SimpleNamespace:
    """The functions of this file."""
    return SimpleNamespace(
        result=make_result,
        suite=make_suite,
        metrics=make_metrics,
        report=make_report,
        spec=spec_of,
        store=store,
        Published=Published,
        Planned=Planned,
    )


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the charts of a report, which take seconds in a process of their own."""
    monkeypatch.setitem(sys.modules, "vl_convert", None)
