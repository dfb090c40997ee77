from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from harness.models.vgg import vgg
from harness.spec import ImageShape

CIFAR = ImageShape(3, 32, 32)


# The counts of github.com/kuangliu/pytorch-cifar: batch normalisation and one linear layer.
@pytest.mark.parametrize(
    ("name", "expected"),
    [("vgg11", 9_231_114), ("vgg13", 9_416_010), ("vgg16", 14_728_266), ("vgg19", 20_040_522)],
)
def test_parameter_count(name: str, expected: int) -> None:
    with torch.device("meta"):
        network = vgg(name, CIFAR, 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize(("name", "letter"), [("vgg11", "A"), ("vgg13", "B"), ("vgg16", "D"), ("vgg19", "E")])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_blocks_compute_what_torchvision_computes(name: str, letter: str, batch_norm: bool) -> None:
    torch.manual_seed(0)
    theirs = make_layers(cfgs[letter], batch_norm=batch_norm).eval()
    network = vgg(name, CIFAR, 10, batch_norm=batch_norm).eval()
    ours = nn.Sequential(*(block for name, block in network.named_children() if name.startswith("block")))
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    images = torch.randn(1, *CIFAR)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize("side", [1, 8, 9, 28, 33])
def test_any_image_size_passes(side: int) -> None:
    network = vgg("vgg11", ImageShape(1, side, side), 10, width=4).eval()
    assert network(torch.zeros(2, 1, side, side)).shape == (2, 10)


def test_the_classifier_grows_two_hidden_layers_and_dropout_before_each_linear_layer() -> None:
    def classifier(hidden_size: int, dropout: float) -> list[str]:
        network = vgg("vgg11", CIFAR, 10, width=4, hidden_size=hidden_size, dropout=dropout)
        return [type(layer).__name__ for layer in network.get_submodule("classifier").children()]

    assert classifier(0, 0.0) == ["Linear"]
    assert classifier(0, 0.5) == ["Dropout", "Linear"]
    assert classifier(16, 0.0) == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert classifier(16, 0.5) == ["Dropout", "Linear", "ReLU"] * 2 + ["Dropout", "Linear"]
