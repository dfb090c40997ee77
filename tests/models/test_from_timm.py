from __future__ import annotations

import pytest
import torch

from harness import registry
from harness.errors import HarnessError
from harness.spec import ImageShape

timm = pytest.importorskip("timm")


def test_the_names_found_in_the_sources_are_timms_models() -> None:
    found = [name for name in registry.names("architecture") if name.startswith("timm/")]
    assert found == sorted(f"timm/{name}" for name in timm.list_models())


@pytest.mark.parametrize("image", [ImageShape(1, 32, 32), ImageShape(3, 64, 32)])
@pytest.mark.parametrize("name", ["timm/resnet10t", "timm/vit_tiny_patch16_224"])
def test_models_take_the_images_at_hand(name: str, image: ImageShape) -> None:
    network = registry.build("architecture", name, image, 7)
    assert network.training
    assert network(torch.zeros(2, *image)).shape == (2, 7)


def test_kwargs_reach_the_constructor() -> None:
    network = registry.build(
        "architecture", "timm/vit_tiny_patch16_224", ImageShape(3, 32, 32), 10, kwargs={"patch_size": 4}
    )
    assert network.get_parameter("pos_embed").shape[1] == 1 + 8 * 8  # one class token, and patches of 4x4


@pytest.mark.parametrize(
    ("kwargs", "problem"),
    [
        ({"dorp_rate": 0.1}, "cannot be built.*dorp_rate"),
        ({"pretrained": True}, "cannot be built.*pretrained"),
        ({"features_only": True}, "does not return one logit for each class"),
    ],
)
def test_kwargs_that_do_not_fit_are_refused(kwargs: dict[str, object], problem: str) -> None:
    with pytest.raises(HarnessError, match=f"timm/resnet10t {problem}"):
        registry.build("architecture", "timm/resnet10t", ImageShape(3, 32, 32), 10, kwargs=kwargs)


def test_images_that_do_not_fit_are_refused_when_the_network_is_built() -> None:
    with pytest.raises(HarnessError, match=r"timm/vit_tiny_patch16_224 .*8x8"):
        registry.build("architecture", "timm/vit_tiny_patch16_224", ImageShape(3, 8, 8), 10)
