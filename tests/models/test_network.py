"""The network of a run: its architecture's parameters, and what stands before it."""

from __future__ import annotations

import torch

from harness.models.network import build_network
from harness.spec import ImageShape, parse_run_spec

IMAGE = ImageShape(3, 12, 10)


def test_the_whitening_stands_before_the_architecture() -> None:
    model = {"name": "mlp", "hidden_sizes": [5], "batch_norm": True, "whiten": 2}
    section = parse_run_spec({"model": model, "data": "digits", "optimizer": "adam"}).model
    network = build_network(section, IMAGE, 10)
    assert [name for name, _ in network.named_children()] == ["whitening", "network"]
    [norm] = [each for each in network.modules() if isinstance(each, torch.nn.BatchNorm1d)]
    assert norm.num_features == 5
