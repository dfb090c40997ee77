"""Multi-layer perceptron: the baseline that knows nothing of images."""

from __future__ import annotations

from torch import nn

from harness.models.layers import activation as activation_module
from harness.parameters import Activation, Fraction, PositiveInt
from harness.registry import architecture
from harness.spec import ImageShape


@architecture("mlp")
def mlp(
    image: ImageShape,
    num_classes: int,
    *,
    hidden_sizes: tuple[PositiveInt, ...] = (256, 128),
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: Fraction = 0.0,
) -> nn.Sequential:
    """Fully connected layers on the flattened image; without hidden layers it is logistic regression.

    Takes images [N, channels, height, width], returns logits [N, num_classes].

    Args:
        hidden_sizes: features of each hidden layer, as many layers as numbers
        activation: after each hidden layer
        batch_norm: batch normalisation before each activation (arXiv 1502.03167)
        dropout: probability of dropping a hidden feature, after each activation
    """
    network = nn.Sequential(nn.Flatten())
    features = image.channels * image.height * image.width
    for hidden_size in hidden_sizes:
        network.append(nn.Linear(features, hidden_size))
        if batch_norm:
            network.append(nn.BatchNorm1d(hidden_size))
        network.append(activation_module(activation))
        if dropout:
            network.append(nn.Dropout(dropout))
        features = hidden_size
    return network.append(nn.Linear(features, num_classes))
