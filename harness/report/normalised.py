"""One table of all calibrated systems: train times as they would be on one of them, each with its error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, nearest
from harness.records.calibration import Calibration
from harness.report.numbers.peak import precision_of
from harness.report.numbers.rows import Row
from harness.report.numbers.speed import MIX, Speed, relative_speed
from harness.report.texts import NOTHING, Beside, Written, column_texts, listed, one_line, span
from harness.results import columns as declared
from harness.results.columns import Column
from harness.statistics.intervals import Summary, summarise

if TYPE_CHECKING:
    from harness.report.tables import Report, Table

NORMALISED = Column("normalised_train_seconds", "normalised train time", "seconds")
_ACCURACY = next(column for column in declared.MEASURED if column.name == "test_accuracy")
_OF_TIME = ("seconds", "per_second", "joules")
NO_COMMON_RANKING = "run times of different systems share no ranking"


@dataclass(frozen=True)
class Normalised:
    """A config on a system, and its train time on the reference system.

    Attributes:
        seconds: None where it cannot be told; `reason` says why.
        log_error: half of the 95 % interval of its logarithm; None for one seed on the reference system itself.
    """

    row: Row
    system: str
    precision: str | None = None
    speed: Speed | None = None
    seconds: float | None = None
    log_error: float | None = None
    seeds: int = 0
    reason: str = ""

    @property
    def low(self) -> float | None:
        """The interval's lower end."""
        return None if self.seconds is None or self.log_error is None else self.seconds * math.exp(-self.log_error)

    @property
    def high(self) -> float | None:
        """The interval's upper end."""
        return None if self.seconds is None or self.log_error is None else self.seconds * math.exp(self.log_error)


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


def normalised_table(
    report: Report, calibrations: Mapping[str, Calibration], relative_to: str, sort: str
) -> Beside | None:
    """Returns the table, or None for a suite without results.

    Args:
        report: of all systems.
        calibrations: by system_id.
        relative_to: name or id of the system whose times are given; empty for the first.
        sort: a column's name.

    Raises:
        HarnessError: a system was not calibrated, or `relative_to` is none of them.
    """
    if not report.tables:
        return None
    for table in report.tables:
        if table.system_id not in calibrations:
            message = f"--normalised: {table.system} ({table.system_id}) was not calibrated"
            raise HarnessError(message, "run `harness calibrate` on it, with the same --output")
    reference = _reference(report.tables, relative_to)
    calibration = calibrations[reference.system_id]
    found = [
        _normalised(row, table.system, calibrations[row.system_id], calibration)
        for table in report.tables
        for row in table.rows
    ]
    column = declared.sortable(report.columns).get(sort)
    ordered = _ordered(found, column)
    return Beside(
        f"Normalised: {report.suite}, train times as on {reference.system}",
        tuple(_columns(ordered)),
        tuple(one.seconds is None for one in ordered),
        tuple(_record(one, reference) for one in ordered),
        (*_notes(ordered, reference), *_disturbed(report.tables, calibrations)),
    )


def _reference(tables: Sequence[Table], wanted: str) -> Table:
    chosen = [table for table in tables if wanted in ("", table.system_id, table.system)]
    if not chosen:
        names = {name for table in tables for name in (table.system_id, table.system)}
        raise HarnessError(f"--relative-to {wanted}: no result is of that system", nearest(wanted, names))
    return chosen[0]


def _normalised(row: Row, system: str, own: Calibration, reference: Calibration) -> Normalised:
    runs = row.ok_for("clock.train_seconds")
    time = summarise([run.clock.train_seconds for run in runs])
    if time is None:
        return Normalised(row, system, reason="no train time")
    if any(run.num_processes > 1 for run in runs):
        return Normalised(row, system, reason="on several processes: the mix has no communication")
    precisions = sorted({str(precision_of(run)) for run in runs})
    if len(precisions) > 1:
        return Normalised(row, system, reason=f"runs in {' and '.join(precisions)}")
    speed = relative_speed(own, reference, precisions[0])
    if speed is None:
        reason = f"{precisions[0]} is not calibrated on both systems"
        return Normalised(row, system, precisions[0], reason=reason)
    seconds = time.mean * speed.ratio
    return Normalised(row, system, precisions[0], speed, seconds, _log_error(time, speed), time.n)


