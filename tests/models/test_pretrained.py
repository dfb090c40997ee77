from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model, get_model_weights

from harness.errors import HarnessError
from harness.models.from_torchvision import torchvision_model
from harness.models.pretrained import HASH_IN_NAME
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


def publish(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, url: str) -> WeightsEnum:
    """Lets torchvision's default weights of an architecture lie at `url`, and torch.hub keep files in `folder`."""
    monkeypatch.setenv("TORCH_HOME", str(folder))
    weights = get_model_weights(name).__members__["DEFAULT"]
    monkeypatch.setattr(weights.value, "url", url)
    return weights


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
        networks.append(torchvision_model("resnet18", COLOUR64, 10, weights=str(resnet_file)))
        assert networks[-1].training and networks[-1].get_submodule("fc").weight.shape == (10, 512)
        assert_loaded(networks[-1], state, "fc")
    first, same, other = (network.get_parameter("fc.weight") for network in networks)
    assert torch.equal(first, same) and not torch.equal(first, other)
    # Where the classes are as many as the weights', the last layer is new too.
    assert_loaded(torchvision_model("resnet18", COLOUR64, 1000, weights=str(resnet_file)), state, "fc")


@pytest.mark.parametrize(("name", "last"), [("squeezenet1_1", "classifier.1"), ("mnasnet0_5", "classifier.1")])
def test_networks_with_ways_of_their_own_load_too(tmp_path: Path, name: str, last: str) -> None:
    state = get_model(name).state_dict()
    network = torchvision_model(name, COLOUR64, 10, weights=saved(state, tmp_path / "weights.pth"))
    assert_loaded(network, state, last)


def test_the_names_in_densenets_old_files_are_read(tmp_path: Path) -> None:
    state = get_model("densenet121").state_dict()
    old = {_old_name(key): value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    network = torchvision_model("densenet121", COLOUR64, 10, weights=saved(old, tmp_path / "weights.pth"))
    assert_loaded(network, state, "classifier")


def _old_name(key: str) -> str:
    for layer in ("norm1", "norm2", "conv1", "conv2"):
        key = key.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.") if "denselayer" in key else key
    return key


def test_googlenet_leaves_its_auxiliary_outputs_and_converts_its_inputs(tmp_path: Path) -> None:
    state = get_model("googlenet", init_weights=False).state_dict()
    assert any(key.startswith("aux1.") for key in state)
    path = saved(state, tmp_path / "weights.pth")
    network = torchvision_model("googlenet", COLOUR64, 10, weights=path)
    assert_loaded(network, {key: value for key, value in state.items() if not key.startswith("aux")}, "fc")
    assert network.transform_input is True
    as_told = torchvision_model("googlenet", COLOUR64, 10, weights=path, kwargs={"transform_input": False})
    assert as_told.transform_input is False
    with pytest.raises(HarnessError, match="googlenet take images of 3 channels, not 1"):
        torchvision_model("googlenet", GREY64, 10, weights=path)


def test_a_grey_image_gives_what_the_same_image_in_three_channels_gives(resnet_file: Path) -> None:
    torch.manual_seed(0)
    grey = torchvision_model("resnet18", GREY64, 10, weights=str(resnet_file)).eval()
    colour = torchvision_model("resnet18", COLOUR64, 10, weights=str(resnet_file)).eval()
    colour.get_submodule("fc").load_state_dict(grey.get_submodule("fc").state_dict())
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "problem", "hint"),
    [
        ("IMAGENET1K_V3", "resnet18 has no weights 'IMAGENET1K_V3'", "valid: IMAGENET1K_V1, DEFAULT"),
        ("none/such", "there is no file none/such", "check the path"),
        ("such.pth", "there is no file such.pth", "check the path"),
        (".", "resnet18 has no weights '.'", "valid: IMAGENET1K_V1"),
    ],
)
def test_an_unknown_name_lists_the_valid_ones_and_a_missing_file_is_named(
    weights: str, problem: str, hint: str
) -> None:
    with pytest.raises(HarnessError, match=problem) as caught:
        torchvision_model("resnet18", COLOUR64, 10, weights=weights)
    assert hint in caught.value.hint


