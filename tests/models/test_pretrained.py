from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model

from harness.errors import HarnessError
from harness.models.from_torchvision import torchvision_model
from harness.models.pretrained import Loaded, leaving_out_weights, loaded_weights
from harness.spec import ImageShape

COLOUR64, GREY64 = ImageShape(3, 64, 64), ImageShape(1, 64, 64)


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ResNet-18's weights as torchvision publishes them: of 1000 classes."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(get_model("resnet18").state_dict(), path)
    return path


def saved(state: object, path: Path) -> str:
    torch.save(state, path)
    return str(path)


def with_its_hash(path: Path) -> Path:
    """Renames a file as torchvision names its own."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(path.with_name(f"{path.stem}-{digest[:8]}.pth"))


def assert_loaded(network: nn.Module, state: dict[str, Tensor], last: str) -> None:
    found = network.state_dict()
    assert found.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(found[key], value) != key.startswith(f"{last}."), key


def test_all_layers_but_the_last_come_from_the_file_and_the_seed_draws_that(resnet_file: Path) -> None:
    state = torch.load(resnet_file, weights_only=True)
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(torchvision_model("resnet18", COLOUR64, 10, pretrained=str(resnet_file)))
        assert networks[-1].training and networks[-1].get_submodule("fc").weight.shape == (10, 512)
        assert_loaded(networks[-1], state, "fc")
    first, same, other = (network.get_parameter("fc.weight") for network in networks)
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert loaded_weights(networks[0]) == Loaded(
        "resnet18.pth",
        hashlib.sha256(resnet_file.read_bytes()).hexdigest(),
        "new: 10 classes, and the file has 1000",
    )


def test_the_last_layer_is_the_files_where_the_classes_are_as_many(resnet_file: Path) -> None:
    network = torchvision_model("resnet18", COLOUR64, 1000, pretrained=str(resnet_file))
    state = torch.load(resnet_file, weights_only=True)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    loaded = loaded_weights(network)
    assert loaded and loaded.head == "the file's"


def test_a_safetensors_file_gives_the_same(resnet_file: Path, tmp_path: Path) -> None:
    state = torch.load(resnet_file, weights_only=True)
    save_file(state, tmp_path / "resnet18.safetensors")
    network = torchvision_model("resnet18", COLOUR64, 10, pretrained=str(tmp_path / "resnet18.safetensors"))
    assert_loaded(network, state, "fc")


def test_a_network_that_is_cut_says_what_it_began_with(resnet_file: Path) -> None:
    network = torchvision_model("resnet18", COLOUR64, 10, pretrained=str(resnet_file), features_after="layer1")
    loaded = loaded_weights(nn.Sequential(network))  # as whitening stands before it
    assert loaded and loaded.file == "resnet18.pth" and "features_after" in loaded.head


def test_weights_that_others_take_the_place_of_are_not_read() -> None:
    with leaving_out_weights():
        network = torchvision_model("googlenet", COLOUR64, 10, pretrained="gone.pth")
    assert network.transform_input is True and loaded_weights(network) is None


@pytest.mark.parametrize(("name", "last"), [("squeezenet1_1", "classifier.1"), ("mnasnet0_5", "classifier.1")])
def test_networks_with_ways_of_their_own_load_too(tmp_path: Path, name: str, last: str) -> None:
    state = get_model(name).state_dict()
    network = torchvision_model(name, COLOUR64, 10, pretrained=saved(state, tmp_path / "weights.pth"))
    assert_loaded(network, state, last)


def test_the_names_in_densenets_old_files_are_read(tmp_path: Path) -> None:
    state = get_model("densenet121").state_dict()
    old = {_old_name(key): value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    network = torchvision_model("densenet121", COLOUR64, 10, pretrained=saved(old, tmp_path / "weights.pth"))
    assert_loaded(network, state, "classifier")


def _old_name(key: str) -> str:
    for layer in ("norm1", "norm2", "conv1", "conv2"):
        key = key.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.") if "denselayer" in key else key
    return key


def test_googlenet_leaves_its_auxiliary_outputs_and_converts_its_inputs(tmp_path: Path) -> None:
    state = get_model("googlenet", init_weights=False).state_dict()
    assert any(key.startswith("aux1.") for key in state)
    path = saved(state, tmp_path / "weights.pth")
    network = torchvision_model("googlenet", COLOUR64, 10, pretrained=path)
    assert_loaded(network, {key: value for key, value in state.items() if not key.startswith("aux")}, "fc")
    assert network.transform_input is True
    as_told = torchvision_model("googlenet", COLOUR64, 10, pretrained=path, kwargs={"transform_input": False})
    assert as_told.transform_input is False
    with pytest.raises(HarnessError, match="googlenet take images of 3 channels, not 1"):
        torchvision_model("googlenet", GREY64, 10, pretrained=path)


def test_a_grey_image_gives_what_the_same_image_in_three_channels_gives(resnet_file: Path) -> None:
    torch.manual_seed(0)
    grey = torchvision_model("resnet18", GREY64, 10, pretrained=str(resnet_file)).eval()
    colour = torchvision_model("resnet18", COLOUR64, 10, pretrained=str(resnet_file)).eval()
    colour.get_submodule("fc").load_state_dict(grey.get_submodule("fc").state_dict())
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "problem", "hint"),
    [
        ("IMAGENET1K_V3", "resnet18 has no weights 'IMAGENET1K_V3'", "did you mean 'IMAGENET1K_V1'?"),
        ("none/such", "there is no file of weights none/such", "check the path"),
        ("such.pth", "there is no file of weights such.pth", "check the path"),
        (".", "resnet18 has no weights '.'", "valid: IMAGENET1K_V1"),
    ],
)
def test_an_unknown_name_lists_the_valid_ones_and_a_missing_file_is_named(
    weights: str, problem: str, hint: str
) -> None:
    with pytest.raises(HarnessError, match=problem) as caught:
        torchvision_model("resnet18", COLOUR64, 10, pretrained=weights)
    assert hint in caught.value.hint


def test_weights_of_another_network_are_refused(resnet_file: Path, tmp_path: Path) -> None:
    def refused(name: str, path: object, problem: str) -> None:
        with pytest.raises(HarnessError, match=f"do not fit torchvision/{name}: {problem}"):
            torchvision_model(name, COLOUR64, 10, pretrained=str(path))

    refused("resnet34", resnet_file, r"they have no layer1\.2\.conv1\.weight")
    refused("resnet50", resnet_file, r"layer1\.0\.conv1\.weight is 64x64x3x3, and 64x64x1x1 in the network")
    state = get_model("resnet18").state_dict()
    state["layer9.weight"] = torch.zeros(1)
    refused("resnet18", saved(state, tmp_path / "more.pth"), r"the network has no layer9\.weight")
    unversioned = saved(dict(get_model("mnasnet0_5").state_dict()), tmp_path / "mnasnet.pth")
    refused("mnasnet0_5", unversioned, ".*[Vv]ersion")


def test_a_file_that_is_no_state_dict_is_refused(resnet_file: Path, tmp_path: Path) -> None:
    cut_off = tmp_path / "cut.pth"
    cut_off.write_bytes(resnet_file.read_bytes()[:100_000])
    text = tmp_path / "text.pt"
    text.write_text("404: not found")
    whole = saved(nn.Linear(1, 1), tmp_path / "whole.pth")
    for path in (str(cut_off), str(text), whole):
        with pytest.raises(HarnessError, match="cannot be read as weights") as caught:
            torchvision_model("resnet18", COLOUR64, 10, pretrained=path)
        assert "torch.save(network.state_dict(), PATH)" in caught.value.hint
    for content in ([torch.zeros(1)], {"epoch": 3}, {3: torch.zeros(1)}):
        with pytest.raises(HarnessError, match="holds no state_dict"):
            torchvision_model("resnet18", COLOUR64, 10, pretrained=saved(content, tmp_path / "other.pth"))


def test_a_hash_in_the_name_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "squeezenet1_1.pth"
    torch.save(get_model("squeezenet1_1").state_dict(), path)
    path = with_its_hash(path)
    torchvision_model("squeezenet1_1", COLOUR64, 10, pretrained=str(path))
    with path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(HarnessError, match=f"sha256 starts with .*, not {path.stem[-8:]}"):
        torchvision_model("squeezenet1_1", COLOUR64, 10, pretrained=str(path))


def test_values_that_are_no_numbers_are_refused_unless_they_are_cut_off(tmp_path: Path) -> None:
    state = get_model("mobilenet_v3_small").state_dict()
    state["classifier.0.weight"].fill_(float("nan"))  # torchvision publishes such weights for vgg16
    path = saved(state, tmp_path / "weights.pth")
    with pytest.raises(HarnessError, match=r"not all numbers: see classifier\.0\.weight"):
        torchvision_model("mobilenet_v3_small", COLOUR64, 10, pretrained=path)
    torchvision_model("mobilenet_v3_small", COLOUR64, 10, pretrained=path, features_after="features.3")
