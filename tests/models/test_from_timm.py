from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import registry
from harness.errors import HarnessError
from harness.models.pretrained import loaded_weights
from harness.published_weights import Published
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


@pytest.fixture(scope="module")
def vit_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision transformer's weights as timm publishes them: of images of 224x224 and 1000 classes."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), path)
    return path


def build(name: str, image: ImageShape, num_classes: int, path: Path) -> torch.nn.Module:
    return registry.build("architecture", f"timm/{name}", image, num_classes, pretrained=str(path))


@pytest.mark.parametrize(
    ("image", "classes", "others", "head"),
    [
        (ImageShape(3, 224, 224), 1000, set(), "the file's"),
        (
            ImageShape(3, 32, 32),
            10,
            {"pos_embed", "head.weight"},
            "new: 10 classes, and the file has 1000",
        ),
        (ImageShape(1, 224, 224), 1000, {"patch_embed.proj.weight"}, "the file's"),
    ],
)
def test_pretrained_weights_are_fitted_to_the_images_and_classes(
    vit_file: Path, image: ImageShape, classes: int, others: set[str], head: str
) -> None:
    network, state = build("vit_tiny_patch16_224", image, classes, vit_file), load_file(vit_file)
    found = network.state_dict()
    assert {key for key in state if not torch.equal(state[key][: len(found[key])], found[key])} == others
    loaded = loaded_weights(network)
    assert loaded and loaded.head == head and loaded.file == vit_file.name
    if image.channels == 1:
        kernels = state["patch_embed.proj.weight"].sum(1, keepdim=True)
        torch.testing.assert_close(found["patch_embed.proj.weight"], kernels)


def test_a_file_of_other_classes_than_the_published_ones_keeps_its_head(tmp_path: Path) -> None:
    own = timm.create_model("resnet10t", num_classes=7).state_dict()
    save_file(own, tmp_path / "own.safetensors")
    found = build("resnet10t", ImageShape(3, 32, 32), 7, tmp_path / "own.safetensors").state_dict()
    assert all(torch.equal(found[key], value) for key, value in own.items())


@pytest.mark.parametrize(
    ("name", "image", "problem"),
    [
        ("resnet10t", ImageShape(3, 32, 32), "the weights do not fit timm/resnet10t: .*Missing key"),
        ("vit_small_patch16_224", ImageShape(3, 32, 32), "do not fit timm/vit_small_patch16_224: .*size mismatch"),
        ("vit_tiny_patch16_224", ImageShape(2, 32, 32), "take images of 3 channels, not 2"),
    ],
)
def test_weights_that_do_not_fit_are_refused(vit_file: Path, name: str, image: ImageShape, problem: str) -> None:
    with pytest.raises(HarnessError, match=problem):
        build(name, image, 10, vit_file)


@pytest.mark.parametrize("tag", ["augreg_in21k_ft_in1k", "a"])
def test_a_plan_that_took_the_weights_from_elsewhere_than_timm_is_refused(
    vit_file: Path, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    other = {tag: Published("https://host.invalid/x", "another/x", ("model.safetensors",))}
    monkeypatch.setattr("harness.weights_files.published_weights", lambda package, name: other)
    monkeypatch.setattr("harness.weights_files._in_hub", lambda published: vit_file)
    with pytest.raises(HarnessError, match="timm does not say that another/x has weights of vit_tiny_patch16_224"):
        registry.build("architecture", "timm/vit_tiny_patch16_224", ImageShape(3, 32, 32), 10, pretrained=True)
