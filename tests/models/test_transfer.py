from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from harness.errors import HarnessError
from harness.models.from_torchvision import torchvision_model
from harness.models.transfer import FrozenBatchNorm2d, cut_after, last_layer
from harness.spec import ImageShape

COLOUR64 = ImageShape(3, 64, 64)
CUTS = [
    ("vgg11", "block2", "features.5"),
    ("vgg11_bn", "features.8", "features.8"),
    ("densenet121", "features.denseblock1", "features.denseblock1"),
    ("squeezenet1_1", "features", "features"),
    ("resnet18", "layer3", "layer3"),
    ("resnet18", "layer2.0", "layer2.0"),
    ("mobilenet_v3_small", "features.2.block", "features.2.block"),
    ("vit_b_32", "encoder", "encoder"),
]


def output_of(network: nn.Module, part: str, images: Tensor) -> Tensor:
    """What a part of the whole network gives."""
    found: list[Tensor] = []
    handle = network.get_submodule(part).register_forward_hook(lambda _, __, output: found.append(output.clone()))
    with torch.no_grad():
        network(images)
    handle.remove()
    return found[0]


def small(name: str) -> dict[str, Any]:
    return {"image_size": 64} if name.startswith("vit") else {}


def step(network: nn.Module) -> None:
    network.train()
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    nn.functional.cross_entropy(network(images), torch.tensor([0, 1, 2, 3])).backward()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "after", "part"), CUTS)
def test_a_cut_network_computes_what_the_whole_one_computes_there(name: str, after: str, part: str) -> None:
    torch.manual_seed(0)
    whole = get_model(name, num_classes=10, **small(name)).eval()
    images = torch.randn(2, 3, 64, 64)
    expected = output_of(whole, part, images)
    trunk = cut_after(name, whole, after)
    for cut in (trunk.eval(), copy.deepcopy(trunk).train().eval()):  # averaged weights are such a copy
        with torch.no_grad():
            assert torch.equal(cut(images), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "after"), [(name, after) for name, after, _ in CUTS])
