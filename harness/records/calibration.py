"""What a system can do, measured once: `results/systems/<system_id>/calibration.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from harness.records.events import first_problem
from harness.records.files import read_file, recording, write_json
from harness.records.ranges import Amount, Count, Moment, Seconds
from harness.records.result import Record

SYSTEMS = "systems"
CALIBRATION_VERSION = 1
BUSY = 0.1  # of the CPUs: what others take is missing from the rates


class Rate(Record):
    """One rate: the median over interleaved rounds, and how far they scatter."""

    unit: Literal["FLOP/s", "bytes/s"]
    median: Amount
    interquartile_range: Amount
    relative_error: Amount = Field(description="standard error of the median, over the median")
    rounds: Count


class Calibration(Record):
    """What `harness calibrate` measured on one system.

    `rates` by name: `matmul.<precision>`, `conv_<layer>.<precision>`, `memory_copy`, `host_to_device.<memory>`,
    `all_reduce.<processes>`; null with the reason in `unavailable`, there under the precision or
    the first part of the name.
    """

    calibration_version: Literal[1] = CALIBRATION_VERSION
    system_id: str
    system: str = Field(description="the name of the system")
    measured_at: Moment
    device: Literal["cpu", "cuda"]
    threads: Count = Field(description="that operations on the CPU were spread over")
    neighbours_cpus: Amount | None = Field(
        default=None, description="cores that other processes kept busy meanwhile; null where that cannot be read"
    )
    seconds: Seconds
    rates: dict[str, Rate | None]
    unavailable: dict[str, str] = {}

    def disturbed(self) -> str:
        """Says what was in its way, where it was: the rounds' scatter does not show a load that is always there."""
        if self.device == "cpu" and self.neighbours_cpus is not None and self.neighbours_cpus > BUSY * self.threads:
            return f"calibrated while other processes kept {self.neighbours_cpus:.2g} CPUs busy"
        return ""

    def rate(self, name: str) -> Rate | None:
        """Returns a rate, or None where it was not measured."""
        return self.rates.get(name)


def calibration_path(root: Path, system_id: str) -> Path:
    """Returns where a system's calibration lies under a results root."""
    return root / SYSTEMS / system_id / "calibration.json"


def read_calibration(path: Path) -> Calibration | None:
    """Reads one calibration; None where there is none.

    Raises:
        ValueError: it is torn, of another version or of another system, or a field is not in its range.
    """
    try:
        calibration = Calibration.model_validate_json(read_file(path))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None
    if calibration.system_id != path.absolute().parent.name:
        raise ValueError(f"a copy of the calibration of system {calibration.system_id}: it lies in another folder")
    return calibration


def read_calibrations(root: Path, system_ids: Iterable[str]) -> tuple[dict[str, Calibration], dict[Path, str]]:
    """Returns the calibrations of these systems by id, and what could not be read, with the reason."""
    found: dict[str, Calibration] = {}
    unreadable: dict[Path, str] = {}
    for system_id in dict.fromkeys(system_ids):
        path = calibration_path(root, system_id)
        try:
            calibration = read_calibration(path)
        except (OSError, ValueError) as error:
            unreadable[path] = str(error)
        else:
            if calibration:
                found[system_id] = calibration
    return found, unreadable


def write_calibration(root: Path, calibration: Calibration, system: dict[str, Any]) -> Path:
    """Writes it beside the description of its system, and returns where.

    Raises:
        HarnessError: the folder cannot be written.
    """
    path = calibration_path(root, calibration.system_id)
    with recording(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path.parent / "system.json", system)
        write_json(path, json.loads(calibration.model_dump_json()))
    return path


def as_text(calibration: Calibration) -> str:
    """Returns a table of the rates, and why some are missing."""
    lines = [f"{calibration.system} ({calibration.system_id}), {calibration.threads} CPU threads"]
    measured = {name: rate for name, rate in calibration.rates.items() if rate}
    width = max(map(len, measured), default=0)
    for name, rate in measured.items():
        number = f"{rate.median / 1e9:>10,.2f} {'GFLOP/s' if rate.unit == 'FLOP/s' else 'GB/s':<7}"
        spread = f"± {rate.relative_error:.1%}; half of {rate.rounds} rounds within {_share(rate):.1%}"
        lines.append(f"  {name:<{width}}{number}  {spread}")
    lines += [f"  {calibration.disturbed()}: too low"] if calibration.disturbed() else []
    lines += [f"  not measured: {name} ({reason})" for name, reason in calibration.unavailable.items()]
    return "\n".join(lines)


def _share(rate: Rate) -> float:
    return rate.interquartile_range / rate.median
