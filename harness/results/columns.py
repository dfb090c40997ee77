"""The columns that every table has, declared once. docs/columns.md defines each of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.metric import FRACTION
from harness.statistics.intervals import CensoredMedian, Summary

Kind = Literal[
    "text",
    "flag",
    "number",
    "count",
    "percent",
    "probability",
    "seconds",
    "milliseconds",
    "per_second",
    "bytes",
    "joules",
    "watts",
]


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        name: in the machine-readable files, with the unit; a summarised one adds `_mean` (and `_ci95`, `_n`).
        title: in the tables that people read.
        metric: the number of a run that it summarises, as `harness.records.result.metric` names it.
        over: what is taken over the seeds; "row" where a row has one value anyway.
        best: which end comes first when a table is sorted by it.
        priority: a narrow table keeps the smallest; None is only in the files.
    """

    name: str
    title: str
    kind: Kind = "text"
    metric: str = ""
    over: Literal["row", "mean", "mean and interval", "max", "censored median"] = "row"
    best: Literal["high", "low"] = "low"
    priority: int | None = None
    signed: bool = False


# By the end of a number's name: its unit, how it is written, and which values are better.
_MEASURES: dict[str, tuple[str, Kind, Literal["higher", "lower", ""]]] = {
    "samples_per_second": ("images/s", "per_second", "higher"),
    "latency_seconds": ("s", "milliseconds", "lower"),
    "latency_p99_seconds": ("s", "milliseconds", "lower"),
    "seconds": ("s", "seconds", "lower"),
    "bytes": ("bytes", "bytes", "lower"),
    "joules": ("J", "joules", "lower"),
    "joules_per_epoch": ("J", "joules", "lower"),
    "watts": ("W", "watts", ""),
    "hertz": ("Hz", "number", ""),
    "celsius": ("°C", "number", ""),
    "accuracy": ("fraction", "percent", "higher"),
    "recall": ("fraction", "percent", "higher"),
    "share": ("fraction", "percent", ""),
    "utilization": ("fraction", "percent", ""),
    "loss": ("nats", "number", "lower"),
    "batch_size": ("", "count", ""),
}


def measure_of(name: str) -> tuple[str, Kind, Literal["higher", "lower", ""]]:
    """Returns the unit of a number, how it is written and which values are better, as its name ends."""
    last = name.rpartition(".")[2]
    return next((one for end, one in _MEASURES.items() if last == end or last.endswith(f"_{end}")), ("", "number", ""))


def _summarised(name: str, title: str, metric: str, priority: int | None = None, **more: Any) -> Column:
    """Returns the column of a number of the runs; of its mean, unless `over` says otherwise."""
    _, kind, better = measure_of(metric)
    own = {"over": "mean", "best": "high" if better == "higher" else "low", **more}
    return Column(name, title, kind, metric, priority=priority, **own)


INTERVAL: Literal["mean and interval"] = "mean and interval"
MEDIAN: Literal["censored median"] = "censored median"
AT_BUDGET = "accuracy_at_budget"

