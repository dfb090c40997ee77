"""One row per config and system, from the results of its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.records.calibration import Calibration
from harness.records.comparable import compares, is_of_device, is_of_time
from harness.records.result import RunResult, metric
from harness.report.numbers.differences import at, config_columns_of, plain
from harness.report.numbers.peak import fraction_of_peak
from harness.results import columns as declared
from harness.results.columns import Column
from harness.results.measured import count_by_status
from harness.statistics.intervals import summarise


@dataclass(frozen=True)
class Row:
    """A config on a system: its runs in the order of their seeds, and a value for every column.

    A value is a `Summary`, a plain number or text, or None where there is nothing to say.
    """

    system_id: str
    config_id: str
    label: str
    runs: tuple[RunResult, ...]
    values: dict[str, Any]
    with_resumed: bool = False

    @property
    def ok(self) -> list[RunResult]:
        """The runs that numbers are taken from."""
        return [run for run in self.runs if run.status == "ok"]

    def ok_for(self, metric_name: str) -> list[RunResult]:
        """Returns the runs that a number is taken from: those whose number compares with that of others."""
        return [run for run in self.ok if compares(run, metric_name, with_resumed=self.with_resumed)]

    @property
    def ranked(self) -> bool:
        """Whether the row may be compared with others: it has a result, on data that mean something."""
        return bool(self.values["rankable"]) and self.values["test_accuracy"] is not None


def build_rows(
    results: Iterable[RunResult],
    systems: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, str],
    *,
    with_resumed: bool = False,
    calibrations: Mapping[str, Calibration] | None = None,
) -> tuple[list[Column], list[Row]]:
    """Returns the columns and the rows, in the order in which the configs were met.

    Args:
        labels: by config_id; a config that is not in it keeps the label of its latest run.
        with_resumed: times of runs that went on from a checkpoint count too.
        calibrations: by system_id.
    """
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        groups.setdefault((result.system_id, result.config_id), []).append(result)
    specs = {config_id: runs[0].spec for (_, config_id), runs in groups.items()}
    config_columns = config_columns_of(list(specs.values()))

    latest_runs = {key: max(runs, key=lambda run: run.ended_at) for key, runs in groups.items()}
    shown = {key: labels.get(key[1]) or run.label or key[1] for key, run in latest_runs.items()}
    configs_with = Counter((system_id, shown[system_id, config_id]) for system_id, config_id in groups)

    rows: list[Row] = []
    for key, unsorted in groups.items():
        system_id, config_id = key
        runs = tuple(sorted(unsorted, key=lambda run: (run.seed, run.started_at)))
        latest, label = latest_runs[key], shown[key]
        if configs_with[system_id, label] > 1:
            label = f"{label} ({config_id})"
        row = Row(system_id, config_id, label, runs, {}, with_resumed)
        row.values.update(
            system_id=system_id,
            system=systems.get(system_id, {}).get("name") or system_id,
            config_id=config_id,
            label=label,
            runs_ok=len(row.ok),
            runs=count_by_status(runs),
            rankable=all(run.data.rankable for run in runs if run.data) if any(run.data for run in runs) else None,
        )
        row.values.update({column.name: plain(at(latest.spec, column.name)) for column in config_columns})
        row.values.update(_measured(row))
        calibration = (calibrations or {}).get(system_id)
        timed = row.ok_for("throughput.samples_per_second")
        row.values["fraction_of_peak"] = fraction_of_peak(timed, calibration)
        row.values.update({name: ran(runs, name) for name, _, _ in declared.RAN})
        rows.append(row)
    ran_columns = [
        Column(name, title, priority=declared.RAN_PRIORITY)
        for name, title, asked in declared.RAN
        if _worth_a_column(rows, name, asked)
    ]
    return [*declared.IDENTITY, *config_columns, *ran_columns, *declared.RUNS, *declared.MEASURED], rows


def ran(runs: Iterable[RunResult], name: str) -> str | int | None:
    """Returns one of the columns of `RAN`; where runs differ, all values in one text."""
    found = [getattr(run.resolved, name.partition(".")[2], None) if "." in name else run.num_processes for run in runs]
    distinct = list(dict.fromkeys(value for value in found if value is not None))
    return distinct[0] if len(distinct) == 1 else ", ".join(map(str, distinct)) or None


def _measured(row: Row) -> dict[str, Any]:
    ok = row.ok
    values: dict[str, Any] = {}
    counted: dict[tuple[bool, bool], list[RunResult]] = {}  # there are fifty columns, and three answers
    for column in declared.MEASURED:
        kind = is_of_time(column.metric), is_of_device(column.metric)
        if kind not in counted:
            counted[kind] = row.ok_for(column.metric)
        numbers = [_number(run, column.metric) for run in counted[kind]]
        if column.over == "max":
            values[column.name] = max((int(value) for value in numbers if value is not None), default=None)
        elif column.metric:
            values[column.name] = summarise(numbers)
    for name in ("test_accuracy", "train_seconds"):
        values[f"{name}_sd"] = values[name].sd if values[name] else None
    model = next((run.model for run in ok if run.model), None)
    values["parameters"] = model.parameters if model else None
    values["multiply_accumulates"] = model.multiply_accumulates if model else None
    return values


def _number(run: RunResult, name: str) -> float | None:
    head, _, split = name.partition(".")
    if head == "selected":
        return next((choice.test.accuracy for choice in run.selected if choice.selected_on == split), None)
    return metric(run, name)


def _worth_a_column(rows: list[Row], name: str, asked: str) -> bool:
    pairs = [(at(row.runs[0].spec, asked), row.values[name]) for row in rows if row.values[name] is not None]
    if all(wanted == got for wanted, got in pairs):
        return False  # the config's own column says it, if they differ
    left_open = all(wanted is None for wanted, _ in pairs)
    return not left_open or len({str(got) for _, got in pairs}) > 1
