"""Runs to draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.prepare import Splits
from harness.data.source import Split
from harness.visualize.trained import Trained
from tests.visualize.charts_fixtures import train

MEAN, STD = 0.5, 0.25  # of hand-made runs: pixels of 0 and 1 are -2 and 2 for their networks


@pytest.fixture(scope="session")
def resnet_run(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small residual network that was trained on digits."""
    return train(tmp_path_factory.mktemp("resnet"), label="resnet", model={"name": "resnet18", "width": 4})


HandMade = Callable[..., Trained]


@pytest.fixture
def hand_made(resnet_run: Trained) -> HandMade:
    """A run with a network and test images that the test writes: pixels in [0, 1], [N, C, H, W]."""

    def build(network: nn.Module, pixels: torch.Tensor) -> Trained:
        run = replace(resnet_run)
        images = (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        split = Split(images, np.arange(len(images)) % 2)
        none = SimpleNamespace(labels=np.zeros(0))
        names = {"splits": Splits(split, none, split, ("cat", "dog"), 0, True)}  # type: ignore[arg-type]
        channels = pixels.shape[1]
        statistics = torch.full((channels, 1, 1), MEAN), torch.full((channels, 1, 1), STD)
        run.__dict__.update(names, network=network.eval(), mean_and_std=statistics)
        return run

    return build
