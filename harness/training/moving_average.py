"""The exponential moving average of a network's weights."""

# Operations on many tensors at once, which torch.optim uses too, have no public names.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """Averages the weights at each step; buffers are copied when they are needed.

    torch's own update copies them at each step, and its count of updates to the device, for which the host waits until
    the GPU has done all that was enqueued. An exponential average needs no count.

    Args:
        network: whose copy `module` is.
        decay: the share of itself that the average keeps at each update.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Takes the weights as they are now: the first ones whole, later ones by 1 - decay."""
        own: list[Tensor] = list(self.module.parameters())
        new: list[Tensor] = list(model.parameters())
        if self.n_averaged == 0:  # the count stays on the CPU
            torch._foreach_copy_(own, new)
        else:
            torch._foreach_lerp_(own, new, 1 - self._decay)
        self.n_averaged += 1

    @torch.no_grad()
    def update_buffers(self, model: nn.Module) -> None:
        """Takes the buffers, e.g. the statistics of batch norm, as they are now."""
        for own, new in zip(self.module.buffers(), model.buffers(), strict=True):
            own.copy_(new)
