"""The learning rate at each step: the suite's schedule, with the same warm-up for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer


class LearningRate:
    """Sets an optimizer's learning rates before each step.

    Args:
        optimizer: each group's present `lr` is its base rate.
        factor: of the base rate, by epochs done (see `harness.training.schedules`).
        steps_per_epoch: optimizer steps.
        warmup_epochs: the rate rises linearly for so long; the first step already has a part of it.
    """

    def __init__(
        self, optimizer: Optimizer, factor: Callable[[float], float], steps_per_epoch: int, warmup_epochs: float
    ) -> None:
        self._optimizer = optimizer  # not its groups: a state that is loaded brings others
        self._base = [group["lr"] for group in optimizer.param_groups]
        self._factor = factor
        self._steps_per_epoch = steps_per_epoch
        self._warmup_steps = warmup_epochs * steps_per_epoch
        self._current = math.nan  # whatever the groups have when a run goes on, the first step sets it

    def set(self, step: int) -> None:
        """Sets the rates for the optimizer step `step`, counted from 0 over the whole run."""
        factor = self._factor(step / self._steps_per_epoch)
        if step < self._warmup_steps:
            factor *= min(1.0, (step + 1) / self._warmup_steps)
        if factor != self._current:
            self._current = factor
            for group, base in zip(self._optimizer.param_groups, self._base, strict=True):
                group["lr"] = base * factor

    @property
    def value(self) -> float:
        """The first group's present learning rate."""
        return float(self._optimizer.param_groups[0]["lr"])
