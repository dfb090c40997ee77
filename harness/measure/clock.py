"""The train clock. It never synchronises inside a step: a GPU's events are read when the epoch is over."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class EpochTime:
    """Seconds of one epoch, or of a part of it, on this rank.

    Attributes:
        train_seconds: from before the first batch was asked for until the last step was done on the device.
        wait_seconds: of these, from the end of one step until the next batch was there.
        timed_seconds: of these, after the untimed steps.
        timed_steps: steps within `timed_seconds`.
    """

    train_seconds: float = 0.0
    wait_seconds: float = 0.0
    timed_seconds: float = 0.0
    timed_steps: int = 0

    def __add__(self, other: EpochTime) -> EpochTime:
        """Returns the time of two parts together."""
        return EpochTime(
            self.train_seconds + other.train_seconds,
            self.wait_seconds + other.wait_seconds,
            self.timed_seconds + other.timed_seconds,
            self.timed_steps + other.timed_steps,
        )


class TrainClock:
    """Times epochs of training; an epoch that pauses, for a checkpoint, is timed in parts.

    Args:
        device: on CUDA time is taken by events on the current stream, elsewhere by the host's monotonic clock.
        untimed_steps: first steps of the run that `timed_seconds` leaves out.
    """

    def __init__(self, device: torch.device, untimed_steps: int) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._untimed_left = untimed_steps
        self._last: EpochTime | None = None

    def batches(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yields batches; when they are through, `last_part` gives their time."""
        mark = self._event if self._cuda else time.perf_counter
        asked, arrived = [], []
        self._synchronize()
        began = time.perf_counter()
        iterator = iter(batches)
        while True:
            asked.append(mark())
            batch = next(iterator, None)
            if batch is None:
                break
            arrived.append(mark())
            yield batch
        self._synchronize()
        ended = time.perf_counter()
        self._last = self._read(asked, arrived, ended - began)

    def last_part(self) -> EpochTime:
        """Returns the time of the last batches that are through."""
        assert self._last is not None, "no batches are through"
        return self._last

    def _read(self, asked: list, arrived: list, train_seconds: float) -> EpochTime:
        steps = len(arrived)
        untimed = min(self._untimed_left, steps)
        self._untimed_left -= untimed
        waited = sum(self._between(a, b) for a, b in zip(asked, arrived, strict=False))
        # The last mark is set when no batch is left: all steps have been enqueued before it.
        timed = self._between(asked[untimed], asked[-1]) if untimed < steps else 0.0
        return EpochTime(train_seconds, waited, timed, steps - untimed)

    def _between(self, start, end) -> float:
        return start.elapsed_time(end) / 1000 if self._cuda else end - start

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _synchronize(self) -> None:
        if self._cuda:
            torch.cuda.synchronize(self._device)


class Stopwatch:
    """Adds up the seconds of named phases outside training: `with stopwatch("eval"): ...`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._name = ""
        self._began = 0.0
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str) -> Stopwatch:
        """Names the phase that the next `with` block times; phases do not nest."""
        self._name = name
        return self

    def __enter__(self) -> None:
        self._synchronize()
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._synchronize()
        self.seconds[self._name] = self.seconds.get(self._name, 0.0) + time.perf_counter() - self._began

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
