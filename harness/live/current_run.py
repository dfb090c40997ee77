"""A run that goes on, as far as its record and the heartbeats of its ranks tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

RATE_SECONDS = 5.0  # that a rate within an epoch is taken over, at least
LEAST_SHARE = 0.02  # of a run's steps, before its own pace says anything of the time that it will take


@dataclass(frozen=True)
class RankSeen:
    """How far a rank is.

    Attributes:
        step: optimizer steps done; None before the first.
        phase: what it does before the first: `import`, `data`, `start`.
        gpu_utilization: share of the last second, about; None without a GPU, or where it does not tell.
    """

    at: float
    step: int | None = None
    phase: str = ""
    gpu_utilization: float | None = None
    device_bytes: float | None = None
    device_total_bytes: float | None = None

    @staticmethod
    def of(heartbeat: Mapping[str, Any], at: float) -> RankSeen:
        """Returns what a heartbeat says, see `harness.launching.launch_folder`, that was read at a time of day."""
        where, gauges = heartbeat.get("at"), heartbeat.get("gauges", {})
        return RankSeen(at, where + 1, **gauges) if isinstance(where, int) else RankSeen(at, None, str(where), **gauges)


class EpochSeen(NamedTuple):
    """An epoch that is through: its number, counted from 1, and what was taken for the record.

    `loss` is of the train split, while the weights moved; `accuracy` of the test split, None where that was not
    evaluated.
    """

    number: int
    loss: float
    accuracy: float | None
    train_seconds: float
    wait_seconds: float

    @staticmethod
    def of(event: Mapping[str, Any]) -> EpochSeen:
        """Returns what an event of a record says.

        Raises:
            KeyError: it does not say it.
        """
        metrics, seconds = event["metrics"], (event["train_seconds"], event["wait_seconds"])
        accuracy = metrics.get("test", {}).get("accuracy")
        return EpochSeen(event["epoch"] + 1, metrics["train"]["loss"], accuracy, *seconds)


@dataclass
class CurrentRun:
    """A run that goes on.

    Attributes:
        steps, epochs: that it has; 0 until its folder is open: it reads its data.
        samples_per_epoch: over all ranks.
        epoch: the last one that is through.
        ranks: the newest of each.
        first: of rank 0, since it is watched; a run that goes on from a checkpoint does not begin at step 0.
        first_of_epoch: of rank 0, in its present epoch.
        where: the machine and process that it is on; empty where that is this one.
    """

    name: str
    steps: int = 0
    epochs: int = 0
    samples_per_epoch: int = 0
    epoch: EpochSeen | None = None
    ranks: dict[int, RankSeen] = field(default_factory=dict)
    first: RankSeen | None = None
    first_of_epoch: RankSeen | None = None
    where: str = ""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return max(1, self.steps // max(1, self.epochs))

    @property
    def step(self) -> int:
        """Optimizer steps done, as far as is known."""
        seen = self.ranks[0].step or 0 if 0 in self.ranks else 0
        return max(seen, self.epoch.number * self.steps_per_epoch if self.epoch and self.steps else 0)

    @property
    def share_done(self) -> float:
        """Of its steps."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    @property
    def current_epoch(self) -> int | None:
        """Which epoch it is in, counted from 1; None before the first step."""
        if not self.steps or not self.step:
            return None
        return min((self.step - 1) // self.steps_per_epoch + 1, self.epochs)

    @property
    def samples_per_second(self) -> float | None:
        """Of the present epoch where it is long enough, else of the last one; None where neither is known."""
        now, began = self.ranks.get(0), self.first_of_epoch
        if self.steps and now and began and now.step and began.step and now.at - began.at >= RATE_SECONDS:
            samples_per_step = self.samples_per_epoch / self.steps_per_epoch
            return (now.step - began.step) * samples_per_step / (now.at - began.at)
        if self.steps and self.epoch and self.epoch.train_seconds:
            return self.samples_per_epoch / self.epoch.train_seconds
        return None

    @property
    def wait_share(self) -> float | None:
        """Of the last epoch's train time: waiting for data."""
        return self.epoch.wait_seconds / self.epoch.train_seconds if self.epoch and self.epoch.train_seconds else None

    @property
    def seconds_left(self) -> float | None:
        """How long it will take from now, by its own pace; None where too little was seen of it."""
        now = self.ranks.get(0)
        if not self.steps or self.first is None or now is None or not now.step or not self.first.step:
            return None
        steps = now.step - self.first.step
        if steps < LEAST_SHARE * self.steps:
            return None
        return max(0, self.steps - self.step) * (now.at - self.first.at) / steps

    def see(self, rank: int, seen: RankSeen) -> None:
        """Takes how far a rank is."""
        before = self.current_epoch
        self.ranks[rank] = seen
        if rank == 0 and seen.step:
            self.first = self.first or seen
            if self.first_of_epoch is None or self.current_epoch != before:
                self.first_of_epoch = seen