IDENTITY = (
    Column("system_id", "system"),
    Column("system", "system"),
    Column("config_id", "config"),
    Column("on_front", "", "flag", best="high", priority=0),
    Column("label", "config", priority=0),
)
RUNS = (
    Column("runs_ok", "ok", "count", best="high"),
    Column("runs", "runs", priority=3),
    Column("rankable", "rankable", "flag", best="high"),
)
MEASURED = (
    _summarised("test_accuracy", "test accuracy", "test.accuracy", 1, over=INTERVAL),
    Column("test_accuracy_sd", "sd of test accuracy", "percent", priority=60),
    _summarised("train_seconds", "train time", "clock.train_seconds", 2, over=INTERVAL),
    Column("train_seconds_sd", "sd of train time", "seconds", priority=61),
    Column("front_probability", "on the front", "probability", best="high", priority=4),
    Column("energy_front_probability", "on the front of energy", "probability", best="high", priority=41),
    Column("memory_front_probability", "on the front of memory", "probability", best="high", priority=42),
    Column("latency_front_probability", "on the front of latency", "probability", best="high", priority=43),
    Column("collapsed", "collapsed", priority=10),
    Column("collapsed_runs", "collapsed", "count"),
    Column("collapsed_share_at_most", "collapsed, at most", "percent"),
    Column("guessing_accuracy", "guessing the largest class", "percent", best="high"),
    _summarised("target_seconds", "time to target, mean", "target.train_seconds", 8, over=INTERVAL),
    _summarised("joules_to_target", "GPU energy to target", "target.train_joules", 30),
    Column("target_median_seconds", "time to target, median", "seconds", over=MEDIAN, priority=7),
    Column("target_with_evaluation_seconds", "with evaluation, median", "seconds", over=MEDIAN, priority=43),
    Column("target_reached", "target reached", priority=6),
    Column("target_reached_runs", "target reached", "count", best="high"),
    Column("target_reached_share", "share that reached the target", "percent", best="high"),
    Column(AT_BUDGET, "test accuracy at the budget", "percent", over=INTERVAL, best="high", priority=5),
    Column("budget_seconds", "budget", "seconds"),
    Column("evaluated_by_budget", "evaluated by then", priority=9),
    _summarised("train_accuracy", "train accuracy", "train.accuracy", 32),
    _summarised("validation_accuracy", "validation accuracy", "validation.accuracy", 31),
    _summarised("test_top5_accuracy", "test top-5", "test.top5_accuracy", 24),
    _summarised("test_macro_recall", "test macro recall", "test.macro_recall", 3),
    _summarised("test_loss", "test loss", "test.loss", 33),
    _summarised(
        "selected_on_validation_test_accuracy",
        "test accuracy, selected on validation",
        "selected.validation.test.accuracy",
        23,
        over=INTERVAL,
    ),
    _summarised(
        "selected_on_test_test_accuracy",
        "test accuracy, selected on test",
        "selected.test.test.accuracy",
        50,
        over=INTERVAL,
    ),
    Column("overfitting", "overfitting?", priority=38),
    Column("accuracy_gap", "train - test accuracy", "percent", over=INTERVAL, signed=True),
    _summarised("samples_per_second", "samples/s", "throughput.samples_per_second", 20),
    Column("fraction_of_peak", "of peak", "percent", over="mean", best="high", priority=30),
    _summarised("data_wait_share", "waited for data", "throughput.data_wait_share", 25),
    _summarised("eval_seconds", "eval time", "clock.eval_seconds", 35),
    _summarised("build_seconds", "build time", "clock.build_seconds"),
    _summarised("compile_seconds", "compile time", "clock.compile_seconds", 37),
    _summarised("speedrun_seconds", "speedrun's time", "clock.speedrun_seconds"),
    _summarised("total_seconds", "total time", "clock.total_seconds", 36),
    _summarised(
        "peak_device_allocated_bytes", "peak GPU memory, allocated", "memory.max_allocated_bytes", 21, over="max"
    ),
    _summarised("peak_device_process_bytes", "peak GPU memory, process", "memory.process_device_bytes", 26, over="max"),
    _summarised("peak_host_rss_bytes", "peak host memory", "memory.host_rss_bytes", 27, over="max"),
    _summarised("peak_host_tree_rss_bytes", "peak host memory, all", "memory.host_tree_rss_bytes", over="max"),
    _summarised("host_cpu_share", "CPU busy", "telemetry.host_cpu_share"),
    _summarised("train_joules", "GPU energy", "energy.train_joules", 28),
    _summarised("joules_per_epoch", "GPU energy per epoch", "energy.joules_per_epoch", 39),
    _summarised("gpu_power_watts", "GPU power", "telemetry.gpu_power_watts", 40),
    _summarised("gpu_utilization", "GPU busy", "telemetry.gpu_utilization", 41, best="high"),
    _summarised("host_joules", "CPU energy, whole machine", "energy.host_joules", 42),
    _summarised("latency_seconds", "latency", "inference.latency_seconds", 14, over=INTERVAL),
    _summarised("latency_p99_seconds", "latency, 99th percentile", "inference.latency_p99_seconds", 16),
    _summarised("inference_samples_per_second", "images/s in use", "inference.samples_per_second", 15),
    _summarised("inference_batch_size", "fastest batch in use", "inference.batch_size", 17, over="max"),
    Column("parameters", "parameters", "count", priority=22),
    Column("multiply_accumulates", "multiply-accumulates", "count", priority=29),
)
# What ran where the suite said `auto`, or left it to the launch: (column, title, path of what was asked).
RAN = (
    ("resolved.mixed_precision", "mixed precision that ran", "train.mixed_precision"),
    ("resolved.loader", "loader that ran", "loader.name"),
    ("num_processes", "processes", "train.num_processes"),
)
RAN_PRIORITY = 11
CONFIG_PRIORITY = 12
EXTRA_PRIORITY = 13
EXTRA, EXTRA_DECLARES = "extra_metrics.", ("unit", "title", "better")


def extra_columns(table: Mapping[str, Sequence[Any]]) -> Iterator[Column]:
    """Yields a column for each metric of a plug-in that a run has, as its record declares it.

    Args:
        table: of runs, by column, null as None.
    """
    for name in (name for name in table if name.startswith(EXTRA) and name.endswith(".value")):
        metric = name.removesuffix(".value")
        declared = {key: next(filter(None, table.get(f"{metric}.{key}", ())), "") for key in EXTRA_DECLARES}
        yield extra_column(metric.removeprefix(EXTRA), **declared)


def extra_column(name: str, unit: str, title: str, better: str) -> Column:
    """Returns the column of a metric of a plug-in."""
    return Column(
        f"test_{name}",
        f"{title} ({unit})" if unit not in ("", FRACTION) else title,
        "percent" if unit == FRACTION else "number",
        f"{EXTRA}{name}.value",
        INTERVAL,
        "high" if better == "higher" else "low",
        EXTRA_PRIORITY,
    )


def fields(column: Column, value: Any = None) -> dict[str, Any]:
    """Returns a row's value in a column, by the names that it has in the machine-readable files."""
    name, known = column.name, value is not None
    if column.over == "mean":
        return {f"{name}_mean": value.mean if known else None}
    if column.over == INTERVAL:
        mean, ci95, n = (value.mean, value.ci95, value.n) if known else (None, None, None)
        return {f"{name}_mean": mean, f"{name}_ci95": ci95, f"{name}_n": n}
    if column.over == MEDIAN:
        seconds, above = (value.seconds, value.above) if known else (None, None)
        return {name: seconds, f"{name.removesuffix('_seconds')}_above_seconds": above}
    return {name: value}


def number(value: Any) -> Any:
    """Returns what a column is sorted by: a summary's mean, or the value; a time too late to be known is infinite."""
    if isinstance(value, CensoredMedian):
        return math.inf if value.seconds is None else value.seconds
    return value.mean if isinstance(value, Summary) else value


def sortable(columns: Iterable[Column]) -> dict[str, Column]:
    """Returns the names that a table can be sorted by; `test_accuracy` and `test_accuracy_mean` are the same."""
    return {name: column for column in columns for name in (column.name, next(iter(fields(column))))}
