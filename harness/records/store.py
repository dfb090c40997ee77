"""The folder of a run, `results/<suite>/<run_id>/<system_id>/`: what its owner writes there, and what others read."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records.checkpoints import CheckpointFolder
from harness.records.claims import Claim, claim
from harness.records.events import EVENTS, STARTS, generation_at_end, last_epochs, read_events, since_last_start
from harness.records.files import OddFile, append_line, cancel_writes, recording, write_json
from harness.records.read import SPEC, read_result
from harness.records.replaced import clear, keep
from harness.records.result import FINAL, RunResult

RENAMED = ("predictions.npz", "losses.npz", "checkpoints/final.safetensors", "result.json")
"""What the owner of a run writes at its end, each under another name first."""


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
        code: hash of the code that trained it; of a run that other code took up again the hashes of its parts, joined
            by "+"; None where that of a part is not known.
        environment: the variables that change run time; of a run that was taken up again those of its parts, joined
            by "+"; None where that of a part is not known.
    """

    number: int
    started_at: str
    packed: int = 1
    code: str | None = None
    environment: dict[str, str] | None = None

    @staticmethod
    def of(events: list[dict[str, Any]]) -> Attempt:
        """Returns the last attempt; one that goes on from a checkpoint began where the run began."""
        events = since_last_start(events)
        numbers = [event["attempt"] for event in events if "attempt" in event]
        packed = max((event.get("packed", 1) for event in events), default=1)
        parts = [event for event in events if event.get("event") in STARTS]
        code = _joined([part.get("code") for part in parts])
        known = [one for part in parts if (one := part.get("environment")) is not None]
        names = dict.fromkeys(name for one in known for name in one)
        environment = {name: _joined([one.get(name, "unset") for one in known]) or "" for name in names}
        if not parts or len(known) < len(parts):
            environment = None
        number, started_at = numbers[-1] if numbers else 1, events[0]["at"] if events else now()
        return Attempt(number, started_at, packed, code, environment)


def _joined(of_parts: list[str | None]) -> str | None:
    """Returns what the parts of a run had, each once; None where that of a part is not known."""
    return "+".join(map(str, dict.fromkeys(of_parts))) if of_parts and None not in of_parts else None


