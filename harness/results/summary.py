"""The table of runs -> a row a config and system: the means and intervals that every report shows."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.records.comparable import compares_with, is_of_device, is_of_time
from harness.results.columns import MEASURED, Column, extra_columns, fields
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

    table = plain_columns(frame)
    groups: dict[tuple[str, ...], list[int]] = {}
    for at, key in enumerate(zip(table["suite"], table["system_id"], table["config_id"], strict=True)):
        groups.setdefault(key, []).append(at)
    differing = [
        name
        for name, values in table.items()
        if name.startswith("spec.") and is_identity(name.removeprefix("spec.")) and len(set(values) - {None}) > 1
    ]
    rows = []
    for (suite, system_id, config_id), own in groups.items():
        ended = [table["status"][at] for at in own]
        latest = max(own, key=lambda at: table["ended_at"][at])
        row: dict[str, Any] = {"suite": suite, "system_id": system_id, "config_id": config_id}
        row |= {"system": table["system"][latest] if "system" in table else system_id, "label": table["label"][latest]}
        row |= {"runs_ok": ended.count("ok"), "runs": count_statuses(ended)}
        row |= {name.removeprefix("spec."): table[name][latest] for name in differing}
        ok = [at for at in own if table["status"][at] == "ok"]
        arrived = table.get("target.train_seconds")
        some_late = not arrived or any(arrived[at] is None for at in ok)  # marked ones, too
        for column, numbers in numbers_of(table, ok, with_resumed=with_resumed):
            missed = column.metric.startswith("target.") and ("diverged" in ended or some_late)
            # The mean of those that arrived leaves out the slow.
            row |= fields(column, over_seeds(column, [] if missed else numbers))
        rows.append(row)
    return pandas.DataFrame(rows)


def numbers_of(
    table: Mapping[str, Sequence[Any]], ok: Sequence[int], *, with_resumed: bool
) -> Iterator[tuple[Column, list[float | None]]]:
    """Yields each column that summarises a number of the runs, with the number of each run that it is taken from.

    Args:
        table: of runs, by column.
        ok: the places there of a config's runs that ended ok.
    """
    marked = [(at, table["marks"][at].split(", ") if table["marks"][at] else ()) for at in ok]
    counted: dict[tuple[bool, bool, bool], list[int]] = {}  # there are fifty columns, and four answers
    for column in (*MEASURED, *extra_columns(table)):
        if not column.metric:
            continue
        kind = is_of_time(column.metric), is_of_device(column.metric), column.metric.startswith("inference")
        if kind not in counted:
            counted[kind] = [at for at, own in marked if compares_with(own, column.metric, with_resumed=with_resumed)]
        values = table.get(run_column(column.metric))
        yield column, [values[at] for at in counted[kind]] if values else [None] * len(counted[kind])


def over_seeds(column: Column, numbers: Sequence[float | None]) -> Any:
    """Returns what a table has in a column of these numbers, a run each; None where none was measured."""
    if column.over == "max":
        return max((int(value) for value in numbers if value is not None), default=None)
    return summarise(numbers)


@functools.cache
def run_column(metric: str) -> str:
    """Returns where the table of runs has a metric, e.g. `metrics.test.accuracy` for `test.accuracy`."""
    head = metric.partition(".")[0]
    return f"metrics.{metric}" if head in ("train", "validation", "test") else metric


def plain_columns(frame: pandas.DataFrame) -> dict[str, list[Any]]:
    """Returns the runs by column, null as None; without anchors, which repeat a run and are no sample.

    Raises:
        HarnessError: a column is missing that tells which run is which, or whether its times count.
    """
    if missing := [name for name in _NEEDED if name not in frame]:
        message = f"the table of runs lacks {', '.join(missing)}"
        raise HarnessError(message, "pass a table of harness.read_results with all its columns; rows may be left out")
    table = {
        str(name): [None if null else value for value, null in zip(frame[name], frame[name].isna(), strict=True)]
        for name in frame
    }
    runs = zip(table["suite"], table["run_id"], table["system_id"], strict=True)
    once = {run: at for at, run in enumerate(runs)}.values()  # a run that stands twice is one
    kept = [at for at in once if not table["spec.repeat"][at]]
    return {name: [values[at] for at in kept] for name, values in table.items()}
