"""`events.jsonl` of a run: which of its lines count.

Each line carries the generation of the claim that its writer owned the run by. The first line of a generation ends the
earlier ones: what a former owner appends after it counts for nothing. Lines without a generation are of records from
before there were any, and count as the lowest. A line that is torn, or has a field that is not what it should be, is
left out as if it had never been written.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Required

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from harness.records.files import MOST_BYTES_OF_LINES, read_end, read_file
from harness.records.ranges import Amount, Count, Loss, Moment, Ordinal, Seconds, Share

EVENTS = "events.jsonl"
STARTS = ("run_started", "run_resumed")
TAIL_BYTES = 1 << 12  # several of the longest lines that are written
_NEEDED = {"epoch": {"epoch"}, "set_aside": {"number", "reason"}}


@with_config(ConfigDict(extra="allow"))
class _Metrics(TypedDict, total=False):
    accuracy: Share | None
    top5_accuracy: Share | None
    loss: Loss | None
    macro_recall: Share | None
    mean_batch_recall: Share | None
    all_epochs_mean_batch_recall: Share | None


@with_config(ConfigDict(extra="allow"))
class _Event(TypedDict, total=False):
    """What is read of events of any kind; other fields are for people."""

    event: Required[str]
    at: Moment | None
    generation: Count
    # of a start
    attempt: Ordinal
    packed: Ordinal
    step: Count
    # of a record that was set aside
    number: Ordinal
    reason: str
    # of an epoch
    epoch: Count
    train_seconds: Seconds | None
    wait_seconds: Seconds | None
    eval_seconds: Seconds | None
    learning_rate: Amount | None
    train_joules: Amount | None
    metrics: dict[str, _Metrics]


@functools.cache  # made where it is needed
def _adapter(many: bool) -> TypeAdapter[Any]:
    return TypeAdapter(list[_Event] if many else _Event)


def read_events(path: Path | str) -> tuple[list[dict[str, Any]], str]:
    """Reads the events that count, of all attempts, and what is wrong with the first that is odd.

    Raises:
        OddFile: there is no file, but something else.
        OSError: it cannot be read; where there is none, there are no events.
    """
    try:
        lines = read_file(path, MOST_BYTES_OF_LINES).splitlines()
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

    def __call__(self, lines: list[bytes]) -> list[dict[str, Any]]:
        try:  # all at once, in half of the time: a report reads those of 10,000 runs
            every = _adapter(many=True).validate_json(b"[%b]" % b",".join(lines))
        except ValidationError:
            every = []
        if len(every) != len(lines):
            every = self._one_by_one(lines)
        found = []
        for line in every:
            needed = _NEEDED.get(line["event"])
            if needed and not needed <= line.keys():
                self.problem = self.problem or f"{min(needed - line.keys())}: Field required"
            elif (generation := line.get("generation", 0)) >= self._newest:
                self._newest = generation
                found.append(line)
        return found

    def _one_by_one(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """Returns the events of lines of which some are torn or odd."""
        found = []
        for line in lines:
            try:
                found.append(_adapter(many=False).validate_json(line))
            except ValidationError as error:
                if error.errors()[0]["loc"]:  # else it is torn
                    self.problem = self.problem or first_problem(error)
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
