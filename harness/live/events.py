"""What there is to see of runs while they go on, as their records and heartbeats tell it; see `harness.live.follow`."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

from harness.records.comparable import marks
from harness.records.result import RunResult


@dataclass(frozen=True)
class RunStarted:
    """A run is open.

    Attributes:
        steps, epochs: that it has.
        samples_per_epoch: over all ranks.
        at: time of day, in seconds; runs of several machines are shown together.
    """

    run_id: str
    steps: int
    epochs: int
    samples_per_epoch: int
    at: float = dataclasses.field(default_factory=time.time)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return max(1, self.steps // max(1, self.epochs))


@dataclass(frozen=True)
class RankSeen:
    """How far a rank is.

    Attributes:
        step: optimizer steps done; None before the first.
        phase: what it does before the first: `import`, `data`, `start`.
        at: time of day, in seconds.
        gpu_utilization: share of the last second, about; None without a GPU, or where it does not tell.
        device_bytes: in use on the GPU.
        device_total_bytes: that the GPU has.
    """

    run_id: str
    rank: int
    step: int | None = None
    phase: str = ""
    at: float = dataclasses.field(default_factory=time.time)
    gpu_utilization: float | None = None
    device_bytes: float | None = None
    device_total_bytes: float | None = None


@dataclass(frozen=True)
class EpochEnded:
    """An epoch is through, and evaluated; its numbers were taken for the record.

    Attributes:
        epoch: counted from 1.
        loss: of the train split, while the weights moved.
        accuracy: of the test split; None where it was not evaluated.
    """

    run_id: str
    epoch: int
    loss: float
    accuracy: float | None
    train_seconds: float
    wait_seconds: float


@dataclass(frozen=True)
class RunEnded:
    """A run's result is on disk.

    Attributes:
        total_seconds: all that the run took; None where that was not measured.
        message: of its cause, where it is not ok.
        marks: the names of what keeps its train time from standing beside those of others, see
            `harness.records.comparable`; empty where nothing does.
    """

    run_id: str
    status: str
    accuracy: float | None = None
    train_seconds: float | None = None
    total_seconds: float | None = None
    message: str = ""
    marks: str = ""

    @property
    def timed(self) -> bool:
        """Whether its train time may stand beside those of others."""
        return not self.marks

    @staticmethod
    def of(result: RunResult) -> RunEnded:
        """Returns what there is to tell of a result."""
        test = result.metrics.get("test")
        return RunEnded(
            result.run_id,
            result.status,
            test.accuracy if test else None,
            result.clock.train_seconds,
            result.clock.total_seconds,
            result.cause.message if result.cause else "",
            ", ".join(marks(result)),
        )

    def sentence(self, name: str) -> str:
        """Returns one line on the run, of which people know the name."""
        if self.status == "preempted":
            return f"■ {name} · {self.message or 'stopped'}"
        if self.status != "ok":
            return f"✗ {name} · {self.status}: {self.message or 'no cause recorded'}"
        accuracy = "not known" if self.accuracy is None else f"{self.accuracy:.2%}"
        seconds = "not known" if self.train_seconds is None else f"{self.train_seconds:.2f} s"
        unranked = f", not ranked ({self.marks})" if self.marks else ""
        return f"✓ {name} · test accuracy {accuracy} · train {seconds}{unranked}"


@dataclass(frozen=True)
class RunLeft:
    """A run goes on no more, as far as can be seen here: another process owns it, or its own is gone."""

    run_id: str


Event = RunStarted | RankSeen | EpochEnded | RunEnded | RunLeft
