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
    Column("test_accuracy", "test accuracy", "percent", "test.accuracy", INTERVAL, "high", 1),
    Column("test_accuracy_sd", "sd of test accuracy", "percent", priority=60),
    Column("train_seconds", "train time", "seconds", "clock.train_seconds", INTERVAL, "low", 2),
    Column("train_seconds_sd", "sd of train time", "seconds", priority=61),
    Column("front_probability", "on the front", "probability", best="high", priority=4),
    Column("energy_front_probability", "on the front of energy", "probability", best="high", priority=41),
    Column("memory_front_probability", "on the front of memory", "probability", best="high", priority=42),
    Column("latency_front_probability", "on the front of latency", "probability", best="high", priority=43),
    Column("collapsed", "collapsed", priority=10),
    Column("collapsed_runs", "collapsed", "count"),
    Column("collapsed_share_at_most", "collapsed, at most", "percent"),
    Column("guessing_accuracy", "guessing the largest class", "percent", best="high"),
    Column("target_seconds", "time to target, mean", "seconds", "target.train_seconds", INTERVAL, priority=8),
    Column("joules_to_target", "GPU energy to target", "joules", "target.train_joules", "mean", "low", 30),
    Column("target_median_seconds", "time to target, median", "seconds", over=MEDIAN, priority=7),
    Column("target_with_evaluation_seconds", "with evaluation, median", "seconds", over=MEDIAN, priority=43),
    Column("target_reached", "target reached", priority=6),
    Column("target_reached_runs", "target reached", "count", best="high"),
    Column("target_reached_share", "share that reached the target", "percent", best="high"),
    Column(AT_BUDGET, "test accuracy at the budget", "percent", over=INTERVAL, best="high", priority=5),
    Column("budget_seconds", "budget", "seconds"),
    Column("evaluated_by_budget", "evaluated by then", priority=9),
    Column("train_accuracy", "train accuracy", "percent", "train.accuracy", "mean", "high", 32),
    Column("validation_accuracy", "validation accuracy", "percent", "validation.accuracy", "mean", "high", 31),
    Column("test_top5_accuracy", "test top-5", "percent", "test.top5_accuracy", "mean", "high", 24),
    Column("test_macro_recall", "test macro recall", "percent", "test.macro_recall", "mean", "high", 3),
    Column("test_loss", "test loss", "number", "test.loss", "mean", "low", 33),
    Column(
        "selected_on_validation_test_accuracy",
        "test accuracy, selected on validation",
        "percent",
        "selected.validation",
        INTERVAL,
        "high",
        23,
    ),
    Column(
        "selected_on_test_test_accuracy",
        "test accuracy, selected on test",
        "percent",
        "selected.test",
        INTERVAL,
        "high",
        50,
    ),
    Column("overfitting", "overfitting?", priority=38),
    Column("accuracy_gap", "train - test accuracy", "percent", over=INTERVAL, signed=True),
    Column("samples_per_second", "samples/s", "per_second", "throughput.samples_per_second", "mean", "high", 20),
    Column("fraction_of_peak", "of peak", "percent", over="mean", best="high", priority=30),
    Column("data_wait_share", "waited for data", "percent", "throughput.data_wait_share", "mean", "low", 25),
    Column("eval_seconds", "eval time", "seconds", "clock.eval_seconds", "mean", "low", 35),
    Column("build_seconds", "build time", "seconds", "clock.build_seconds", "mean", "low"),
    Column("compile_seconds", "compile time", "seconds", "clock.compile_seconds", "mean", "low", 37),
    Column("speedrun_seconds", "speedrun's time", "seconds", "clock.speedrun_seconds", "mean", "low"),
    Column("total_seconds", "total time", "seconds", "clock.total_seconds", "mean", "low", 36),
    Column(
        "peak_device_allocated_bytes",
        "peak GPU memory, allocated",
        "bytes",
        "memory.max_allocated_bytes",
        "max",
        "low",
        21,
    ),
    Column(
        "peak_device_process_bytes",
        "peak GPU memory, process",
        "bytes",
        "memory.process_device_bytes",
        "max",
        "low",
        26,
    ),
    Column("peak_host_rss_bytes", "peak host memory", "bytes", "memory.host_rss_bytes", "max", "low", 27),
    Column("peak_host_tree_rss_bytes", "peak host memory, all", "bytes", "memory.host_tree_rss_bytes", "max", "low"),
    Column("host_cpu_share", "CPU busy", "percent", "telemetry.host_cpu_share", "mean", "low"),
    Column("train_joules", "GPU energy", "joules", "energy.train_joules", "mean", "low", 28),
    Column("joules_per_epoch", "GPU energy per epoch", "joules", "energy.joules_per_epoch", "mean", "low", 39),
    Column("gpu_power_watts", "GPU power", "watts", "telemetry.gpu_power_watts", "mean", "low", 40),
    Column("gpu_utilization", "GPU busy", "percent", "telemetry.gpu_utilization", "mean", "high", 41),
    Column("host_joules", "CPU energy, whole machine", "joules", "energy.host_joules", "mean", "low", 42),
    Column("latency_seconds", "latency", "milliseconds", "inference.latency_seconds", INTERVAL, "low", 14),
    Column(
        "latency_p99_seconds",
        "latency, 99th percentile",
        "milliseconds",
        "inference.latency_p99_seconds",
        "mean",
        "low",
        16,
    ),
    Column(
        "inference_samples_per_second",
        "images/s in use",
        "per_second",
        "inference.samples_per_second",
        "mean",
        "high",
        15,
    ),
    Column("inference_batch_size", "fastest batch in use", "count", "inference.batch_size", "max", "low", 17),
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


def kind_of(metric: str) -> Kind:
    """Returns how a metric is shown, from the unit in its name."""
    kinds: dict[str, Kind] = {
        "samples_per_second": "per_second",
        "_seconds": "seconds",
        "_bytes": "bytes",
        "_joules": "joules",
        "joules_per_epoch": "joules",
        "accuracy": "percent",
        "recall": "percent",
        "share": "percent",
    }
    found: list[Kind] = [kind for ending, kind in kinds.items() if metric.endswith(ending)]
    return found[0] if found else "number"


def fields(column: Column) -> list[str]:
    """Returns the names that a column has in the machine-readable files."""
    if column.over == "mean":
        return [f"{column.name}_mean"]
    if column.over == INTERVAL:
        return [f"{column.name}_mean", f"{column.name}_ci95", f"{column.name}_n"]
    if column.over == MEDIAN:
        return [column.name, f"{column.name.removesuffix('_seconds')}_above_seconds"]
    return [column.name]


def field_values(column: Column, value: Any) -> list[Any]:
    """Returns a row's values under `fields(column)`."""
    if column.over == "mean":
        return [value.mean if value else None]
    if column.over == INTERVAL:
        return [value.mean, value.ci95, value.n] if value else [None, None, None]
    if column.over == MEDIAN:
        return [value.seconds, value.above] if value else [None, None]
    return [value]


def number(value: Any) -> Any:
    """Returns what a column is sorted by: a summary's mean, or the value; a time too late to be known is infinite."""
    if isinstance(value, CensoredMedian):
        return math.inf if value.seconds is None else value.seconds
    return value.mean if isinstance(value, Summary) else value


def sortable(columns: Iterable[Column]) -> dict[str, Column]:
    """Returns the names that a table can be sorted by; `test_accuracy` and `test_accuracy_mean` are the same."""
    return {name: column for column in columns for name in (column.name, fields(column)[0])}
