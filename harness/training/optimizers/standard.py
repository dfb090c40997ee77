"""The optimizers of most published recipes, as torch.optim has them.

Each takes parameter groups as `torch.optim.Optimizer` does and returns the optimizer. All other optimizers of
torch.optim go by `torch/NAME`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from harness.errors import HarnessError
from harness.parameters import Fraction, NonNegativeFloat, PositiveFloat
from harness.registry import optimizer

Groups = list[dict[str, Any]]


@optimizer("sgd")
def sgd(
    groups: Groups,
    *,
    lr: PositiveFloat,
    momentum: NonNegativeFloat = 0.0,
    nesterov: bool = False,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Stochastic gradient descent.

    Args:
        momentum: heavy-ball momentum; from 1 on it grows without end.
        nesterov: Nesterov's momentum; it needs a momentum above zero.
    """
    if nesterov and not momentum:
        raise HarnessError("optimizer.nesterov needs a momentum above zero", "set optimizer.momentum, e.g. 0.9")
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


@optimizer("adam")
def adam(
    groups: Groups,
    *,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
    amsgrad: bool = False,
) -> Optimizer:
    """Adam (arXiv 1412.6980); its weight decay is added to the gradient."""
    return torch.optim.Adam(groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)


@optimizer("adamw")
def adamw(
    groups: Groups,
    *,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 1e-2,
    amsgrad: bool = False,
) -> Optimizer:
    """Adam with decoupled weight decay (arXiv 1711.05101)."""
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)


@optimizer("adagrad")
def adagrad(
    groups: Groups,
    *,
    lr: PositiveFloat = 1e-2,
    lr_decay: NonNegativeFloat = 0.0,
    eps: PositiveFloat = 1e-10,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Adagrad (Duchi, Hazan and Singer 2011)."""
    return torch.optim.Adagrad(groups, lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay)


@optimizer("rmsprop")
def rmsprop(
    groups: Groups,
    *,
    lr: PositiveFloat = 1e-2,
    alpha: Fraction = 0.99,
    eps: PositiveFloat = 1e-8,
    momentum: NonNegativeFloat = 0.0,
    centered: bool = False,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """RMSprop (Hinton 2012).

    Args:
        alpha: smoothing of the mean square.
        centered: divide by the estimated variance instead of the mean square.
    """
    return torch.optim.RMSprop(
        groups, lr=lr, alpha=alpha, eps=eps, momentum=momentum, centered=centered, weight_decay=weight_decay
    )
