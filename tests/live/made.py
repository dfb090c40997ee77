"""States of a suite that goes on, made up."""

from __future__ import annotations

from harness.live.current_run import RankSeen
from harness.live.state import RunEnded, SuiteState
from harness.spec import parse_run_spec
from harness.suite.plan import PlannedRun

NOW = 1_000_000.0
GIB = 2**30


def planned_run(run_id: str, label: str, seed: int = 0, config_id: str = "c0", **train: int) -> PlannedRun:
    values = {"model": "mlp", "data": "digits", "optimizer": {"name": "sgd", "lr": 0.1}, "train": train}
    spec = parse_run_spec({**values, "label": label, "seed": seed})
    return PlannedRun(spec=spec, config_id=config_id, run_id=run_id, fingerprint="data")


def planned(count: int = 6, configs: int = 3) -> list[PlannedRun]:
    """Returns runs r0, r1, ... of configs c0, c1, ..., seed by seed; config k has k + 1 times the steps of c0."""
    return [
        planned_run(
            f"r{index}",
            f"resnet18 width={index % configs}",
            index // configs,
            f"c{index % configs}",
            epochs=index % configs + 1,
        )
        for index in range(count)
    ]


def ended(run_id: str, status: str = "ok", accuracy: float = 0.9, seconds: float = 10.0) -> RunEnded:
    return RunEnded(run_id, status, accuracy, seconds, 2 * seconds, "" if status == "ok" else "planted")


def start(state: SuiteState, run_id: str, steps: int = 100, epochs: int = 10) -> None:
    state.take(run_id, {"event": "run_started", "steps": steps, "epochs": epochs, "samples_per_epoch": 1000})


def see(state: SuiteState, run_id: str, step: int | None, after: float = 0.0, rank: int = 0, gpu: bool = False) -> None:
    gauges = (0.83 + rank / 100, (12.25 + rank) * GIB, 80.0 * GIB) if gpu else (None, None, None)
    state.see(run_id, rank, RankSeen(NOW + after, step, "" if step else "data", *gauges))


def end_epoch(state: SuiteState, run_id: str, number: int) -> None:
    metrics = {"train": {"loss": 0.5}, "test": {"accuracy": 0.7}}
    state.take(
        run_id, {"event": "epoch", "epoch": number - 1, "metrics": metrics, "train_seconds": 4.0, "wait_seconds": 1.0}
    )


def going_on(ranks: int = 0) -> SuiteState:
    """Returns a suite with results, a failed run, and one that goes on."""
    state = SuiteState("digits", planned())
    for one in (ended("r0"), ended("r1", accuracy=0.95, seconds=20.0), ended("r2", "failed")):
        state.end(one)
    start(state, "r3")
    for rank in range(max(1, ranks)):
        see(state, "r3", 1, rank=rank, gpu=bool(ranks))
        see(state, "r3", 25, after=6.0, rank=rank, gpu=bool(ranks))
    end_epoch(state, "r3", 2)
    return state
