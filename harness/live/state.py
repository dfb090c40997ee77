"""What is known of a suite while it runs, and how long it will take; nothing here draws."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.live.current_run import CurrentRun, EpochSeen, RankSeen
from harness.records.comparable import marks
from harness.records.events import STARTS
from harness.records.result import RunResult
from harness.statistics.fronts import pareto_front
from harness.suite.plan import PlannedRun

if TYPE_CHECKING:
    from harness.live.race import RaceBlock


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
        system: the name of the machine, where several are shown.
        race: that the runs are of, until its next look; None where they are of no race.

    Attributes:
        planned: the runs, by run_id.
        ended: the results, by run_id; runs that are to be tried again are not among them.
        current: the runs that go on, by run_id.
    """

    def __init__(self, suite: str, runs: Iterable[PlannedRun], system: str = "", race: RaceBlock | None = None) -> None:
        self.suite = suite
        self.race = race
        self.planned = {run.run_id: run for run in runs}
        self.system = system
        self.ended: dict[str, RunEnded] = {}
        self.current: dict[str, CurrentRun] = {}

    def take(self, run_id: str, event: Mapping[str, Any]) -> None:
        """Takes an event of the record of a planned run.

        Raises:
            KeyError: the event has not what those of a run have.
        """
        if event["event"] in STARTS:
            planned = {name: event[name] for name in ("steps", "epochs", "samples_per_epoch")}
            self.current[run_id] = CurrentRun(self.planned[run_id].name, **planned)
            self.ended.pop(run_id, None)
        elif event["event"] == "epoch":
            self._run(run_id).epoch = EpochSeen.of(event)

    def see(self, run_id: str, rank: int, seen: RankSeen) -> None:
        """Takes how far a rank is; one of no run that goes on changes nothing."""
        if run_id in self.planned and run_id not in self.ended:
            self._run(run_id).see(rank, seen)

    def end(self, ended: RunEnded) -> None:
        """Takes the end of a planned run."""
        self.current.pop(ended.run_id, None)
        self.ended.pop(ended.run_id, None)
        if ended.status != "preempted":  # it is open, and goes on
            self.ended[ended.run_id] = ended

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
            is_anchor = bool(run.spec.repeat)  # it repeats a run to show drift, and enters no mean
            if event.status == "ok" and event.accuracy is not None and event.train_seconds and not is_anchor:
                by_config.setdefault(run.config_id, []).append(event)
        labels = {run.config_id: run.spec.label for run in self.planned.values()}
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
        known = self._seconds_by_config()[0].get(self.planned[run_id].config_id)
        return run.seconds_left if known is None else known * (1.0 - run.share_done)

    def seconds_left(self) -> float | None:
        """Returns how long the suite will take from now, with as many runs at a time as there are; None: not known.

        A run counts as long as those of its config that have ended; one of a config of which none has ended, by its
        steps. Runs whose times are marked count here: a guess is of what the machine does now, with all that disturbs
        it.
        """
        by_config, pace = self._seconds_by_config()
        parts = [self.seconds_left_of_run(run_id) for run_id in self.current]
        for run_id, run in self.planned.items():
            if run_id not in self.ended and run_id not in self.current:
                parts.append(by_config.get(run.config_id, None if pace is None else pace * _steps(run)))
        known = [part for part in parts if part is not None]
        return sum(known) / max(1, len(self.current)) if len(known) == len(parts) else None

    def _seconds_by_config(self) -> tuple[dict[str, float], float | None]:
        """Returns what runs of each config took that have ended, and the seconds of a step, over all that were seen."""
        found: dict[str, list[float]] = {}
        seconds = steps = 0.0
        for run_id, event in self.ended.items():
            if event.status == "ok" and event.total_seconds:
                found.setdefault(self.planned[run_id].config_id, []).append(event.total_seconds)
                seconds += event.total_seconds
                steps += _steps(self.planned[run_id])
        for run_id, run in self.current.items():
            if run.seconds_left is not None and run.share_done < 1.0:
                seconds += run.seconds_left
                steps += _steps(self.planned[run_id]) * (1.0 - run.share_done)
        by_config = {config_id: statistics.fmean(each) for config_id, each in found.items()}
        return by_config, seconds / steps if steps else None

    def _run(self, run_id: str) -> CurrentRun:
        return self.current.setdefault(run_id, CurrentRun(self.planned[run_id].name))


def _steps(run: PlannedRun) -> float:
    """Returns the steps of a run, up to a factor that runs on the same data share: estimates compare them."""
    return run.spec.train.epochs / run.spec.train.global_batch_size
