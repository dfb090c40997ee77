from __future__ import annotations

import math
import typing

import pytest
import torch
from torch import nn

from harness.models.layers import ACTIVATIONS, activation, initialise
from harness.parameters import Activation, Init


def test_every_declared_activation_is_a_new_module_that_keeps_its_input() -> None:
    assert set(ACTIVATIONS) == set(typing.get_args(Activation))
    for name in ACTIVATIONS:
        module = activation(name)
        assert module is not activation(name)
        numbers = torch.linspace(-2, 2, 5)
        expected = getattr(torch.nn.functional, name)(numbers)
        assert torch.equal(module(numbers), expected)
        assert torch.equal(numbers, torch.linspace(-2, 2, 5))


@pytest.mark.parametrize(
    ("init", "convolution_std", "linear_std"),
    [
        ("kaiming", math.sqrt(2 / (64 * 9)), math.sqrt(2 / 400)),
        ("xavier", math.sqrt(2 / (32 * 9 + 64 * 9)), math.sqrt(2 / (400 + 100))),
        ("default", math.sqrt(1 / (3 * 32 * 9)), math.sqrt(1 / (3 * 400))),
    ],
)
def test_weights_are_as_spread_as_the_papers_say(init: Init, convolution_std: float, linear_std: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(32, 64, 3), nn.Conv2d(64, 8, 1, bias=False), nn.Linear(400, 100))
    initialise(network, init)
    convolution, linear = network[0], network[2]
    assert isinstance(convolution, nn.Conv2d) and isinstance(linear, nn.Linear)
    assert convolution.weight.std().item() == pytest.approx(convolution_std, rel=0.03)
    assert linear.weight.std().item() == pytest.approx(linear_std, rel=0.03)
    assert convolution.bias is not None
    assert (convolution.bias.abs().max() == 0) == (linear.bias.abs().max() == 0) == (init != "default")
