"""Muon: momentum whose update is orthogonal (Jordan and others 2024, https://kellerjordan.github.io/posts/muon/).

`torch.optim.Muon` takes matrices alone; this one takes a convolution's filters as the matrix [filters, C k k], and
steps all that is no matrix by SGD, so that it steps a whole network.
"""

# Operations on many tensors at once, which torch.optim uses too, have no public names.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from harness.parameters import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from harness.registry import optimizer

# Of the quintic whose slope at zero is as large as can be: singular values end between 0.7 and 1.2, not at one.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@optimizer("muon")
def muon(
    groups: list[dict[str, Any]],
    *,
    lr: PositiveFloat = 0.02,
    momentum: Fraction = 0.95,
    nesterov: bool = True,
    iterations: PositiveInt = 5,
    normalize_weights: bool = False,
    weight_decay: NonNegativeFloat = 0.0,
    other_lr: PositiveFloat = 0.01,
    other_momentum: Fraction = 0.9,
) -> Optimizer:
    """Muon for filters and matrices but the last one, which is the classifier's; SGD with momentum for all others.

    Args:
        lr: of filters and matrices
        momentum: of filters and matrices
        nesterov: Nesterov's momentum, for all
        iterations: of Newton and Schulz; 3 do for small networks
        normalize_weights: scale filters to a mean norm of one before each step, so that only directions are learned
        weight_decay: of all, decoupled: a step takes away its product with the learning rate
        other_lr: of all others
        other_momentum: of all others
    """
    matrices = [each for group in groups for each in group["params"] if each.dim() >= 2]
    last = matrices[-1] if matrices and matrices[-1].dim() == 2 else None
    split: list[dict[str, Any]] = []
    for group in groups:
        chosen = [each for each in group["params"] if each.dim() >= 2 and each is not last]
        others = [each for each in group["params"] if each.dim() < 2 or each is last]
        options = {key: value for key, value in group.items() if key != "params"}
        if chosen:
            split.append({"params": chosen, "orthogonal": True, "lr": lr, "momentum": momentum, **options})
        if others:
            split.append({"params": others, "orthogonal": False, "lr": other_lr, "momentum": other_momentum, **options})
    return Muon(split, nesterov=nesterov, iterations=iterations, normalize=normalize_weights, weight_decay=weight_decay)


class Muon(Optimizer):
    """Steps groups whose `orthogonal` is true as Muon does, and the others as SGD with momentum does.

    Args:
        groups: each with `lr`, `momentum` and `orthogonal`.
        nesterov: Nesterov's momentum.
        iterations: of Newton and Schulz.
        normalize: scales filters to a mean norm of one before each step.
        weight_decay: decoupled.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, nesterov: bool, iterations: int, normalize: bool, weight_decay: float
    ) -> None:
        self._nesterov, self._iterations, self._normalize = nesterov, iterations, normalize
        super().__init__(groups, {"weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Makes one step; a gradient that is missing leaves its parameter as it is."""
        for group in self.param_groups:
            weights = [each for each in group["params"] if each.grad is not None]
            if not weights:
                continue
            updates = self._with_momentum(weights, group["momentum"])
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            if group["orthogonal"]:
                if self._normalize:
                    sizes = [len(each) ** 0.5 for each in weights]
                    norms = torch._foreach_norm(weights)
                    torch._foreach_div_(weights, torch._foreach_div(norms, sizes))
                updates = orthogonal_all(updates, self._iterations)
            torch._foreach_add_(weights, updates, alpha=-group["lr"])

    def _with_momentum(self, weights: list[Tensor], momentum: float) -> list[Tensor]:
        gradients = [cast(Tensor, each.grad) for each in weights]
        buffers = []
        for each in weights:
            state = self.state[each]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(each)
            buffers.append(state["momentum_buffer"])
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=momentum)) if self._nesterov else buffers


def orthogonal_all(updates: list[Tensor], iterations: int) -> list[Tensor]:
    """Returns `orthogonal` of each, those of one shape at once; a wide matrix has as long a step as a tall one."""
    in_order = [_in_order(update) for update in updates]
    of_shape: dict[torch.Size, list[int]] = defaultdict(list)
    for place, update in enumerate(in_order):
        of_shape[update.flatten(1).shape].append(place)
    found = list(updates)
    for (rows, columns), places in of_shape.items():
        stacked = torch.stack([in_order[place].flatten(1) for place in places])
        together = orthogonal(stacked, iterations, max(1.0, rows / columns) ** 0.5).to(stacked.dtype)
        for place, each in zip(places, together.unbind(), strict=True):
            each = each.view(in_order[place].shape)
            found[place] = each if in_order[place] is updates[place] else each.permute(0, 3, 1, 2)
    return found


def _in_order(update: Tensor) -> Tensor:
    """Returns filters that lie in channels-last memory as [filters, k, k, C]: so their matrix needs no copy.

    Where the columns of a matrix change places, those of its U V' do, too.
    """
    return update.permute(0, 2, 3, 1) if update.dim() == 4 and not update.is_contiguous() else update


def orthogonal(matrices: Tensor, iterations: int, scale: float = 1.0) -> Tensor:
    """Returns for matrices [n, rows, columns] about `scale` U V' of their singular value decompositions U S V'.

    In bfloat16 on a GPU, which is enough for it. An iteration, X <- a X + (b S + c S S) X with S = X X', is three
    operations for all matrices: their sums are taken while the products are.
    """
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value is above one
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for left in reversed(range(iterations)):
        a, b, c = COEFFICIENTS
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        last = 1.0 if left else scale
        x = torch.baddbmm(x, polynomial, x, beta=a * last, alpha=last)
    return x.mT if tall else x
