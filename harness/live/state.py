"""What is known of a suite while it runs, and how long it will take; events update it, and nothing here draws."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.live.events import EpochEnded, Event, RankSeen, RunEnded, RunLeft, RunStarted
from harness.statistics.pareto import pareto_front
from harness.suite.plan import PlannedRun

RATE_SECONDS = 5.0  # that a rate within an epoch is taken over, at least
LEAST_SHARE = 0.02  # of a run's steps, before its own pace says anything of the time that it will take


@dataclass(frozen=True)
class Planned:
    """A run of the plan.

    Attributes:
        steps: that it does, up to a factor that runs on the same data share: estimates compare them.
        is_anchor: whether it repeats a run to show drift; it enters no mean.
    """

    name: str
    label: str
    config_id: str
    steps: float
    is_anchor: bool = False

    @staticmethod
    def of(run: PlannedRun) -> Planned:
        """Returns what the view needs to know of a planned run."""
        spec, train = run.spec, run.spec.train
        return Planned(
            run.name, spec.label, run.config_id, train.epochs / train.global_batch_size, is_anchor=bool(spec.repeat)
        )


@dataclass
class CurrentRun:
    """A run that goes on.

    Attributes:
        started: None until its folder is open: it reads its data.
        epoch: the last one that is through.
        ranks: the newest of each.
        first: of rank 0, since it is watched; a run that goes on from a checkpoint does not begin at step 0.
        first_of_epoch: of rank 0, in its present epoch.
        where: the machine and process that it is on; empty where that is this one.
    """

    name: str
    started: RunStarted | None = None
    epoch: EpochEnded | None = None
    ranks: dict[int, RankSeen] = field(default_factory=dict)
    first: RankSeen | None = None
    first_of_epoch: RankSeen | None = None
    where: str = ""

    @property
    def step(self) -> int:
        """Optimizer steps done, as far as is known."""
        seen = self.ranks[0].step or 0 if 0 in self.ranks else 0
        through = self.epoch.epoch * self.started.steps_per_epoch if self.epoch and self.started else 0
        return max(seen, through)

    @property
    def share_done(self) -> float:
        """Of its steps."""
        return min(1.0, self.step / self.started.steps) if self.started and self.started.steps else 0.0

    @property
    def current_epoch(self) -> int | None:
        """Which epoch it is in, counted from 1; None before the first step."""
        if self.started is None or not self.step:
            return None
        return min((self.step - 1) // self.started.steps_per_epoch + 1, self.started.epochs)

    @property
    def samples_per_second(self) -> float | None:
        """Of the present epoch where it is long enough, else of the last one; None where neither is known."""
        now, began = self.ranks.get(0), self.first_of_epoch
        if self.started and now and began and now.step and began.step and now.at - began.at >= RATE_SECONDS:
            samples_per_step = self.started.samples_per_epoch / self.started.steps_per_epoch
            return (now.step - began.step) * samples_per_step / (now.at - began.at)
        if self.started and self.epoch and self.epoch.train_seconds:
            return self.started.samples_per_epoch / self.epoch.train_seconds
        return None

    @property
    def wait_share(self) -> float | None:
        """Of the last epoch's train time: waiting for data."""
        return self.epoch.wait_seconds / self.epoch.train_seconds if self.epoch and self.epoch.train_seconds else None

    @property
    def seconds_left(self) -> float | None:
        """How long it will take from now, by its own pace; None where too little was seen of it."""
        now = self.ranks.get(0)
        if self.started is None or self.first is None or now is None or not now.step or not self.first.step:
            return None
        steps = now.step - self.first.step
        if steps < LEAST_SHARE * self.started.steps:
            return None
        return max(0, self.started.steps - self.step) * (now.at - self.first.at) / steps

    def see(self, rank: RankSeen) -> None:
        """Takes how far a rank is."""
        if rank.rank == 0 and rank.step:
            before = self.current_epoch
            self.ranks[0] = rank
            self.first = self.first or rank
            if self.first_of_epoch is None or self.current_epoch != before:
                self.first_of_epoch = rank
        self.ranks[rank.rank] = rank


@dataclass(frozen=True)
class ConfigSoFar:
    """What the runs of a config that are ok came to: means over seeds; `train_seconds` is None where none was timed."""

    label: str
    runs: int
    accuracy: float
    train_seconds: float | None
    on_front: bool = False


