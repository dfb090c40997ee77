"""Parts of torch without torch's compiler, which they import only to tell it to keep out.

Optimizers, counters of operations and DDP import `torch._dynamo` when they are first called: that takes as long as
torch itself, and longer than a small run trains. The counters import Triton, too, a tenth of torch. Nothing here
compiles them; a model may be compiled all the same.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

FLOP_COUNTER = "torch.utils.flop_counter"


def call_at_once(method: Callable[..., Any]) -> None:
    """Makes a method that is closed to the compiler call its body without asking the compiler first.

    `torch._compile._disable_dynamo` keeps what it is to call at the body itself; where a release of torch does it
    otherwise, this has no effect.
    """
    body = getattr(method, "__wrapped__", None)
    if body is not None:
        setattr(body, "__dynamo_disable", body)


def make_optimizer(make: Callable[[], Optimizer]) -> Optimizer:
    """Returns the optimizer; the `step` of one of torch's own is that of its class without its wrappers.

    Those are the compiler's, one that switches gradients off, which is kept, and one that runs hooks and names the step
    in a profile. What the wrappers of other optimizers do is unknown.
    """
    for method in (Optimizer.add_param_group, Optimizer.zero_grad, Optimizer.state_dict, Optimizer.load_state_dict):
        call_at_once(method)
    optimizer = make()
    if type(optimizer).__module__.startswith("torch.optim.") and not optimizer.defaults.get("differentiable"):
        body = functools.partial(inspect.unwrap(type(optimizer).step), optimizer)
        optimizer.step = torch.no_grad()(body)  # type: ignore[method-assign]
    return optimizer


def import_flop_counter() -> ModuleType:
    """Returns `torch.utils.flop_counter`, imported without Triton, whose kernels it could count too.

    Where either was imported before, this has no effect on them.
    """
    hidden = "triton" not in sys.modules and FLOP_COUNTER not in sys.modules
    log = logging.getLogger(FLOP_COUNTER)
    before = log.disabled
    if hidden:
        sys.modules["triton"] = None  # type: ignore[assignment] - to import it raises ImportError now
        log.disabled = True  # it would say so
    try:
        return importlib.import_module(FLOP_COUNTER)
    finally:
        if hidden:
            del sys.modules["triton"]
        log.disabled = before


def wrap_for_ranks(wrap: Callable[[], nn.Module]) -> nn.Module:
    """Returns a network in DDP that asks nothing of the compiler, neither when it is made nor at its forward passes.

    It is made with the reducer of gradients that DDP takes unless someone has set up the compiler to reduce them; where
    the compiler was imported before, it is asked. It must not be compiled.
    """
    entering = getattr(DistributedDataParallel, "_inside_ddp_forward", None)
    if entering is None:  # another release of torch, of whose DDP nothing is known
        return wrap()
    with _at_rest():
        model = wrap()
    entering = inspect.unwrap(entering)
    model._inside_ddp_forward = functools.partial(contextlib.contextmanager(entering), model)  # type: ignore[assignment]
    return model


@contextlib.contextmanager
def _at_rest() -> Iterator[None]:
    if "torch._dynamo" in sys.modules:
        yield
        return
    stand_in = _AtRest()
    torch._dynamo = stand_in  # type: ignore[assignment]
    try:
        yield
    finally:
        if torch.__dict__["_dynamo"] is stand_in:
            del torch._dynamo  # whoever looks for it next imports it


class _AtRest:
    """The compiler as it is before anyone has set it up; what is not known of it is asked of itself."""

    utils = SimpleNamespace(get_optimize_ddp_mode=lambda: "ddp_optimizer")

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("torch._dynamo"), name)
