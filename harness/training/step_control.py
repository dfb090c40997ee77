"""When training pauses for a checkpoint: all ranks after the same step, and none waits for another to agree on it."""

from __future__ import annotations

import enum
import functools
import math
import time
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist

ASK_EVERY_SECONDS = 0.25


class StepAction(enum.IntEnum):
    """What a rank would like to do after a step; of several ranks' wishes the greatest is done."""

    CONTINUE = 0
    SAVE = 1
    STOP = 2
    LEAVE = 3  # the run is another process's by now


class StepControl:
    """Is asked after each step whether all ranks shall pause.

    One process looks at its action after each step. Several exchange theirs a few times a second, beside the steps: the
    exchange begins after one step and is read after a later one, the same on all ranks, so that none stands still.

    Args:
        num_processes: of the group.
        stop_requested: whether a signal asks this process to stop.
        every_seconds: from one checkpoint to the next; rank 0's clock decides. None for never.
        every_steps: the same in steps of the run; None for never.
        first_step: steps of the run that were done before.
        is_lost: whether another process owns the run by now.
    """

    def __init__(
        self,
        num_processes: int,
        stop_requested: Callable[[], bool],
        every_seconds: float | None,
        every_steps: int | None,
        first_step: int = 0,
        is_lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._exchange = _Exchange() if num_processes > 1 else None
        self._stop_requested = stop_requested
        self._is_lost = is_lost
        self._every_seconds = every_seconds or math.inf
        self._every_steps = every_steps
        self._step = first_step
        self._saved_at = time.monotonic()
        self.action = StepAction.CONTINUE

    def __call__(self) -> bool:
        """Takes note of a step; tells whether to pause after it. `action` says for what, until `done`."""
        self._step += 1
        action = self._own_action() if self._exchange is None else self._exchange.after_step(self._own_action)
        if self._every_steps and self._step % self._every_steps == 0:
            action = max(action, StepAction.SAVE)
        self.action = max(self.action, action)
        return self.action > StepAction.CONTINUE

    def done(self) -> None:
        """Says that a checkpoint was written, or that it could not be: the next one is due an interval from now."""
        self.action = StepAction.CONTINUE
        self._saved_at = time.monotonic()

    def close(self) -> None:
        """Ends the exchange; every rank calls it after the same step."""
        if self._exchange is not None:
            self._exchange.close()

    def _own_action(self) -> StepAction:
        if self._is_lost():
            return StepAction.LEAVE
        if self._stop_requested():
            return StepAction.STOP
        is_main = self._exchange is None or dist.get_rank() == 0
        due = is_main and time.monotonic() - self._saved_at >= self._every_seconds
        return StepAction.SAVE if due else StepAction.CONTINUE


class _Exchange:
    """The largest action of all ranks, some steps later."""

    def __init__(self) -> None:
        self._step = 0
        self._next = 1
        self._began = time.monotonic()
        self._under_way: tuple[dist.Work, torch.Tensor] | None = None

    def after_step(self, own_action: Callable[[], StepAction]) -> StepAction:
        """Returns what all ranks wished when the exchange that ends at this step began; mostly none ends."""
        self._step += 1
        if self._step < self._next:
            return StepAction.CONTINUE
        action, interval = self._read()
        own_interval = ASK_EVERY_SECONDS * self._step / max(time.monotonic() - self._began, 1e-9)
        shared = torch.tensor([int(own_action()), max(1, round(own_interval))])
        work = dist.all_reduce(shared, dist.ReduceOp.MAX, group=_cpu_group(), async_op=True)
        assert work is not None
        self._under_way = work, shared
        self._next = self._step + interval
        return action

    def close(self) -> None:
        """Waits for the last exchange."""
        self._read()

    def _read(self) -> tuple[StepAction, int]:
        if self._under_way is None:
            return StepAction.CONTINUE, 1
        work, shared = self._under_way
        self._under_way = None
        work.wait()
        action, interval = shared.tolist()
        return StepAction(action), interval


@functools.cache
def _cpu_group() -> dist.ProcessGroup:
    """Returns a group of its own on the CPU, one for all runs of the process; every rank asks for it at once."""
    # A step may take as long as its run allows, which the group of the steps keeps to.
    group = dist.new_group(backend="gloo", timeout=timedelta(days=7))
    assert isinstance(group, dist.ProcessGroup)
    return group
