"""Every other optimizer of torch.optim, as `torch/NAME`."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from harness.errors import HarnessError
from harness.parameters import NonNegativeFloat, PositiveFloat
from harness.registry import optimizer

# What their steps need besides dense gradients, which is all that the training loop has.
REFUSED = {"LBFGS": "a closure that evaluates the loss again", "SparseAdam": "sparse gradients"}


@optimizer("torch/*", names_in=("optim/*.py", r"^class ([A-Z]\w+)\((?:Optimizer|_?Adam\w*)\)"))
def torch_optim(
    name: str,
    groups: list[dict[str, Any]],
    *,
    lr: PositiveFloat | None = None,
    weight_decay: NonNegativeFloat | None = None,
    kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
) -> Optimizer:
    """An optimizer of torch.optim by its class's name.

    Args:
        lr: the learning rate; unset, torch's default.
        weight_decay: unset, torch's default.
        kwargs: its other arguments.

    Raises:
        HarnessError: it does not take these arguments or parameters, or cannot be stepped by the training loop.
    """
    if name in REFUSED:
        raise HarnessError(f"optimizer torch/{name} needs {REFUSED[name]}", "use another, e.g. torch/NAdam")
    given = {"lr": lr, "weight_decay": weight_decay}
    arguments = {key: value for key, value in given.items() if value is not None}
    try:
        return getattr(torch.optim, name)(groups, **arguments, **kwargs)
    except (TypeError, ValueError, RuntimeError) as error:
        raise HarnessError(
            f"optimizer torch/{name}: {error}", "see its page in the documentation of torch.optim"
        ) from None
