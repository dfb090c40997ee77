"""The folder of a run, `results/<suite>/<run_id>/<system_id>/`, and all results of a suite."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from harness.records.checkpoints import CheckpointFolder
from harness.records.files import append_line, read_lines, recording, write_json
from harness.records.replaced import clear, keep
from harness.records.result import FINAL, SCHEMA_VERSION, RunResult, Status


def now() -> str:
    """Returns the time of day in UTC, ISO 8601. For durations use a monotonic clock."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Attempt:
    """One try at a run.

    Attributes:
        number: counted from 1.
        started_at: time of day at which the run began, ISO 8601.
        packed: runs at once on its device; the most in any part of a run that was taken up again.
    """

    number: int
    started_at: str
    packed: int = 1


@dataclass(frozen=True)
class RunFolder:
    """What one run leaves on one system. `events.jsonl` is the truth; `result.json` is written last."""

    path: Path

    @property
    def weights(self) -> Path:
        """The state of the network after the last epoch, as safetensors."""
        return self.path / "checkpoints" / "final.safetensors"

    @property
    def checkpoints(self) -> CheckpointFolder:
        """The checkpoints of a run that has not ended."""
        return CheckpointFolder(self.path / "checkpoints")

    def start(
        self, spec: dict[str, Any], system: dict[str, Any], *, resumed_at_step: int | None = None, packed: int = 1
    ) -> Attempt:
        """Begins an attempt: removes an earlier, unfinished one's result.

        Args:
            spec: of the run.
            system: that it runs on.
            resumed_at_step: where it goes on from a checkpoint; None where it begins at the beginning.
            packed: runs at once on its device.

        Raises:
            HarnessError: it cannot be written.
        """
        with recording(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            number = 1 + sum(event.get("event") in ("run_started", "run_resumed") for event in self.events())
            for earlier in (self.path / "result.json", self.weights):
                earlier.unlink(missing_ok=True)
            write_json(self.path / "spec.json", spec)
            write_json(self.path / "system.json", system)
        if resumed_at_step is None:
            self.event("run_started", attempt=number, packed=packed)
        else:
            self.event("run_resumed", attempt=number, step=resumed_at_step, packed=packed)
        return self.attempt()

    def attempt(self) -> Attempt:
        """Returns the last attempt; one that goes on from a checkpoint began where the run began."""
        events = self.last_attempt()
        numbers = [event["attempt"] for event in events if "attempt" in event]
        packed = max((event.get("packed", 1) for event in events), default=1)
        return Attempt(numbers[-1] if numbers else 1, events[0]["at"] if events else now(), packed)

    def event(self, name: str, **values: Any) -> None:
        """Appends one event with the time of day.

        Raises:
            HarnessError: it cannot be written.
        """
        with recording(self.path):
            append_line(self.path / "events.jsonl", {"event": name, "at": now(), **values})

    def events(self) -> list[dict[str, Any]]:
        """Returns all events of all attempts."""
        path = self.path / "events.jsonl"
        return read_lines(path) if path.exists() else []

    def last_attempt(self) -> list[dict[str, Any]]:
        """Returns the events since the last `run_started`: of all parts of a run that was taken up again."""
        events = self.events()
        starts = [index for index, event in enumerate(events) if event.get("event") == "run_started"]
        return events[starts[-1] :] if starts else []

    def metric_at(self, name: str, epoch: int) -> float | None:
        """Returns a split's metric, e.g. `test.accuracy`, after an epoch, counted from 1; None where there is none."""
        split, _, field = name.partition(".")
        event = self.epochs().get(epoch - 1, {"metrics": {}})
        value = event["metrics"].get(split, {}).get(field)
        return None if value is None else float(value)

    def epochs(self) -> dict[int, dict[str, Any]]:
        """Returns the events of the last attempt's epochs, by their number, counted from 0."""
        # What followed a checkpoint may have been trained twice: the later event is the one that counts.
        return {event["epoch"]: event for event in self.last_attempt() if event.get("event") == "epoch"}

    def finish(self, result: RunResult) -> None:
        """Writes the result; from here on the run is done.

        Raises:
            HarnessError: it cannot be written.
        """
        self.event("run_ended", status=result.status)
        with recording(self.path):
            write_json(self.path / "result.json", result.model_dump(mode="json"))

    def set_aside(self, result: RunResult, reason: str) -> None:
        """Takes the run's record away, into `replaced/`, so that the run is open; only its owner may.

        A crash leaves the record in its place, or whole in `replaced/`; to set it aside once more changes nothing.

        Args:
            result: of the record.
            reason: one word or more, for the events.

        Raises:
            HarnessError: it cannot be written.
        """
        number = result.replaced + 1
        with recording(self.path):
            keep(self.path, number)
            self.event("set_aside", number=number, attempt=result.attempt, reason=reason)
            clear(self.path)

    def times_set_aside(self, reason: str) -> int:
        """Returns how many records were set aside for a reason, since one was for another."""
        found: dict[int, str] = {}
        for event in self.events():
            if event.get("event") == "set_aside":
                found[event["number"]] = event["reason"]
        last_other = max((number for number, why in found.items() if why != reason), default=0)
        return sum(number > last_other for number in found)

    def result(self) -> RunResult | None:
        """Returns the result, or None where the run has not ended or its record cannot be read."""
        try:
            return read_result(self.path / "result.json")
        except (OSError, ValueError):
            return None

    def is_done(self) -> bool:
        """Tells whether the run has a valid result and need not be run again."""
        result = self.result()
        return result is not None and result.status in FINAL


def run_folder(root: Path, suite: str, run_id: str, system_id: str) -> RunFolder:
    """Returns the folder of a run on a system; it need not exist."""
    return RunFolder(root / suite / run_id / system_id)


def read_result(path: Path) -> RunResult:
    """Reads one `result.json`.

    Raises:
        ValueError: it is torn, of another schema version, or lacks fields.
    """
    text = path.read_bytes()
    try:
        return RunResult.model_validate_json(text)
    except ValidationError as error:
        try:
            version = json.loads(text).get("schema_version")
        except (ValueError, AttributeError):
            raise ValueError("not a whole JSON object") from None
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema version {version}; this harness reads {SCHEMA_VERSION}") from None
        raise ValueError(str(error).partition("\n")[0]) from None


class _OutlineCause(BaseModel):
    message: str
    step: int | None


class Outline(BaseModel):
    """What `harness status` tells of a result."""

    schema_version: Literal[1]
    label: str
    seed: int
    status: Status
    cause: _OutlineCause | None


def read_outline(path: Path) -> Outline:
    """Reads the outline of a `result.json`, in a fraction of the time of `read_result`: the rest is not checked.

    Raises:
        ValueError: as `read_result`.
    """
    try:
        return Outline.model_validate_json(path.read_bytes())
    except ValidationError:
        return Outline.model_validate(read_result(path).model_dump())  # it knows the reason


@dataclass(frozen=True)
class SuiteResults:
    """All results of a suite, the records that could not be read, with the reason, and what else is to be told."""

    results: list[RunResult]
    systems: dict[str, dict[str, Any]]
    unreadable: dict[Path, str]
    notes: tuple[str, ...] = ()


def read_suite(root: Path, suite: str) -> SuiteResults:
    """Reads the results of a suite on all systems, in the order of their folders' names."""
    results: list[RunResult] = []
    systems: dict[str, dict[str, Any]] = {}
    unreadable: dict[Path, str] = {}
    for path in sorted((root / suite).glob("*/*/result.json")):
        try:
            result = read_result(path)
            if result.system_id not in systems:
                systems[result.system_id] = json.loads((path.parent / "system.json").read_bytes())
        except (OSError, ValueError) as error:
            unreadable[path] = str(error)
        else:
            results.append(result)
    return SuiteResults(results, systems, unreadable)
