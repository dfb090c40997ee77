"""torch's compiler, for the shapes that come and for however many runs a process has, and a switch that it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])
VARIANTS = 8  # as many as torch's own limit allows a process


def allow_tf32(allowed: bool) -> None:
    """Lets float32 products and convolutions on CUDA round their factors to TF32, or not.

    By torch's older names: Inductor reads those where it chooses kernels (`max-autotune`), and torch, from 2.10 to 2.15
    at least, raises where they are read after `fp32_precision` was set.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def compile_for_each_shape(function: Function, mode: str | None = None, *, fullgraph: bool = False) -> Function:
    """Returns a function or module that is compiled when it is called, anew for each shape.

    `mode` and `fullgraph` are as in `torch.compile`: with the second, what cannot be one graph is an error.

    The compiler keeps what it makes by the code that it was given. Left alone it makes a second shape dynamic, and
    after eight variants of one architecture it compiles no more, as only a log says: what a run gets would depend on
    the runs that its process had before. So each call here may have eight more; code that would be compiled anew at
    every step stops there as ever.
    """
    from torch._dynamo import config

    config.recompile_limit += VARIANTS
    config.accumulated_recompile_limit += VARIANTS
    return torch.compile(function, mode=mode, dynamic=False, fullgraph=fullgraph)  # type: ignore[return-value]
