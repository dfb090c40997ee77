"""What several architectures share: activations and weight initialisations, by name."""

from __future__ import annotations

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
