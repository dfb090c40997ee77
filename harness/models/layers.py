"""What several architectures share: activations and weight initialisations by name, and the classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from harness.parameters import Activation, Init

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation(name: Activation) -> nn.Module:
    """Returns a new activation module: one for each place, so that hooks can tell them apart."""
    return ACTIVATIONS[name]()


def classifier(
    features: int, hidden_sizes: Sequence[int], num_classes: int, activation_name: Activation, dropout: float
) -> nn.Sequential:
    """Returns linear layers from [N, features] to logits [N, num_classes].

    Args:
        features: inputs of the first one.
        hidden_sizes: features of each hidden layer, which an activation follows.
        num_classes: the number of logits.
        activation_name: after each hidden layer.
        dropout: probability of dropping a feature, before each linear layer; 0 leaves the dropout layers out.
    """
    layers = nn.Sequential()
    for hidden_size in hidden_sizes:
        if dropout:
            layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(features, hidden_size))
        layers.append(activation(activation_name))
        features = hidden_size
    if dropout:
        layers.append(nn.Dropout(dropout))
    return layers.append(nn.Linear(features, num_classes))


def initialise(network: nn.Module, init: Init) -> None:
    """Draws the weights of all convolutions and linear layers anew; their biases become zero.

    `default` leaves what torch drew. `kaiming` (arXiv 1502.01852) is normal, by fan out for convolutions, as
    in ResNets, and by fan in for linear layers: with ten classes, fan out would give huge logits.
    `xavier` is uniform (Glorot & Bengio, 2010).
    """
    if init == "default":
        return
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if init == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        else:
            mode = "fan_out" if isinstance(layer, nn.Conv2d) else "fan_in"
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
