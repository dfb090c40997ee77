"""Stepped configs and records -> how long the open runs of a suite will take, and what they need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

from harness.forecast.stepped import Stepped
from harness.records.comparable import marks
from harness.records.forecast import FIXED_FACTOR, Span
from harness.records.result import RunResult
from harness.spec import RunSpec
from harness.suite.plan import PlannedRun

RECORDS = 3
"""So many records of a config tell its time better than stepping does."""
COVERS = (
    "the interval is of one more block of steps like those that were made (95 %), for all of the time alike, and of a "
    f"factor of {FIXED_FACTOR:g} on what was measured once; it covers no change of the machine's speed after that"
)


class ConfigForecast(BaseModel):
    """What is expected of a config's open runs.

    Attributes:
        source: how it is known.
        stepped_as: the label of the config that was stepped for it, which takes as long.
        problem: why there is no forecast, or why runs of it may not end well.
        hint: what to do about it.
        train: the train time of one run. wall: all of one run.
        total: all of the open runs of the config.
        share: of the suite's open runs in `total`.
        peak_bytes: most memory: on a GPU of PyTorch's pool, on a CPU of the process.
        joules: of the GPU, over the train time of all open runs.
    """

    model_config = ConfigDict(extra="forbid")

    config_id: str
    label: str
    open_runs: int
    source: Literal["stepped", "records", "unknown"] = "unknown"
    stepped_as: str = ""
    problem: str = ""
    hint: str = ""
    step_seconds: float | None = None
    epoch_seconds: float | None = None
    train: Span | None = None
    wall: Span | None = None
    total: Span | None = None
    share: float | None = None
    peak_bytes: int | None = None
    device_bytes: int | None = None
    micro_batch_size: int | None = None
    joules: float | None = None


class LeaveOut(BaseModel):
    """What to leave out so that a suite is done in time.

    Attributes:
        seconds: in which it shall be done; the high end of the interval counts.
        fits: whether it is done as it is; None where what has a forecast is, and not all of it has one.
        seeds: that are left where the later ones are left out; empty where one alone takes too long.
        with_seeds: how long these take.
        configs: the fewest that are left out, the longest first, by label; empty where that does not help.
        without_configs: how long the others take.
    """

    model_config = ConfigDict(extra="forbid")

    seconds: float
    fits: bool | None
    seeds: list[int] = []
    with_seeds: Span | None = None
    configs: list[str] = []
    without_configs: Span | None = None


class Forecast(BaseModel):
    """Of the open runs of a suite on one system.

    Attributes:
        wall: of all open runs with a forecast, until the last has ended; None where there is none.
        complete: whether each open run has a forecast.
        once: of `wall`, what comes once: starting, reading the data, a warm-up.
        joules: of the GPU; None where those of a config cannot be read.
        cost: of the wall time at `price_per_hour`.
        runs: of each open run whose data are known, by run_id.
        notes: on the whole.
    """

    model_config = ConfigDict(extra="forbid")

    suite: str
    system_id: str
    system: str
    made_at: str
    open_runs: int
    done_runs: int
    wall: Span | None
    complete: bool
    once: Span
    joules: float | None = None
    price_per_hour: float | None = None
    cost: Span | None = None
    within: LeaveOut | None = None
    configs: list[ConfigForecast]
    runs: dict[str, Span]
    covers: str = COVERS
    notes: list[str] = []


@dataclass(frozen=True)
class Known:
    """What a forecast is made from.

    Attributes:
        specs: of the configs, by config_id, in the order of the file.
        open_runs: of the plan.
        stepped: by the config_id of who was stepped.
        stepped_for: whose steps tell the time of a config, by its config_id.
        records: results of configs that count, by config_id.
        started_seconds: until a process has imported torch; None where none was started.
        warm_up_seconds: before the first run.
    """

    specs: Mapping[str, RunSpec]
    open_runs: Sequence[PlannedRun]
    stepped: Mapping[str, Stepped] = field(default_factory=dict)
    stepped_for: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, Sequence[RunResult]] = field(default_factory=dict)
    started_seconds: float | None = None
    warm_up_seconds: float = 0.0

    def once(self) -> Span:
        """Returns what comes once, however many runs there are."""
        data = {spec.data.model_dump_json(): config_id for config_id, spec in self.specs.items()}
        read = 0.0
        if len(data) == 1:
            read = max((stepped.data_seconds for stepped in self.stepped.values()), default=0.0)
        return Span.fixed((self.started_seconds or 0.0) + read) + _sure(self.warm_up_seconds)

    def config(self, config_id: str) -> ConfigForecast:
        """Returns the forecast of a config."""
        spec = self.specs[config_id]
        count = sum(run.config_id == config_id for run in self.open_runs)
        own = ConfigForecast(config_id=config_id, label=spec.label, open_runs=count)
        several = len({spec.data.model_dump_json() for spec in self.specs.values()}) > 1
        if config_id in self.records:
            return _of_records(own, spec, self.records[config_id], reads_data=several)
        other = self.stepped_for.get(config_id, "")
        stepped = self.stepped.get(other)
        if stepped is None:
            return own.model_copy(update={"problem": "not stepped: no time was left", "hint": "give it more --seconds"})
        found = _of_steps(own, spec, stepped, reads_data=several)
        if other == config_id:
            return found
        alike = {"stepped_as": self.specs[other].label}
        if stepped.blocks:  # a loss that is not finite is of the other's numbers
            alike["problem"] = ""
        return found.model_copy(update=alike)


def useful_records(results: Iterable[RunResult]) -> dict[str, list[RunResult]]:
    """Returns by config the records that tell its time: ended well, undisturbed, and enough of them."""
    found: dict[str, list[RunResult]] = {}
    for result in results:
        clock = result.clock
        if result.status == "ok" and not marks(result) and clock.train_seconds and clock.total_seconds:
            found.setdefault(result.config_id, []).append(result)
    return {config_id: results for config_id, results in found.items() if len(results) >= RECORDS}


def _of_records(
    own: ConfigForecast, spec: RunSpec, results: Sequence[RunResult], *, reads_data: bool
) -> ConfigForecast:
    train = Span.of_values([result.clock.train_seconds or 0.0 for result in results])
    clocks = [result.clock for result in results]
    wall = Span.of_values([(one.total_seconds or 0.0) + reads_data * (one.data_seconds or 0.0) for one in clocks])
    steps = results[0].throughput.steps
    peaks = [r.memory.max_reserved_bytes or r.memory.host_rss_bytes for r in results]
    joules = [result.energy.train_joules for result in results]
    known = [value for value in joules if value is not None]
    return own.model_copy(
        update={
            "source": "records",
            "step_seconds": train.seconds / steps if steps else None,
            "epoch_seconds": train.seconds / spec.train.epochs,
            "train": train,
            "wall": wall,
            "total": wall.times(own.open_runs),
            "peak_bytes": max((peak for peak in peaks if peak is not None), default=None),
            "joules": math.fsum(known) / len(known) * own.open_runs if len(known) == len(joules) else None,
        }
    )


def _of_steps(own: ConfigForecast, spec: RunSpec, stepped: Stepped, *, reads_data: bool) -> ConfigForecast:
    told = own.model_copy(update={"problem": stepped.problem, "hint": stepped.hint})
    if not stepped.blocks:
        return told
    samples = stepped.samples_per_epoch * spec.train.epochs
    steps = Span.of_values([block.seconds / block.samples for block in stepped.blocks], samples)
    mean = math.fsum(block.seconds for block in stepped.blocks) / sum(block.samples for block in stepped.blocks)
    steps = steps.model_copy(update={"seconds": mean * samples})
    train = steps + Span(seconds=stepped.first_seconds, low=0.0, high=stepped.first_seconds * FIXED_FACTOR)
    evaluations = -(-spec.train.epochs // spec.train.evaluate_every_epochs)
    evaluating = steps.times(stepped.eval_seconds * evaluations / steps.seconds)  # as fast or slow as the steps
    once_a_run = stepped.build_seconds + (stepped.data_seconds if reads_data else 0.0)
    wall = train + evaluating + Span.fixed(once_a_run)
    compiling = Span(seconds=stepped.compile_seconds, low=0.0, high=stepped.compile_seconds * own.open_runs)
    joules = stepped.joules_per_sample
    return told.model_copy(
        update={
            "source": "stepped",
            "step_seconds": mean * stepped.samples_per_epoch / stepped.steps_per_epoch,
            "epoch_seconds": mean * stepped.samples_per_epoch,
            "train": train,
            "wall": wall,
            "total": wall.times(own.open_runs) + compiling,  # kernels stay on disk: the first run alone may compile
            "peak_bytes": stepped.peak_bytes,
            "device_bytes": stepped.device_bytes,
            "micro_batch_size": stepped.micro_batch_size,
            "joules": None if joules is None else joules * samples * own.open_runs,
        }
    )


def _sure(seconds: float) -> Span:
    return Span(seconds=seconds, low=seconds, high=seconds)


def total_of(configs: Iterable[ConfigForecast], once: Span) -> Span:
    """Returns the time of the open runs of configs together with what comes once."""
    total = once
    for config in configs:
        total = total + config.total if config.total else total
    return total


def with_shares(configs: Sequence[ConfigForecast]) -> list[ConfigForecast]:
    """Returns the configs, the longest first, with the share that each has of all; those without a forecast last."""
    whole = math.fsum(config.total.seconds for config in configs if config.total)
    shared = [
        config.model_copy(update={"share": config.total.seconds / whole if config.total and whole else None})
        for config in configs
    ]
    return sorted(shared, key=lambda config: -(config.share or 0.0))


def leave_out(
    seconds: float, configs: Sequence[ConfigForecast], once: Span, open_runs: Sequence[PlannedRun]
) -> LeaveOut:
    """Returns what to leave out so that the open runs are done within so many seconds, by the interval's high end."""
    wanted = [config for config in configs if config.total and config.open_runs]
    if total_of(wanted, once).at_most <= seconds:
        return LeaveOut(
            seconds=seconds, fits=True if len(wanted) == len({run.config_id for run in open_runs}) else None
        )
    found: dict[str, object] = {}
    seeds = list(dict.fromkeys(run.spec.seed for run in open_runs))
    for count in range(len(seeds) - 1, 0, -1):
        left = total_of((_of_runs(config, open_runs, seeds[:count]) for config in wanted), once)
        if left.at_most <= seconds:
            found |= {"seeds": seeds[:count], "with_seeds": left}
            break
    by_time = sorted(wanted, key=lambda config: -config.total.at_most if config.total else 0.0)
    for count in range(1, len(by_time)):
        left = total_of(by_time[count:], once)
        if left.at_most <= seconds:
            found |= {"configs": [config.label for config in by_time[:count]], "without_configs": left}
            break
    return LeaveOut(seconds=seconds, fits=False, **found)  # type: ignore[arg-type]


def _of_runs(config: ConfigForecast, runs: Sequence[PlannedRun], seeds: Sequence[int]) -> ConfigForecast:
    kept = sum(run.config_id == config.config_id and run.spec.seed in seeds for run in runs)
    total = config.total.times(kept / config.open_runs) if config.total else None
    return config.model_copy(update={"open_runs": kept, "total": total})
