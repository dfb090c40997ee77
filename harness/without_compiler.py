"""Parts of torch without torch's compiler, which they import only to tell it to keep out.

Optimizers and counters of operations import `torch._dynamo` when they are first called: that takes as long as torch
itself, and longer than a small run trains. Nothing here compiles them; a model may be compiled all the same.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


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
    in a profile. Of other optimizers nobody knows what their wrappers do.
    """
    for method in (Optimizer.add_param_group, Optimizer.zero_grad, Optimizer.state_dict, Optimizer.load_state_dict):
        call_at_once(method)
    optimizer = make()
    if type(optimizer).__module__.startswith("torch.optim.") and not optimizer.defaults.get("differentiable"):
        body = functools.partial(inspect.unwrap(type(optimizer).step), optimizer)
        optimizer.step = torch.no_grad()(body)  # type: ignore[method-assign]
    return optimizer
