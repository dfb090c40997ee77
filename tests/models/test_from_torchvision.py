from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from harness import registry
from harness.errors import HarnessError
from harness.models.from_torchvision import torchvision_model
from harness.spec import ImageShape


def test_the_names_found_in_the_sources_are_torchvisions_classification_models() -> None:
    found = [name for name in registry.names("architecture") if name.startswith("torchvision/")]
    expected = torchvision.models.list_models(module=torchvision.models)
    assert found == sorted(f"torchvision/{name}" for name in expected)


def test_kwargs_reach_the_constructor() -> None:
    image = ImageShape(3, 32, 32)
    network = torchvision_model("mobilenet_v3_small", image, 10, kwargs={"dropout": 0.75})
    assert 0.75 in [module.p for module in network.modules() if isinstance(module, nn.Dropout)]


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("resnet18", {"grops": 2}),
        ("mobilenet_v3_small", {"dropuot": 0.75}),
        ("convnext_tiny", {"layer_scales": 0.1}),
        ("resnet18", {"num_classes": 5}),
        ("resnet18", {"weights": "DEFAULT"}),
    ],
)
def test_kwargs_that_do_not_fit_are_refused(name: str, kwargs: dict[str, object]) -> None:
    with pytest.raises(HarnessError, match=f"torchvision/{name} cannot be built.*{next(iter(kwargs))}"):
        torchvision_model(name, ImageShape(3, 32, 32), 10, kwargs=kwargs)


@pytest.mark.parametrize("channels", [1, 4])
def test_the_first_convolution_takes_as_many_channels_as_the_images_have(channels: int) -> None:
    torch.manual_seed(0)
    usual = torchvision_model("resnet18", ImageShape(3, 32, 32), 10)
    torch.manual_seed(0)
    network = torchvision_model("resnet18", ImageShape(channels, 32, 32), 10)
    assert network(torch.zeros(2, channels, 32, 32)).shape == (2, 10)
    assert f"Conv2d({channels}, 64" in str(network)
    ours, theirs = network.get_submodule("conv1").weight, usual.get_submodule("conv1").weight
    assert isinstance(ours, nn.Parameter) and isinstance(theirs, nn.Parameter)
    assert ours.shape == (64, channels, 7, 7)
    assert torch.equal(ours[:, 0], theirs[:, 0]) and torch.equal(ours[:, -1], theirs[:, 0])


def test_a_model_with_auxiliary_outputs_returns_logits_alone_in_training() -> None:
    network = torchvision_model("inception_v3", ImageShape(3, 75, 75), 10)
    assert network(torch.zeros(2, 3, 75, 75)).shape == (2, 10)


def test_a_vision_transformer_is_built_for_the_images_at_hand() -> None:
    network = torchvision_model("vit_b_32", ImageShape(1, 64, 64), 10)
    positions = network.get_submodule("encoder").get_parameter("pos_embedding")
    assert positions.shape[1] == 1 + 2 * 2  # one class token, and patches of 32x32


@pytest.mark.parametrize(
    ("name", "problem"),
    [("alexnet", "does not take images of 32x32"), ("maxvit_t", "cannot be built for 3x32x32")],
)
def test_images_that_are_too_small_are_refused_when_the_network_is_built(name: str, problem: str) -> None:
    with pytest.raises(HarnessError, match=problem) as caught:
        torchvision_model(name, ImageShape(3, 32, 32), 10)
    assert caught.value.hint


def test_trying_a_network_leaves_its_statistics_untouched() -> None:
    network = torchvision_model("resnet18", ImageShape(3, 32, 32), 10)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert network.training and norms and all(norm.num_batches_tracked == 0 for norm in norms)
