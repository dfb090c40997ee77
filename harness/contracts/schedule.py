"""What every schedule promises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from harness.contracts.promise import Promise, require

EPOCHS, STEPS = 12, 7  # steps an epoch

Build = Callable[[int], Callable[[float], float]]


def promises(build: Build) -> Iterator[Promise]:
    """Yields what is promised of runs of one and of twelve epochs."""
    for epochs in (1, EPOCHS):
        of = f", of {epochs} epoch{'s' * (epochs > 1)}"
        yield f"each step has a factor{of}", lambda epochs=epochs: gives_each_step_a_factor(build, epochs)
        yield f"it has no state{of}", lambda epochs=epochs: has_no_state(build, epochs)


def gives_each_step_a_factor(build: Build, epochs: int) -> None:
    """The factor on the learning rate is a finite number, nowhere negative, and not 0 throughout."""
    factor = build(epochs)
    require(callable(factor), f"it returns no function, but a {type(factor).__name__}")
    found = {step: factor(step / STEPS) for step in range(epochs * STEPS)}
    for step, value in found.items():
        right = isinstance(value, float | int) and math.isfinite(value) and value >= 0
        require(right, f"after {step / STEPS:.3g} epochs the factor is {value!r}")
    require(any(found.values()), "the factor is 0 in every step")


def has_no_state(build: Build, epochs: int) -> None:
    """A run that goes on asks for the factors from the middle on, and gets the same."""
    steps = range(epochs * STEPS)
    factor = build(epochs)
    forward = [factor(step / STEPS) for step in steps]
    again = build(epochs)
    backward = [again(step / STEPS) for step in reversed(steps)]
    require(forward == backward[::-1], "asked in another order, it gives other factors")
