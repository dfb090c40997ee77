"""One table of all calibrated systems: train times as they would be on one of them, each with its error."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import HarnessError, nearest
from harness.records.calibration import Calibration
from harness.report.numbers.peak import precision_of
from harness.report.numbers.rows import Row
from harness.report.texts import NOTHING, Beside, Written, column_texts, listed, one_line, span
from harness.results import columns as declared
from harness.results.columns import Column
from harness.statistics.intervals import Summary, summarise, t_quantile

if TYPE_CHECKING:
    from harness.report.tables import Report, Table

NORMALISED = Column("normalised_train_seconds", "normalised train time", "seconds")
_ACCURACY = next(column for column in declared.MEASURED if column.name == "test_accuracy")
_OF_TIME = ("seconds", "per_second", "joules")
NO_COMMON_RANKING = "run times of different systems share no ranking"
# What the speed of a system is taken from, each with the same weight: a matrix product, and layers of our networks.
MIX = ("matmul", "conv_resnet18_stem", "conv_resnet18", "conv_cnn3", "conv_vgg")


class Speed(NamedTuple):
    """A system's speed over the reference system's.

    Attributes:
        ratio: geometric mean over the mix; above 1 where the system is the faster one.
        log_error: half of the 95 % interval of the ratio's logarithm, for one more operation of the kind.
    """

    ratio: float
    log_error: float


def relative_speed(own: Calibration, reference: Calibration, precision: str) -> Speed | None:
    """Returns the speed in a precision, or None where one of the two was not calibrated in it.

    The error has two parts, added in squares. Each rate is known as well as its rounds repeat (`relative_error`). And
    no single number tells how much faster one system is than another: the operations of the mix disagree, and a network
    is one more such operation. So it is a prediction interval: t(0.975, k-1) sd sqrt(1 + 1/k) over the logarithms of
    the k ratios.
    """
    if own.system_id == reference.system_id:
        return Speed(1.0, 0.0) if all(own.rate(f"{name}.{precision}") for name in MIX) else None
    logs: list[float] = []
    variance = 0.0
    for name in MIX:
        rate, other = own.rate(f"{name}.{precision}"), reference.rate(f"{name}.{precision}")
        if rate is None or other is None:
            return None
        logs.append(math.log(rate.median / other.median))
        variance += rate.relative_error**2 + other.relative_error**2
    of_rounds = t_quantile(math.inf) * math.sqrt(variance) / len(MIX)
    of_mix = t_quantile(len(MIX) - 1) * statistics.stdev(logs) * math.sqrt(1 + 1 / len(MIX))
    return Speed(math.exp(statistics.fmean(logs)), math.hypot(of_rounds, of_mix))


def require_no_ranking_of_raw_times(sort: str, relative_to: str, *, normalised: bool) -> None:
    """Refuses options that ask for one ranking of times of several systems as they were taken.

    Raises:
        HarnessError: they do.
    """
    if not normalised and (relative_to or sort == NORMALISED.name):
        option = f"--relative-to {relative_to}" if relative_to else f"--sort {sort}"
        raise HarnessError(f"{option}: {NO_COMMON_RANKING} as they were taken", "add --normalised, after `calibrate`")
    column = declared.sortable(declared.MEASURED).get(sort)
    if normalised and column and column.kind in _OF_TIME:
        message = f"--sort {sort} with --normalised: {NO_COMMON_RANKING} as they were taken"
        raise HarnessError(message, f"--sort {NORMALISED.name}, or leave out --normalised")


def normalised_table(report: Report, relative_to: str, sort: str) -> Beside | None:
    """Returns the table, or None for a suite without results.

    Args:
        report: of all systems.
        relative_to: name or id of the system whose times are given; empty for the first.
        sort: a column's name.

    Raises:
        HarnessError: a system was not calibrated, or `relative_to` is none of them.
    """
    if not report.tables:
        return None
    for table in report.tables:
        if table.calibration is None:
            message = f"--normalised: {table.system} ({table.system_id}) was not calibrated"
            raise HarnessError(message, "run `harness calibrate` on it, with the same --output")
    reference = _reference(report.tables, relative_to)
    found = [(row, _record(row, table, reference)) for table in report.tables for row in table.rows]
    column = declared.sortable(report.tables[0].columns).get(sort)

    def place(one: tuple[Row, dict[str, Any]]) -> tuple[Any, ...]:
        row, record = one
        seconds = record[NORMALISED.name]
        group = 2 if seconds is None else 0 if row.ranked else 1
        return group, *(row.place_by(column) if column else (seconds or 0.0, row.label))

    found.sort(key=place)
    records = [record for _, record in found]
    names = {table.system_id: table.system for table in report.tables}
    return Beside(
        f"Normalised: {report.suite}, train times as on {reference.system}",
        tuple(_columns([row for row, _ in found], records, names)),
        tuple(record[NORMALISED.name] is None for record in records),
        tuple(records),
        (*_notes(records, names, reference), *_disturbed(report.tables)),
    )


def _reference(tables: Sequence[Table], wanted: str) -> Table:
    chosen = [table for table in tables if wanted in ("", table.system_id, table.system)]
    if not chosen:
        names = {name for table in tables for name in (table.system_id, table.system)}
        raise HarnessError(f"--relative-to {wanted}: no result is of that system", nearest(wanted, names))
    return chosen[0]


def _record(row: Row, table: Table, reference: Table) -> dict[str, Any]:
    """Returns a config on a system, and its train time on the reference system, as `normalised.csv` has it.

    Where the time cannot be told, it is None, and `not_normalised` says why. It has no ends for one seed on the
    reference system itself.
    """
    assert table.calibration and reference.calibration
    runs = row.ok_for("clock.train_seconds")
    time, speed, reason = summarise([run.clock.train_seconds for run in runs]), None, None
    precisions = sorted({str(precision_of(run)) for run in runs})
    precision = precisions[0] if len(precisions) == 1 else None
    if time is None:
        reason, precision = "no train time", None
    elif any(run.num_processes > 1 for run in runs):
        reason, precision = "on several processes: the mix has no communication", None
    elif precision is None:
        reason = f"runs in {' and '.join(precisions)}"
    else:
        speed = relative_speed(table.calibration, reference.calibration, precision)
        reason = None if speed else f"{precision} is not calibrated on both systems"
    seconds = time.mean * speed.ratio if time and speed else None
    error = _log_error(time, speed) if time and speed else None
    accuracy: Summary | None = row.values["test_accuracy"]
    return {
        "system_id": row.system_id,
        "system": row.values["system"],
        "config_id": row.config_id,
        "label": row.label,
        "reference_system_id": reference.system_id,
        "reference_system": reference.system,
        "precision": precision,
        "test_accuracy_mean": accuracy.mean if accuracy else None,
        "test_accuracy_ci95": accuracy.ci95 if accuracy else None,
        "normalised_train_seconds": seconds,
        "normalised_train_seconds_low": seconds * math.exp(-error) if seconds is not None and error else None,
        "normalised_train_seconds_high": seconds * math.exp(error) if seconds is not None and error else None,
        "normalised_train_seconds_n": time.n if time and speed else 0,
        "speed": speed.ratio if speed else None,
        "speed_low": speed.ratio * math.exp(-speed.log_error) if speed else None,
        "speed_high": speed.ratio * math.exp(speed.log_error) if speed else None,
        "not_normalised": reason,
    }


def _log_error(time: Summary, speed: Speed) -> float | None:
    """Returns the seeds' error and the speed's together; of one seed the speed's alone is known."""
    of_seeds = time.ci95 / time.mean if time.ci95 is not None and time.mean > 0 else 0.0
    return math.hypot(of_seeds, speed.log_error) or None


