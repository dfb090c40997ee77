from __future__ import annotations

from torch import nn

from harness.models.mlp import mlp
from harness.spec import ImageShape


def test_layers_and_parameter_count() -> None:
    network = mlp(ImageShape(1, 28, 28), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 785 * 256 + 257 * 128 + 129 * 10
    with_all = mlp(ImageShape(1, 28, 28), 10, hidden_sizes=(64,), batch_norm=True, dropout=0.5)
    names = [type(layer).__name__ for layer in with_all]
    assert names == ["Flatten", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]


def test_without_hidden_layers_it_is_logistic_regression() -> None:
    network = mlp(ImageShape(3, 8, 8), 10, hidden_sizes=())
    assert [type(layer) for layer in network] == [nn.Flatten, nn.Linear]
    assert sum(parameter.numel() for parameter in network.parameters()) == (192 + 1) * 10