def test_weights_of_another_network_are_refused(resnet_file: Path, tmp_path: Path) -> None:
    def refused(name: str, path: object, problem: str) -> None:
        with pytest.raises(HarnessError, match=f"do not fit torchvision/{name}: {problem}"):
            torchvision_model(name, COLOUR64, 10, weights=str(path))

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
            torchvision_model("resnet18", COLOUR64, 10, weights=path)
        assert "torch.save(network.state_dict(), PATH)" in caught.value.hint
    for content in ([torch.zeros(1)], {"epoch": 3}, {3: torch.zeros(1)}):
        with pytest.raises(HarnessError, match="holds no state_dict"):
            torchvision_model("resnet18", COLOUR64, 10, weights=saved(content, tmp_path / "other.pth"))


def test_a_hash_in_the_name_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "squeezenet1_1.pth"
    torch.save(get_model("squeezenet1_1").state_dict(), path)
    path = with_its_hash(path)
    torchvision_model("squeezenet1_1", COLOUR64, 10, weights=str(path))
    with path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(HarnessError, match=f"sha256 starts with .*, not {path.stem[-8:]}"):
        torchvision_model("squeezenet1_1", COLOUR64, 10, weights=str(path))


def test_values_that_are_no_numbers_are_refused_unless_they_are_cut_off(tmp_path: Path) -> None:
    state = get_model("mobilenet_v3_small").state_dict()
    state["classifier.0.weight"].fill_(float("nan"))  # torchvision publishes such weights for vgg16
    path = saved(state, tmp_path / "weights.pth")
    with pytest.raises(HarnessError, match=r"not all numbers: see classifier\.0\.weight"):
        torchvision_model("mobilenet_v3_small", COLOUR64, 10, weights=path)
    torchvision_model("mobilenet_v3_small", COLOUR64, 10, weights=path, features_after="features.3")


def test_published_weights_are_fetched_once_and_without_a_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    published = tmp_path / "squeezenet1_1.pth"
    state = get_model("squeezenet1_1").state_dict()
    torch.save(state, published)
    published = with_its_hash(published)
    publish(monkeypatch, tmp_path / "home", "squeezenet1_1", published.as_uri())
    for _ in range(2):
        assert_loaded(torchvision_model("squeezenet1_1", COLOUR64, 10, weights="DEFAULT"), state, "classifier.1")
        published.unlink(missing_ok=True)
    kept = tmp_path / "home/hub/checkpoints" / published.name
    kept.write_bytes(b"damaged")
    with pytest.raises(HarnessError, match="is damaged"):
        torchvision_model("squeezenet1_1", COLOUR64, 10, weights="IMAGENET1K_V1")
    assert capfd.readouterr() == ("", "")


def test_a_download_that_fails_says_what_to_fetch_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    damaged = tmp_path / "squeezenet1_1-00000000.pth"
    damaged.write_bytes(b"another")
    monkeypatch.setenv("no_proxy", "*")
    for url, reason in [
        ("http://127.0.0.1:9/squeezenet1_1-00000000.pth", "[Rr]efused"),
        ((tmp_path / "gone-00000000.pth").as_uri(), "No such file"),
        (damaged.as_uri(), "invalid hash"),
    ]:
        publish(monkeypatch, tmp_path / "home", "squeezenet1_1", url)
        with pytest.raises(HarnessError, match=f"cannot be downloaded: .*{reason}") as caught:
            torchvision_model("squeezenet1_1", COLOUR64, 10, weights="DEFAULT")
        assert url in caught.value.hint and "model.weights: PATH" in caught.value.hint
    left = (tmp_path / "home/hub/checkpoints").iterdir()
    assert {path.suffix for path in left} == {".lock"}


def test_a_folder_that_cannot_be_written_is_an_error_of_the_same_kind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "home").write_text("a file")
    publish(monkeypatch, tmp_path / "home", "squeezenet1_1", "file:///squeezenet1_1-00000000.pth")
    with pytest.raises(HarnessError, match="cannot be downloaded"):
        torchvision_model("squeezenet1_1", COLOUR64, 10, weights="DEFAULT")


def test_every_published_file_of_torchvision_is_checked_by_the_hash_in_its_name() -> None:
    names = torchvision.models.list_models(module=torchvision.models)
    urls = {weights.url for name in names for weights in get_model_weights(name)}
    assert len(urls) > 80 and all(HASH_IN_NAME.search(url) for url in urls)
