"""torch's compiler, for the shapes that come and for however many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
NO_LIMIT = 2**31 - 1


def compile_for_each_shape(function: Function, mode: str | None = None) -> Function:
    """Returns a function or module that is compiled when it is called, anew for each shape; `mode` as `torch.compile`.

    The compiler keeps what it makes by the code that it was given. Left alone it makes a second shape dynamic, and
    after eight variants of one architecture it compiles no more, as only a log says: what a run gets would depend on
    the runs that its process had before.
    """
    import torch._dynamo

    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = NO_LIMIT
    return torch.compile(function, mode=mode, dynamic=False)  # type: ignore[return-value]
