"""What every optimizer promises."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.contracts.promise import Promise, require

Build = Callable[[nn.Module], Optimizer]
"""Makes the optimizer of a network's parameters."""


def promises(build: Build) -> Iterator[Promise]:
    """Yields what is promised, of a network with layers that have norms and biases."""
    yield "each parameter is stepped once", lambda: each_parameter_is_in_one_group(build)
    yield "every parameter changes and stays finite", lambda: steps_every_parameter(build)
    yield "a run that goes on steps as one that was not interrupted", lambda: goes_on_exactly(build)


def small_network() -> nn.Sequential:
    """Returns a network of matrices, biases and norms, the same each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3))


def after_steps(model: nn.Module, optimizer: Optimizer, first: int = 0, last: int = 5) -> dict[str, Tensor]:
    """Trains on noise, and returns the network's state.

    Args:
        first, last: of the steps, each of which has images of its own.
    """
    for step in range(first, last):
        random = torch.Generator().manual_seed(1 + step)
        images, labels = torch.randn(16, 6, generator=random), torch.randint(0, 3, (16,), generator=random)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.state_dict()


def each_parameter_is_in_one_group(build: Build) -> None:
    """The optimizer has the groups that it was given: each trainable parameter once, and each has a rate."""
    model = small_network()
    optimizer = build(model)
    require(isinstance(optimizer, Optimizer), f"it returns no torch.optim.Optimizer, but a {type(optimizer).__name__}")
    found = sorted(id(parameter) for group in optimizer.param_groups for parameter in group["params"])
    require(found == sorted(map(id, model.parameters())), "its param_groups do not hold each parameter once")
    require(all("lr" in group for group in optimizer.param_groups), "a group has no lr, which the schedule sets")


def steps_every_parameter(build: Build) -> None:
    """Five steps change every parameter, and to finite values."""
    model = small_network()
    found = after_steps(model, build(model))
    for name, before in small_network().named_parameters():
        require(found[name].isfinite().all(), f"after five steps {name} is not finite")
        require(not torch.equal(found[name], before), f"five steps leave {name} as it was")


def goes_on_exactly(build: Build) -> None:
    """Its `state_dict` is all that it remembers: after it is loaded, steps are the same to the bit."""
    whole = small_network()
    expected = after_steps(whole, build(whole))
    model = small_network()
    optimizer = build(model)
    half = copy.deepcopy((after_steps(model, optimizer, last=3), optimizer.state_dict()))
    model = small_network()
    optimizer = build(model)
    model.load_state_dict(half[0])
    optimizer.load_state_dict(half[1])
    found = after_steps(model, optimizer, first=3)
    different = [name for name in expected if not torch.equal(found[name], expected[name])]
    require(not different, f"after its state was loaded, {', '.join(different)} are not what they would have been")
