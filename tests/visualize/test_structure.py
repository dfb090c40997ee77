"""The layers of a network, in the order in which an image passes them."""

from __future__ import annotations

import torch
from torch import nn

from harness.visualize.pictures.structure import Layer, describe, layers_of


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.norm(self.conv(x))).mean((2, 3)))


def test_layers_stand_in_the_order_of_the_pass_and_a_shared_one_counts_once() -> None:
    network = Twice().eval()
    assert layers_of(network, torch.zeros(1, 3, 8, 8)) == [
        Layer("conv", "Conv2d 3 → 4, 3x3, stride 2", (4, 4, 4), 3 * 4 * 9 + 4, "convolution"),
        Layer("norm", "BatchNorm2d", (4, 4, 4), 8, "normalisation"),
        Layer("norm", "BatchNorm2d", (4, 4, 4), 0, "normalisation"),
        Layer("last", "Linear 4 → 2", (2,), 10, "linear"),
    ]
    assert not network.conv._forward_hooks


def test_descriptions() -> None:
    assert describe(nn.Conv2d(8, 8, (3, 1), groups=8)) == "Conv2d 8 → 8, 3x1, 8 groups"
    assert describe(nn.MaxPool2d(2)) == "MaxPool2d 2" and describe(nn.Dropout(0.25)) == "Dropout 0.25"
    assert describe(nn.ReLU()) == "ReLU"
