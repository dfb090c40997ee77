"""The table of runs -> a row a config and system: the means and intervals that every report shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.records.comparable import compares_with
from harness.results.columns import INTERVAL, MEASURED, Column, field_values, fields
from harness.results.measured import count_statuses
from harness.spec import is_identity
from harness.statistics.intervals import summarise

if TYPE_CHECKING:
    import pandas


_NEEDED = ("suite", "label", "run_id", "config_id", "system_id", "seed", "status", "marks", "ended_at", "spec.repeat")


def summarize(frame: pandas.DataFrame, *, with_resumed: bool = False) -> pandas.DataFrame:
    """Returns a row a config and system, with the columns of `table.csv` that are means over seeds.

    Only runs that ended ok enter a number; anchors enter none, and marked runs no number of time. `…_mean` is over the
    seeds, `…_ci95` half of its 95 % Student-t interval, `…_n` how many runs it is of; docs/columns.md has all of them.
    Columns of the config, such as `train.epochs`, are those in which the configs differ.

    Args:
        frame: from `harness.read_results`, or a part of it.
        with_resumed: times of runs that went on from a checkpoint count too.
    """
    import pandas

    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in plain_rows(frame):
        groups.setdefault((run["suite"], run["system_id"], run["config_id"]), []).append(run)
    differing = list(_differing([run for own in groups.values() for run in own]))
    rows = []
    for (suite, system_id, config_id), own in groups.items():
        ok = [run for run in own if run["status"] == "ok"]
        latest = max(own, key=lambda run: run["ended_at"])
        row: dict[str, Any] = {"suite": suite, "system_id": system_id, "config_id": config_id}
        row |= {"system": latest.get("system", system_id), "label": latest["label"]}
        row |= {"runs_ok": len(ok), "runs": count_statuses(run["status"] for run in own)}
        row |= {name.removeprefix("spec."): latest[name] for name in differing}
        for column in MEASURED:
            if column.metric and column.over in ("mean", INTERVAL, "max"):
                row.update(zip(fields(column), _over_seeds(own, column, with_resumed=with_resumed), strict=True))
        rows.append(row)
    return pandas.DataFrame(rows)


def _over_seeds(own: Sequence[Mapping[str, Any]], column: Column, *, with_resumed: bool) -> list[Any]:
    """Returns what a config's runs that ended ok have in a column of the table, under `fields(column)`."""
    metric, ok = column.metric, [run for run in own if run["status"] == "ok"]
    counted = [run for run in ok if compares_with(marks_of(run), metric, with_resumed=with_resumed)]
    numbers = [run.get(run_column(metric)) for run in counted]
    missed = None in numbers or any(run["status"] == "diverged" for run in own)
    if metric.startswith("target.") and missed:
        numbers = []  # the mean of those that arrived leaves out the slow
    if column.over == "max":
        return [max((int(value) for value in numbers if value is not None), default=None)]
    return field_values(column, summarise(numbers))


def run_column(metric: str) -> str:
    """Returns where the table of runs has a metric, e.g. `metrics.test.accuracy` for `test.accuracy`."""
    head, _, rest = metric.partition(".")
    if head == "selected":
        return f"selected.{rest}.test.accuracy"
    return f"metrics.{metric}" if head in ("train", "validation", "test") else metric


def _differing(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the columns of the config that have several values."""
    for name in runs[0] if runs else ():
        own = name.startswith("spec.") and is_identity(name.removeprefix("spec."))
        if own and len({run[name] for run in runs} - {None}) > 1:
            yield name


def marks_of(run: Mapping[str, Any]) -> list[str]:
    """Returns the names of a run's marks, see `harness.records.comparable`."""
    return run["marks"].split(", ") if run["marks"] else []


def plain_rows(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    """Returns the runs as mappings by column, null as None; without anchors, which repeat a run and are no sample.

    Raises:
        HarnessError: a column is missing that tells which run is which, or whether its times count.
    """
    if missing := [name for name in _NEEDED if name not in frame]:
        message = f"the table of runs lacks {', '.join(missing)}"
        raise HarnessError(message, "take it from harness.read_results, and choose rows of it rather than columns")
    columns = {
        str(name): [None if null else value for value, null in zip(frame[name], frame[name].isna(), strict=True)]
        for name in frame
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    runs = {(row["suite"], row["run_id"], row["system_id"]): row for row in rows}  # a run that stands twice is one
    return [row for row in runs.values() if not row["spec.repeat"]]