class SuiteState:
    """The runs of a suite on one system.

    Args:
        suite: its name.
        runs: of the plan, in its order, by run_id.
        system: the name of the machine, where several are shown.

    Attributes:
        ended: the results, by run_id; runs that are to be tried again are not among them.
        current: the runs that go on, by run_id.
    """

    def __init__(self, suite: str, runs: dict[str, Planned], system: str = "") -> None:
        self.suite = suite
        self.planned = runs
        self.system = system
        self.ended: dict[str, RunEnded] = {}
        self.current: dict[str, CurrentRun] = {}

    @staticmethod
    def of(suite: str, runs: Iterable[PlannedRun], system: str = "") -> SuiteState:
        """Returns the state of a plan before anything is known of its runs."""
        return SuiteState(suite, {run.run_id: Planned.of(run) for run in runs}, system)

    def apply(self, event: Event) -> None:
        """Takes an event; one of a run that is not planned here changes nothing."""
        if event.run_id not in self.planned:
            return
        if isinstance(event, RunEnded):
            self.current.pop(event.run_id, None)
            self.ended.pop(event.run_id, None)
            if event.status != "preempted":  # it is open, and goes on
                self.ended[event.run_id] = event
        elif isinstance(event, RunStarted):
            self.ended.pop(event.run_id, None)
            old = self.current.get(event.run_id)
            if old is None or old.started is None or old.started.at < event.at:  # else the same one, read again
                self.current[event.run_id] = CurrentRun(self.planned[event.run_id].name, event)
        elif isinstance(event, RankSeen):
            if event.run_id not in self.ended:
                self._run(event.run_id).see(event)
        elif isinstance(event, EpochEnded):
            self._run(event.run_id).epoch = event
        elif isinstance(event, RunLeft):
            self.current.pop(event.run_id, None)

    def counts(self) -> dict[str, int]:
        """Returns how many runs are done (in whatever way), running, open, and how many of the done ones by status."""
        by_status = Counter(event.status for event in self.ended.values())
        done, running = len(self.ended), len(self.current)
        bad = {status: count for status, count in sorted(by_status.items()) if status != "ok"}
        return {"done": done, "running": running, "open": len(self.planned) - done - running, **bad}

    def front(self) -> list[ConfigSoFar]:
        """Returns the configs with results, those of the Pareto front first, by accuracy."""
        by_config: dict[str, list[RunEnded]] = {}
        for run_id, event in self.ended.items():
            run = self.planned[run_id]
            if event.status == "ok" and event.accuracy is not None and event.train_seconds and not run.is_anchor:
                by_config.setdefault(run.config_id, []).append(event)
        labels = {run.config_id: run.label for run in self.planned.values()}
        timed, untimed = [], []
        for config_id, events in by_config.items():
            accuracy = statistics.fmean(event.accuracy or 0.0 for event in events)
            times = [event.train_seconds or 0.0 for event in events if event.timed]
            seconds = statistics.fmean(times) if times else None
            (timed if times else untimed).append(ConfigSoFar(labels[config_id], len(events), accuracy, seconds))
        ahead = pareto_front([(config.accuracy, config.train_seconds or 0.0) for config in timed])
        found = [dataclasses.replace(config, on_front=on) for config, on in zip(timed, ahead, strict=True)]
        return sorted([*found, *untimed], key=lambda config: (not config.on_front, -config.accuracy))

    def seconds_left_of_run(self, run_id: str) -> float | None:
        """Returns how long a run that goes on will take from now: as runs of its config took, else by its own pace."""
        run = self.current[run_id]
        known = self._seconds_by_config().get(self.planned[run_id].config_id)
        return run.seconds_left if known is None else known * (1.0 - run.share_done)

    def seconds_left(self) -> float | None:
        """Returns how long the suite will take from now, with as many runs at a time as there are; None: not known.

        A run counts as long as those of its config that have ended; one of a config of which none has ended, by its
        steps. Runs whose times are marked count here: a guess is of what the machine does now, with all that disturbs
        it.
        """
        by_config, pace = self._seconds_by_config(), self._pace()
        parts = [self.seconds_left_of_run(run_id) for run_id in self.current]
        for run_id, run in self.planned.items():
            if run_id not in self.ended and run_id not in self.current:
                parts.append(by_config.get(run.config_id, None if pace is None else pace * run.steps))
        known = [part for part in parts if part is not None]
        return sum(known) / max(1, len(self.current)) if len(known) == len(parts) else None

    def _seconds_by_config(self) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for run_id, event in self.ended.items():
            if event.status == "ok" and event.total_seconds:
                found.setdefault(self.planned[run_id].config_id, []).append(event.total_seconds)
        return {config_id: statistics.fmean(seconds) for config_id, seconds in found.items()}

    def _pace(self) -> float | None:
        """Returns the seconds of a step, over the runs that ended and those that go on."""
        seconds = steps = 0.0
        for run_id, event in self.ended.items():
            if event.status == "ok" and event.total_seconds:
                seconds += event.total_seconds
                steps += self.planned[run_id].steps
        for run_id, run in self.current.items():
            if run.seconds_left is not None and run.share_done < 1.0:
                seconds += run.seconds_left
                steps += self.planned[run_id].steps * (1.0 - run.share_done)
        return seconds / steps if steps else None

    def _run(self, run_id: str) -> CurrentRun:
        if run_id not in self.current:
            self.current[run_id] = CurrentRun(self.planned[run_id].name)
        return self.current[run_id]
