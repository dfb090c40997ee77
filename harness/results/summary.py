"""The table of runs -> a row a config and system: the means and intervals that every report shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.records.comparable import compares_with
from harness.results.columns import INTERVAL, MEASURED, Column, field_values, fields
from harness.statistics.intervals import summarise

if TYPE_CHECKING:
    import pandas

_SAME_FOR_ALL_SEEDS = ("seed", "repeat", "label")


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

    anchors = frame.get("spec.repeat")
    runs = frame if anchors is None else frame[~(anchors.fillna(0).astype(int) > 0).to_numpy(bool)]
    differing = list(_differing(runs))
    rows = []
    for key, own in runs.groupby(["suite", "system_id", "config_id"], sort=False):
        suite, system_id, config_id = key
        ok = own[(own["status"] == "ok").to_numpy(bool)]
        latest = own.sort_values("ended_at").iloc[-1]
        counts = own["status"].value_counts()
        row: dict[str, Any] = {"suite": suite, "system_id": system_id, "config_id": config_id}
        row |= {"system": latest.get("system", system_id), "label": latest["label"]}
        row |= {"runs_ok": len(ok), "runs": ", ".join(f"{counts[one]} {one}" for one in _ok_first(counts.index))}
        row |= {name.removeprefix("spec."): latest[name] for name in differing}
        for column in MEASURED:
            if column.metric and column.over in ("mean", INTERVAL, "max"):
                row.update(zip(fields(column), _over_seeds(ok, column, with_resumed=with_resumed), strict=True))
        rows.append(row)
    return pandas.DataFrame(rows)


def _over_seeds(ok: pandas.DataFrame, column: Column, *, with_resumed: bool) -> list[Any]:
    """Returns what a config's runs that ended ok have in a column of the table, under `fields(column)`."""
    name = run_column(column.metric)
    if name not in ok:
        return [None] * len(fields(column))
    marked = [text.split(", ") if isinstance(text, str) else [] for text in ok["marks"]]
    counts = [compares_with(names, column.metric, with_resumed=with_resumed) for names in marked]
    numbers = [float(value) for value in ok.loc[counts, name].dropna()]
    if column.over == "max":
        return [int(max(numbers)) if numbers else None]
    return field_values(column, summarise(numbers))


def run_column(metric: str) -> str:
    """Returns where the table of runs has a metric, e.g. `metrics.test.accuracy` for `test.accuracy`."""
    head, _, rest = metric.partition(".")
    if head == "selected":
        return f"selected.{rest}.test.accuracy"
    return f"metrics.{metric}" if head in ("train", "validation", "test") else metric


def _ok_first(statuses: Any) -> list[str]:
    return sorted(statuses, key=lambda status: (status != "ok", status))


def _differing(runs: pandas.DataFrame) -> Iterator[str]:
    """Yields the columns of the config that have several values."""
    for name in runs.columns:
        path = str(name).removeprefix("spec.")
        if path != name and path not in _SAME_FOR_ALL_SEEDS and runs[name].nunique() > 1:
            yield str(name)
