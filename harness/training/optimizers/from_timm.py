"""The optimizers of timm (https://huggingface.co/docs/timm), as `timm/NAME`."""

from __future__ import annotations

from typing import Any

from timm.optim import get_optimizer_class, get_optimizer_info  # pyright: ignore[reportPrivateImportUsage]
from torch.optim import Optimizer

from harness.errors import HarnessError
from harness.parameters import NonNegativeFloat, PositiveFloat
from harness.registry import optimizer


@optimizer("timm/*", names_in=("optim/_optim_factory.py", r"^\s+name='(\w+)'"))
def timm_optimizer(
    name: str,
    groups: list[dict[str, Any]],
    *,
    lr: PositiveFloat | None = None,
    weight_decay: NonNegativeFloat | None = None,
    kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
) -> Optimizer:
    """An optimizer of timm (https://huggingface.co/docs/timm) by its name there, e.g. `timm/lion`.

    Args:
        lr: the learning rate; unset, timm's default.
        weight_decay: unset, timm's default.
        kwargs: its other arguments.

    Raises:
        HarnessError: it needs a package that is missing, does not take these arguments or parameters, or cannot be
            stepped by the training loop.
    """
    if get_optimizer_info(name).second_order:
        raise HarnessError(f"optimizer timm/{name} needs second derivatives", "use another, e.g. timm/lion")
    given = {"lr": lr, "weight_decay": weight_decay}
    arguments = {key: value for key, value in given.items() if value is not None}
    try:
        found = get_optimizer_class(name)(groups, **arguments, **kwargs)
    except (AssertionError, ImportError, NameError, RuntimeError, TypeError, ValueError) as error:
        raise HarnessError(f"optimizer timm/{name}: {error}", "see its documentation in timm.optim") from None
    if any(group["lr"] is None for group in found.param_groups):
        raise HarnessError(f"optimizer timm/{name} needs a learning rate", "set optimizer.lr")
    return found