def _log_error(time: Summary, speed: Speed) -> float | None:
    """Returns the seeds' error and the speed's together; of one seed the speed's alone is known."""
    of_seeds = time.ci95 / time.mean if time.ci95 is not None and time.mean > 0 else 0.0
    return math.hypot(of_seeds, speed.log_error) or None


def _ordered(found: list[Normalised], column: Column | None) -> list[Normalised]:
    def place(one: Normalised) -> tuple[Any, ...]:
        value = declared.number(one.row.values.get(column.name)) if column else one.seconds
        group = 2 if one.seconds is None else 0 if one.row.ranked else 1
        if not isinstance(value, int | float):
            return group, 1, 0.0, str(value), one.row.label
        return group, 0, -value if column and column.best == "high" else value, "", one.row.label

    return sorted(found, key=place)


def _columns(found: Sequence[Normalised]) -> Iterator[Written]:
    rows = [one.row for one in found]
    yield Written("label", "config", [one_line(row.label) for row in rows])
    yield Written("system", "system", [one.system for one in found], 2)
    yield Written("runs", "runs", [str(row.values["runs"]) for row in rows], 6)
    accuracies = column_texts(_ACCURACY, [row.values["test_accuracy"] for row in rows])
    yield Written("test_accuracy", _ACCURACY.title, accuracies, 1, numeric=True)
    texts = column_texts(NORMALISED, [value for one in found for value in (one.seconds, one.low, one.high)])
    yield Written(NORMALISED.name, NORMALISED.title, texts[::3], 1, numeric=True)
    spans = [NOTHING if low == NOTHING else span(low, high) for low, high in zip(texts[1::3], texts[2::3], strict=True)]
    yield Written("interval", "95 % interval", spans, 1, numeric=True)
    yield Written("precision", "precision", [one.precision or NOTHING for one in found], 5)
    speeds = [f"{one.speed.ratio:.3g} x" if one.speed else NOTHING for one in found]
    yield Written("speed", "speed of its system", speeds, 4, numeric=True)


def _record(one: Normalised, reference: Table) -> dict[str, Any]:
    accuracy: Summary | None = one.row.values["test_accuracy"]
    return {
        "system_id": one.row.system_id,
        "system": one.row.values["system"],
        "config_id": one.row.config_id,
        "label": one.row.label,
        "reference_system_id": reference.system_id,
        "reference_system": reference.system,
        "precision": one.precision,
        "test_accuracy_mean": accuracy.mean if accuracy else None,
        "test_accuracy_ci95": accuracy.ci95 if accuracy else None,
        "normalised_train_seconds": one.seconds,
        "normalised_train_seconds_low": one.low,
        "normalised_train_seconds_high": one.high,
        "normalised_train_seconds_n": one.seeds,
        "speed": one.speed.ratio if one.speed else None,
        "speed_low": one.speed.ratio * math.exp(-one.speed.log_error) if one.speed else None,
        "speed_high": one.speed.ratio * math.exp(one.speed.log_error) if one.speed else None,
        "not_normalised": one.reason or None,
    }


def _notes(found: Sequence[Normalised], reference: Table) -> Iterator[str]:
    yield (
        f"Normalised: the train time times the speed of its system over that of {reference.system}, the geometric mean "
        f"of {len(MIX)} calibrated rates in the precision that ran ({', '.join(MIX)}). These times were not taken."
    )
    yield (
        "The interval holds the seeds' scatter, the calibrations' scatter, and how far the operations disagree on the "
        "speed; times whose intervals overlap are not told apart."
    )
    single = [f"{one.row.label} on {one.system}" for one in found if one.seeds == 1]
    if single:
        yield f"One seed, whose scatter is not in the interval: {listed(single)}."
    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.reason:
            reasons.setdefault(one.reason, []).append(f"{one.row.label} on {one.system}")
    for reason, names in reasons.items():
        yield f"Not normalised: {listed(names)} ({reason})."


def _disturbed(tables: Sequence[Table], calibrations: Mapping[str, Calibration]) -> Iterator[str]:
    for table in tables:
        if why := calibrations[table.system_id].disturbed():
            yield f"{table.system}: {why}; its speed is too low, by more than the interval says."
