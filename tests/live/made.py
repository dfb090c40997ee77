"""States of a suite that goes on, made up."""

from __future__ import annotations

from harness.live.events import EpochEnded, RankSeen, RunEnded, RunStarted
from harness.live.state import Planned, SuiteState

NOW = 1_000_000.0
GIB = 2**30


def planned(count: int = 6, configs: int = 3) -> dict[str, Planned]:
    """Returns runs r0, r1, ... of configs c0, c1, ..., seed by seed; config k has k + 1 times the steps of c0."""
    return {
        f"r{index}": Planned(
            f"resnet18 width={index % configs} · seed {index // configs}",
            f"resnet18 width={index % configs}",
            f"c{index % configs}",
            steps=float(index % configs + 1),
        )
        for index in range(count)
    }


def ended(run_id: str, status: str = "ok", accuracy: float = 0.9, seconds: float = 10.0) -> RunEnded:
    return RunEnded(run_id, status, accuracy, seconds, 2 * seconds, "" if status == "ok" else "planted")


def started(run_id: str, steps: int = 100, epochs: int = 10, at: float = NOW) -> RunStarted:
    return RunStarted(run_id, steps, epochs, samples_per_epoch=1000, at=at)


def seen(run_id: str, step: int | None, after: float = 0.0, rank: int = 0, gpu: bool = False) -> RankSeen:
    gauges = (0.83 + rank / 100, (12.25 + rank) * GIB, 80.0 * GIB) if gpu else (None, None, None)
    return RankSeen(run_id, rank, step, "" if step else "data", NOW + after, *gauges)


def epoch(run_id: str, number: int, accuracy: float | None = 0.7) -> EpochEnded:
    return EpochEnded(run_id, number, 0.5, accuracy, train_seconds=4.0, wait_seconds=1.0)


def going_on(ranks: int = 0) -> SuiteState:
    """Returns a suite with results, a failed run, and one that goes on."""
    state = SuiteState("digits", planned())
    for event in (ended("r0"), ended("r1", accuracy=0.95, seconds=20.0), ended("r2", "failed"), started("r3")):
        state.apply(event)
    for rank in range(max(1, ranks)):
        state.apply(seen("r3", 1, rank=rank, gpu=bool(ranks)))
        state.apply(seen("r3", 25, after=6.0, rank=rank, gpu=bool(ranks)))
    state.apply(epoch("r3", 2))
    return state