def _columns(rows: Sequence[Row], records: Sequence[dict[str, Any]], names: dict[str, str]) -> Iterator[Written]:
    yield Written("label", "config", [one_line(row.label) for row in rows])
    yield Written("system", "system", [names[row.system_id] for row in rows], 2)
    yield Written("runs", "runs", [str(row.values["runs"]) for row in rows], 6)
    accuracies = column_texts(_ACCURACY, [row.values["test_accuracy"] for row in rows])
    yield Written("test_accuracy", _ACCURACY.title, accuracies, 1, numeric=True)
    ends = ("", "_low", "_high")
    texts = column_texts(NORMALISED, [record[f"{NORMALISED.name}{end}"] for record in records for end in ends])
    yield Written(NORMALISED.name, NORMALISED.title, texts[::3], 1, numeric=True)
    spans = [NOTHING if low == NOTHING else span(low, high) for low, high in zip(texts[1::3], texts[2::3], strict=True)]
    yield Written("interval", "95 % interval", spans, 1, numeric=True)
    yield Written("precision", "precision", [record["precision"] or NOTHING for record in records], 5)
    speeds = [NOTHING if record["speed"] is None else f"{record['speed']:.3g} x" for record in records]
    yield Written("speed", "speed of its system", speeds, 4, numeric=True)


def _notes(records: Sequence[dict[str, Any]], names: dict[str, str], reference: Table) -> Iterator[str]:
    yield (
        f"Normalised: the train time times the speed of its system over that of {reference.system}, the geometric mean "
        f"of {len(MIX)} calibrated rates in the precision that ran ({', '.join(MIX)}). These times were not measured."
    )
    yield (
        "The interval includes the scatter of seeds and calibrations, and the disagreement of the operations on the "
        "speed; times with overlapping intervals are not told apart."
    )

    def told(record: dict[str, Any]) -> str:
        return f"{record['label']} on {names[record['system_id']]}"

    single = [told(record) for record in records if record["normalised_train_seconds_n"] == 1]
    if single:
        yield f"One seed, whose scatter is not in the interval: {listed(single)}."
    for reason in dict.fromkeys(record["not_normalised"] for record in records):
        if reason:
            whose = [told(record) for record in records if record["not_normalised"] == reason]
            yield f"Not normalised: {listed(whose)} ({reason})."


def _disturbed(tables: Sequence[Table]) -> Iterator[str]:
    for table in tables:
        if table.calibration and (why := table.calibration.disturbed()):
            yield f"{table.system}: {why}; its speed is too low, by more than the interval says."