@dataclass(frozen=True)
class RunFolder:
    """What one run leaves on one system. `events.jsonl` is the truth; `result.json` is written last.

    Attributes:
        generation: of the claim by which this process owns the run, which it writes into what it records; 0 for one
            that only reads.
    """

    path: Path
    generation: int = 0

    @property
    def weights(self) -> Path:
        """The state of the network after the last epoch, as safetensors."""
        return self.path / "checkpoints" / "final.safetensors"

    @property
    def checkpoints(self) -> CheckpointFolder:
        """The checkpoints of a run that has not ended."""
        return CheckpointFolder(self.path / "checkpoints", self.generation)

    def claim(self, note: Callable[[str], object] = lambda text: None) -> tuple[Claim, RunFolder] | None:
        """Makes this process the owner of the run; see `harness.records.claims.claim`.

        Args:
            note: takes a sentence before this call waits.

        Returns:
            The claim, and the folder as its owner writes to it; None where another process owns the run.

        Raises:
            HarnessError: the folder cannot be written, or its events cannot be read.
        """
        try:
            above = generation_at_end(self.path / EVENTS)
        except (OddFile, NotADirectoryError):
            above = 0
        except OSError as error:
            message = f"cannot read {self.path / EVENTS}: {error.strerror}"
            raise HarnessError(message, "see to the disk, or name another with --output DIR") from None
        others = self.path.parent.parent.glob(f"*/{self.path.name}")  # of the suite; listed where there is a wait
        claimed = claim(self.path, above, others=others, note=note)
        if claimed is None:
            return None
        own = replace(self, generation=claimed.generation)
        own._move_odd_files()
        with recording(self.path):
            # A former owner that stood still between its last look at the claims and the rename must not go on with it.
            for name in RENAMED:
                cancel_writes(self.path / name)
        return claimed, own

    def started_generation(self) -> int:
        """Returns the generation of the owner that opened the run last; 0 where none did, or before there were any."""
        starts = [event for event in self.events() if event.get("event") in STARTS]
        return starts[-1].get("generation", 0) if starts else 0

    def start(
        self,
        spec: dict[str, Any],
        system: dict[str, Any],
        *,
        resumed_at_step: int | None = None,
        packed: int = 1,
        code: str | None = None,
        environment: dict[str, str] | None = None,
        **planned: int,
    ) -> Attempt:
        """Begins an attempt: removes an earlier, unfinished one's result.

        Args:
            spec: of the run.
            system: that it runs on.
            resumed_at_step: where it goes on from a checkpoint; None where it begins at the beginning.
            packed: runs at once on its device.
            code: hash of the code that trains from here on.
            environment: the variables that change run time.
            planned: the `steps` and `epochs` that the run has, and its `samples_per_epoch`, for who watches.

        Raises:
            HarnessError: it cannot be written.
        """
        with recording(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._move_odd_files()
            number = 1 + sum(event.get("event") in STARTS for event in self.events())
            for earlier in (self.path / "result.json", self.weights):
                earlier.unlink(missing_ok=True)
            write_json(self.path / SPEC, spec)
            write_json(self.path / "system.json", system)
        values = {"attempt": number, "packed": packed, "code": code, "environment": environment, **planned}
        if resumed_at_step is None:
            self.event("run_started", **values)
        else:
            self.event("run_resumed", step=resumed_at_step, **values)
        return self.attempt()

    def _move_odd_files(self) -> None:
        """Gives what stands in the way of a record another name beside it; the event `moved_aside` has the names.

        A folder cannot be replaced, and events are appended; any other file that is none is replaced.

        Raises:
            HarnessError: the folder cannot be written.
        """
        moved = []
        for name in ("result.json", SPEC, "system.json", EVENTS):
            path = self.path / name
            if path.is_dir() or (name == EVENTS and path.exists() and not path.is_file()):
                others = (path.with_name(f"{name}.odd-{number}") for number in itertools.count(1))
                with recording(self.path):
                    moved.append(path.rename(next(other for other in others if not other.exists())).name)
        if moved:
            self.event("moved_aside", files=moved)

    def attempt(self) -> Attempt:
        """Returns the last attempt."""
        return Attempt.of(self.events())

    def event(self, name: str, **values: Any) -> None:
        """Appends one event with the time of day.

        Raises:
            HarnessError: it cannot be written.
        """
        with recording(self.path):
            written_by = {"generation": self.generation} if self.generation else {}
            append_line(self.path / EVENTS, {"event": name, "at": now(), **values, **written_by})

    def events_bytes(self) -> int:
        """Returns the size of the events; 0 where there are none."""
        try:
            return (self.path / EVENTS).stat().st_size
        except OSError:
            return 0

    def events(self) -> list[dict[str, Any]]:
        """Returns the events of all attempts that count; see `harness.records.events`.

        Raises:
            OddFile, OSError: they cannot be read.
        """
        return read_events(self.path / EVENTS)[0]

    def metric_at(self, name: str, epoch: int) -> float | None:
        """Returns a split's metric, e.g. `test.accuracy`, after an epoch, counted from 1; None where there is none."""
        split, _, field = name.partition(".")
        event = self.epochs().get(epoch - 1, {"metrics": {}})
        value = event["metrics"].get(split, {}).get(field)
        return None if value is None else float(value)

    def epochs(self) -> dict[int, dict[str, Any]]:
        """Returns the events of the last attempt's epochs, by their number, counted from 0."""
        return self.epochs_and_problem()[0]

    def epochs_and_problem(self) -> tuple[dict[int, dict[str, Any]], str]:
        """Returns the same, and what is wrong with the first event that was left out; see `harness.records.events`."""
        events, problem = read_events(f"{self.path}/{EVENTS}")
        return last_epochs(events), problem

    def finish(self, result: RunResult, before: Callable[[], object] = lambda: None) -> None:
        """Writes the result; from here on the run is done.

        Args:
            result: without its generation.
            before: is called just before readers see it; what it raises leaves the run as it was.

        Raises:
            HarnessError: it cannot be written.
        """
        self.event("run_ended", status=result.status)
        with recording(self.path):
            written = result.model_dump(mode="json") | {"generation": self.generation}
            write_json(self.path / "result.json", written, before)

    def amend(self, result: RunResult, what: str) -> None:
        """Writes the record of a run that is done anew, with what was measured later; only its owner may.

        Args:
            result: of the record, with more in it.
            what: was added, for the events.

        Raises:
            HarnessError: it cannot be written.
        """
        with recording(self.path):
            write_json(self.path / "result.json", result.model_dump(mode="json") | {"generation": self.generation})
        self.event("amended", what=what)  # after the record: before it, a crash would leave that of a former owner

    def read(self) -> tuple[RunResult | None, str]:
        """Returns the result, or None where the run has not ended or its record does not count, and why it does not."""
        try:
            return read_result(self.path / "result.json"), ""
        except (FileNotFoundError, NotADirectoryError):
            return None, ""
        except (OSError, ValueError) as error:
            return None, str(error)

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
        """Returns the result, or None where the run has not ended or its record does not count."""
        return self.read()[0]

    def is_done(self) -> bool:
        """Tells whether the run has a valid result and need not be run again."""
        result = self.result()
        return result is not None and result.status in FINAL


def run_folder(root: Path, suite: str, run_id: str, system_id: str) -> RunFolder:
    """Returns the folder of a run on a system; it need not exist."""
    return RunFolder(root / suite / run_id / system_id)