def test_no_parameter_of_a_cut_network_is_without_use(name: str, after: str) -> None:
    network = torchvision_model(name, COLOUR64, 10, features_after=after, hidden_sizes=(8,))
    assert network.training
    assert all(module.num_batches_tracked == 0 for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    step(network)
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key


@pytest.mark.parametrize(
    ("name", "after", "shape"),
    [
        ("vgg16", "block3", (256, 28, 28)),
        ("vgg16", "block4", (512, 14, 14)),
        ("vgg16_bn", "block3", (256, 28, 28)),
        ("alexnet", "block2", (192, 13, 13)),
    ],
)
def test_blocks_end_with_their_pool(name: str, after: str, shape: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        trunk = cut_after(name, get_model(name), after)
        assert trunk(torch.zeros(1, 3, 224, 224)).shape == (1, *shape)


def test_the_new_classifier_is_report_5s() -> None:
    network = torchvision_model("vgg11", COLOUR64, 256, features_after="block3", hidden_sizes=(1024,))
    assert [name for name, _ in network.named_children()] == ["features", "flatten", "classifier"]
    classifier = list(network.get_submodule("classifier"))  # type: ignore[call-overload]
    assert [type(layer) for layer in classifier] == [nn.Linear, nn.ReLU, nn.Linear]
    assert classifier[0].weight.shape == (1024, 256 * 8 * 8) and classifier[2].weight.shape == (256, 1024)
    alone = torchvision_model("vgg11", COLOUR64, 256, features_after="block3").get_submodule("classifier")
    assert [type(layer) for layer in alone.children()] == [nn.Linear]


@pytest.mark.slow
def test_a_cut_network_has_the_weights_of_the_file(tmp_path: Path) -> None:
    # Tensors of one repeated value take no room in a file.
    shapes = {key: value.shape for key, value in get_model("vgg11").state_dict().items()}
    state = {key: torch.full((1,), float(i)).expand(shape) for i, (key, shape) in enumerate(shapes.items(), start=1)}
    torch.save(state, tmp_path / "vgg11.pth")
    network = torchvision_model(
        "vgg11", COLOUR64, 10, pretrained=str(tmp_path / "vgg11.pth"), features_after="block3", freeze="features"
    )
    found = network.get_submodule("features").state_dict(prefix="features.")
    assert list(found) == [f"features.{layer}.{kind}" for layer in (0, 3, 6, 8) for kind in ("weight", "bias")]
    assert all(torch.equal(value, state[key]) for key, value in found.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "freeze", "free"),
    [
        ("vgg11", "none", {"features", "classifier"}),
        ("vgg11", "features", {"classifier"}),
        ("vgg11", "all_but_last", {"classifier.6"}),
        ("mobilenet_v3_small", "features", {"classifier"}),
        ("mobilenet_v3_small", "all_but_last", {"classifier.3"}),
        ("resnet18", "features", {"fc"}),
        ("vit_b_32", "features", {"heads"}),
    ],
)
def test_what_is_frozen_gets_no_gradient_and_all_else_one(
    name: str, freeze: Literal["none", "features", "all_but_last"], free: set[str]
) -> None:
    network = torchvision_model(name, COLOUR64, 10, freeze=freeze)
    step(network)
    for key, parameter in network.named_parameters():
        expected = any(key.startswith(f"{part}.") for part in free)
        assert parameter.requires_grad == expected == (parameter.grad is not None), key


@pytest.mark.parametrize("after", [None, "layer3"])
def test_frozen_batch_norms_keep_their_statistics_in_training(after: str | None) -> None:
    network = torchvision_model("resnet18", COLOUR64, 10, freeze="features", features_after=after)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    step(network)
    step(copy.deepcopy(network))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(isinstance(norm, FrozenBatchNorm2d) and not norm.training for norm in norms)
    assert network.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key

    usual = torchvision_model("resnet18", COLOUR64, 10)
    step(usual)
    assert usual.get_buffer("bn1.num_batches_tracked") == 1


def test_only_the_norms_of_the_frozen_part_stand_still() -> None:
    network = torchvision_model("mobilenet_v3_small", COLOUR64, 10, freeze="features")
    assert all(module.training for module in network.get_submodule("classifier").modules())
    assert network.get_submodule("features.0.0").training


def test_a_frozen_part_of_a_cut_network_leaves_the_hidden_layers_free() -> None:
    network = torchvision_model("vgg11", COLOUR64, 10, features_after="block1", hidden_sizes=(8,), freeze="features")
    free = [key for key, parameter in network.named_parameters() if parameter.requires_grad]
    assert free == [f"classifier.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]


@pytest.mark.parametrize(
    ("name", "after", "problem", "hint"),
    [
        ("vgg11", "block6", "has no part 'block6'", "valid: block1, block2, block3, block4, block5, or the name"),
        ("resnet18", "block3", "has no part 'block3'", "valid: conv1, bn1, relu, maxpool, layer1, layer2, layer3"),
        ("resnet18", "", "has no part ''", "layer1.0"),
        ("resnet18", "fc", "features_after: fc of torchvision/resnet18 holds the last layer", "before it"),
        ("vgg11", "classifier", "holds the last layer", "before it"),
        ("swin_t", "permute", "computes otherwise in training", "features"),
        ("vit_b_32", "encoder.layers.encoder_layer_0.self_attention", "returns no tensor", "around it"),
        ("resnet18", "layer1.0.downsample", "has no part", "valid"),
    ],
)
def test_a_cut_that_cannot_be_made_is_refused(name: str, after: str, problem: str, hint: str) -> None:
    with pytest.raises(HarnessError, match=problem) as caught:
        torchvision_model(name, COLOUR64, 10, features_after=after)
    assert hint in caught.value.hint


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(HarnessError, match=r"hidden_sizes needs model\.features_after"):
        torchvision_model("resnet18", COLOUR64, 10, hidden_sizes=(8,))
    with pytest.raises(HarnessError, match="all_but_last would freeze the new hidden layers"):
        torchvision_model("resnet18", COLOUR64, 10, features_after="layer1", hidden_sizes=(8,), freeze="all_but_last")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("vgg16", "classifier.6"), ("resnet50", "fc"), ("densenet121", "classifier"), ("vit_b_32", "heads.head")),
        *(("squeezenet1_0", "classifier.1"), ("maxvit_t", "classifier.5"), ("swin_t", "head")),
    ],
)
def test_the_last_layer_is_found(name: str, expected: str) -> None:
    with torch.device("meta"):
        assert last_layer(get_model(name)) == expected
