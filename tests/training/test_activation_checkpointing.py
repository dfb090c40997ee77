"""Activation checkpointing: the same steps as without, and less that is kept between the passes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.network import build_network
from harness.spec import ImageShape, parse_run_spec
from harness.training.activation_checkpointing import checkpoint_activations, checkpointed_blocks

IMAGE = ImageShape(3, 32, 32)


def built(model: Any) -> nn.Module:
    torch.manual_seed(0)
    spec = parse_run_spec({"model": model, "data": "digits", "optimizer": {"name": "sgd", "lr": 0.1}})
    return build_network(spec.model, IMAGE, 10)


class Block(nn.Sequential):
    """A block with batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5))


def both(build: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module]:
    plain = build()
    own = copy.deepcopy(plain)
    checkpoint_activations("own", own)
    return plain, own


def step(network: nn.Module, images: Tensor) -> Tensor:
    torch.manual_seed(1)
    loss = network(images).square().mean()
    loss.backward()
    return loss.detach()


def kept_bytes(network: nn.Module, images: Tensor) -> int:
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        kept[value.data_ptr()] = value.nbytes
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        network(images)
    return sum(kept.values())


@pytest.mark.parametrize("build", [lambda: nn.Sequential(*(Block() for _ in range(6))), lambda: built("resnet18")])
def test_steps_statistics_and_random_numbers_are_those_of_the_network_without(build: Callable[[], nn.Module]) -> None:
    plain, own = both(build)
    images = torch.randn(4, *(IMAGE if any(isinstance(one, nn.Conv2d) for one in plain.modules()) else (16,)))
    assert plain.state_dict().keys() == own.state_dict().keys()
    for _ in range(2):
        assert torch.equal(step(plain, images), step(own, images))
        assert torch.equal(torch.rand(3), (step(plain, images), torch.rand(3))[1]), "dropout draws no more"
        step(own, images)
    for one, other in zip(plain.parameters(), own.parameters(), strict=True):
        assert one.grad is not None and torch.equal(one.grad, other.grad)  # type: ignore[arg-type]
    for (name, one), other in zip(plain.named_buffers(), own.buffers(), strict=True):
        assert torch.equal(one, other), name
    assert torch.equal(plain.eval()(images), own.eval()(images))
    norms = [norm for norm in own.modules() if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.1}


def test_less_is_kept_between_the_passes_and_a_copy_computes_with_its_own_weights() -> None:
    plain, own = both(lambda: built("resnet18"))
    images = torch.randn(8, *IMAGE)
    assert kept_bytes(own, images) < 0.5 * kept_bytes(plain, images)
    copied = copy.deepcopy(own)
    for weight in copied.parameters():
        nn.init.zeros_(weight)
    assert step(copied, images) == 0 and step(own, images) > 0
    assert all(weight.grad is not None for weight in copied.parameters())


@pytest.mark.parametrize(
    ("model", "blocks"),
    [
        ("resnet18", 8),
        ("vgg11", 5),
        ("torchvision/resnet50", 16),
        ("torchvision/efficientnet_b0", 9),
        ("torchvision/densenet121", 7),
        ("torchvision/vit_b_16", 12),
        ("timm/vit_tiny_patch16_224", 12),
    ],
    ids=str,
)
def test_blocks_are_found_and_counted(model: Any, blocks: int) -> None:
    if "timm" in str(model):
        pytest.importorskip("timm")
    network = built(model)
    assert checkpointed_blocks(network) == 0
    checkpoint_activations("own", network)
    assert checkpointed_blocks(network) == blocks


class InPlace(Block):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.mul_(2.0))


def test_what_cannot_be_computed_anew_is_refused() -> None:
    with pytest.raises(HarnessError, match="activation_checkpointing: mlp has no blocks of several layers"):
        checkpoint_activations("mlp", built("mlp"))
    network = nn.Sequential(InPlace(), Block())
    checkpoint_activations("own", network)
    with pytest.raises(HarnessError, match="InPlace changes its input in place"):
        network(torch.randn(4, 16))
