"""`events.jsonl` of a run: which of its lines count.

Each line carries the generation of the claim that its writer owned the run by. The first line of a generation ends the
earlier ones: what a former owner appends after it counts for nothing. Lines without a generation are of records from
before there were any, and count as the lowest. A line that is torn, or has a field that is not what it should be, is
left out as if it had never been written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.records.files import read_end, read_lines
from harness.records.ranges import Amount, Count, Loss, Moment, Ordinal, Seconds, Share

EVENTS = "events.jsonl"
STARTS = ("run_started", "run_resumed")
TAIL_BYTES = 1 << 12  # several of the longest lines that are written


class _Event(BaseModel):
    """What is read of every event; other fields are for people."""

    model_config = ConfigDict(defer_build=True)

    event: str
    at: Moment | None = None
    generation: Count = 0


class _Start(_Event):
    attempt: Ordinal = 1
    packed: Ordinal = 1
    step: Count = 0


class _SetAside(_Event):
    number: Ordinal
    reason: str


class _Metrics(BaseModel):
    model_config = ConfigDict(defer_build=True)

    accuracy: Share | None = None
    top5_accuracy: Share | None = None
    loss: Loss | None = None
    macro_recall: Share | None = None
    mean_batch_recall: Share | None = None
    all_epochs_mean_batch_recall: Share | None = None


class _Epoch(_Event):
    epoch: Count
    train_seconds: Seconds | None = None
    wait_seconds: Seconds | None = None
    eval_seconds: Seconds | None = None
    learning_rate: Amount | None = None
    train_joules: Amount | None = None
    metrics: dict[str, _Metrics] = {}


_MODELS: dict[str, type[_Event]] = {**dict.fromkeys(STARTS, _Start), "epoch": _Epoch, "set_aside": _SetAside}


def read_events(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Reads the events that count, of all attempts, and what is wrong with the first that is odd.

    Raises:
        OddFile: there is no file, but something else.
        OSError: it cannot be read; where there is none, there are no events.
    """
    try:
        lines = read_lines(path)
    except FileNotFoundError:
        return [], ""
    filtered = EventFilter()
    return filtered(lines), filtered.problem


class EventFilter:
    """Returns the events that count of a file's lines, in whatever portions they come.

    Attributes:
        problem: what is wrong with the first that is odd; empty where none is.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._newest = 0

    def __call__(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for line in lines:
            try:
                read = _MODELS.get(str(line.get("event")), _Event).model_validate(line)
            except ValidationError as error:
                self.problem = self.problem or first_problem(error)
                continue
            if read.generation >= self._newest:
                self._newest = read.generation
                found.append(line)
        return found


def since_last_start(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the events since the last `run_started`: of all parts of a run that was taken up again."""
    starts = [index for index, event in enumerate(events) if event.get("event") == "run_started"]
    return events[starts[-1] :] if starts else []


def last_epochs(events: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Returns the events of the last attempt's epochs, by their number, counted from 0."""
    # What followed a checkpoint may have been trained twice: the later event is the one that counts.
    return {one["epoch"]: one for one in since_last_start(events) if one.get("event") == "epoch"}


def generation_at_end(path: Path | str) -> int:
    """Returns the highest generation in the last lines: in a fraction of the time of reading them all.

    A former owner appends a line or two at the most after the last of an owner, before it finds that it is none.

    Raises:
        OddFile, OSError: as `read_events`.
    """
    try:
        tail = read_end(path, TAIL_BYTES)
    except FileNotFoundError:
        return 0
    if b'"generation":' not in tail:  # a report asks this of 10,000 records
        return 0
    ends = [line.rpartition(b'"generation":')[2] for line in tail.splitlines()]
    numbers = [end[:-1] for end in ends if end.endswith(b"}")]  # it stands at the end of a line
    return max((int(number) for number in numbers if number.isdigit() and len(number) < 19), default=0)


def first_problem(error: ValidationError) -> str:
    """Returns the first problem of several as one line: `clock.train_seconds: Input should be ...`."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}".partition("\n")[0]
