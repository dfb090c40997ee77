"""Learning-rate schedules: the factor on the learning rate at a moment of training.

Each takes the number of epochs of the run and returns a function of the epochs done (a float: 2.5 is the middle of
the third epoch), which is asked before every step. `warmup_epochs` is applied to all of them in the same way, by
`harness.training.schedule`. Milestones are epochs done: at milestone 10 the eleventh epoch begins with the lower rate,
as in `torch.optim.lr_scheduler.MultiStepLR`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from harness.parameters import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from harness.registry import schedule

Factor = Callable[[float], float]


@schedule("constant")
def constant(epochs: int) -> Factor:
    """The same learning rate throughout."""
    return lambda epoch: 1.0


@schedule("step")
def step(epochs: int, *, step_epochs: PositiveInt, gamma: PositiveFloat = 0.1) -> Factor:
    """Multiplied by gamma every so many epochs.

    Args:
        step_epochs: epochs between two drops.
        gamma: the factor at each drop.
    """
    return lambda epoch: gamma ** (int(epoch) // step_epochs)


@schedule("multistep")
def multistep(epochs: int, *, milestones: list[PositiveInt], gamma: PositiveFloat = 0.1) -> Factor:
    """Multiplied by gamma at each milestone.

    Args:
        milestones: epochs done at which the rate drops.
        gamma: the factor at each drop.
    """
    drops = sorted(milestones)
    return lambda epoch: gamma ** bisect_right(drops, epoch)


@schedule("cosine")
def cosine(epochs: int, *, final_factor: Fraction = 0.0) -> Factor:
    """Half a cosine from one to `final_factor` (arXiv 1608.03983, without restarts).

    Args:
        final_factor: the factor at the end.
    """
    return lambda epoch: final_factor + (1 - final_factor) * (1 + math.cos(math.pi * min(epoch / epochs, 1))) / 2


@schedule("linear")
def linear(epochs: int, *, final_factor: Fraction = 0.0) -> Factor:
    """A straight line from one to `final_factor`.

    Args:
        final_factor: the factor at the end.
    """
    return lambda epoch: 1 + (final_factor - 1) * min(epoch / epochs, 1)


@schedule("one_cycle")
def one_cycle(
    epochs: int,
    *,
    peak_at: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    initial_factor: Fraction = 0.04,
    final_factor: NonNegativeFloat = 4e-6,
    shape: Literal["cosine", "linear"] = "cosine",
) -> Factor:
    """Up to the optimizer's learning rate, then down (arXiv 1708.07120); the momentum stays as it is.

    Args:
        peak_at: share of the run at which the peak is reached.
        initial_factor: the factor at the start.
        final_factor: the factor at the end.
        shape: of the two legs.
    """

    def blend(start: float, end: float, share: float) -> float:
        return start + (end - start) * (share if shape == "linear" else (1 - math.cos(math.pi * share)) / 2)

    def factor(epoch: float) -> float:
        done = min(epoch / epochs, 1)
        if done < peak_at:
            return blend(initial_factor, 1.0, done / peak_at)
        return blend(1.0, final_factor, (done - peak_at) / (1 - peak_at))

    return factor
