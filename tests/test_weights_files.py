"""Files of pretrained weights: where they are looked for, what identifies them, what is said of missing ones."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections import Counter
from pathlib import Path

import pytest
import torchvision
from torchvision.models import get_model_weights, list_models

from harness.data.weights import fetch_weights
from harness.errors import HarnessError
from harness.published_weights import Published, published_weights
from harness.spec import parse_run_spec
from harness.suite.placed_paths import placed
from harness.suite.plan import load_suite
from harness.weights_files import MissingWeights, Weights, find_weights

RESNET18 = "resnet18-f37072fd.pth"


@pytest.fixture(autouse=True)
def hubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty hubs, and a publisher of squeezenet1_1 whose file is in `published/`."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path


def found(architecture: str, pretrained: bool | str) -> Weights:
    weights = find_weights(architecture, pretrained)
    assert weights
    return weights


def in_hub(folder: Path, repository: str, name: str, content: bytes) -> None:
    """Lays a file into the Hugging Face Hub's cache, as its client does."""
    of = folder / "hf" / f"models--{repository.replace('/', '--')}"
    (of / "refs").mkdir(parents=True)
    (of / "refs/main").write_text("c0ffee")
    (of / "snapshots/c0ffee").mkdir(parents=True)
    (of / "snapshots/c0ffee" / name).write_bytes(content)


def publish(monkeypatch: pytest.MonkeyPatch, url: str, repository: str = "") -> Published:
    one = Published(url, repository, ("model.safetensors", "pytorch_model.bin") if repository else (Path(url).name,))
    monkeypatch.setattr("harness.weights_files.published_weights", lambda package, name: {"V1": one})
    return one


def test_what_torchvision_publishes_is_read_from_its_source() -> None:
    names = list_models(module=torchvision.models)
    assert len(names) > 70
    for name in names:
        members = get_model_weights(name).__members__
        read = published_weights("torchvision", name)
        assert {key: one.url for key, one in read.items()} == {
            key: weights.url for key, weights in members.items() if key != "DEFAULT"
        }
        assert next(iter(read)) == members["DEFAULT"].name
        assert all(one.hash_prefix and one.hash_prefix in one.url for one in read.values())


def test_what_timm_publishes_is_read_from_its_source() -> None:
    """Where the source computes it, nothing is read; a worker that has timm at hand refuses what differs."""
    timm = pytest.importorskip("timm")
    seen: Counter[str] = Counter()
    for name in timm.list_models():
        cfg, read = timm.get_pretrained_cfg(name), published_weights("timm", name)
        tag, one = next(iter(read.items()), (None, None))
        expected = (cfg.tag or "", cfg.hf_hub_id or cfg.url) if cfg and (cfg.hf_hub_id or cfg.url) else None
        where = (tag, one.repository or one.url) if one else None
        seen["same" if where == expected else "another" if where else "unread"] += 1
    assert seen["same"] > 0.95 * seen.total() and seen["another"] <= 0.01 * seen.total(), seen


def test_a_copy_of_published_weights_is_the_same_wherever_it_lies(hubs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    publish(monkeypatch, f"https://host.invalid/net-{digits}.pth")
    assert found("torchvision/net", True).identity() == digits, "known before it is fetched"
    (hubs / "mine.pth").write_bytes(b"weights")
    (hubs / "other.pth").write_bytes(b"others")
    assert found("torchvision/net", "mine.pth").identity() == digits
    assert found("torchvision/net", "./other.pth").identity() == hashlib.sha256(b"others").hexdigest()


def test_the_identity_of_a_config_follows_the_content_and_not_the_path(hubs: Path) -> None:
    def config_id(**model: object) -> str:
        sections = {"data": "digits", "optimizer": {"name": "sgd", "lr": 0.1}}
        return parse_run_spec({"model": {"name": "timm/resnet18", **model}, **sections}).config_id()

    for name, content in {"a.pth": b"1", "b.pth": b"1", "c.pth": b"2"}.items():
        (hubs / name).write_bytes(content)
    in_hub(hubs, "timm/resnet18.a1_in1k", "model.safetensors", b"1")
    new, same, other = config_id(), config_id(pretrained="a.pth"), config_id(pretrained="c.pth")
    assert len({new, same, other}) == 3
    assert config_id(pretrained=False) == new
    assert same == config_id(pretrained="b.pth") == config_id(pretrained=True) == config_id(pretrained="a1_in1k")
    (hubs / "a.pth").write_bytes(b"2")
    assert config_id(pretrained="a.pth") == other


def test_published_weights_are_looked_for_in_the_hubs_folders(hubs: Path) -> None:
    here = hubs / "torch/hub/checkpoints" / RESNET18
    weights = found("torchvision/resnet18", True)
    assert weights.path == here and not weights.is_here()
    in_hub(hubs, "timm/resnet18.a2_in1k", "pytorch_model.bin", b"old")
    assert found("timm/resnet18", "a2_in1k").path.read_bytes() == b"old"
    assert not found("timm/resnet18", True).is_here()


@pytest.mark.parametrize(
    ("architecture", "pretrained", "message", "hint"),
    [
        ("torchvision/resnet18", True, f"no .*torch/hub/checkpoints/{RESNET18}", f"models/{RESNET18} .*put it there"),
        (
            "timm/resnet18",
            True,
            "models--timm--resnet18.a1_in1k",
            "timm/resnet18.a1_in1k/resolve/main/model.safetensors",
        ),
        ("torchvision/resnet18", "no/such", "there is no file of weights no/such", "begins at the suite"),
    ],
)
def test_what_is_not_here_is_named_with_its_address(
    architecture: str, pretrained: bool | str, message: str, hint: str
) -> None:
    with pytest.raises(MissingWeights, match=message) as caught:
        found(architecture, pretrained).sha256()
    assert re.search(hint, caught.value.hint)
    sent = pickle.loads(pickle.dumps(caught.value))
    assert str(sent) == str(caught.value) and sent.weights == caught.value.weights


@pytest.mark.parametrize(
    ("architecture", "pretrained", "message", "hint"),
    [
        ("torchvision/resnet18", "IMAGENET1K_V3", "has no weights 'IMAGENET1K_V3'", "IMAGENET1K_V1"),
        ("timm/resnet18", "a9_in1k", "has no weights 'a9_in1k'", "true stands for a1_in1k"),
        ("timm/botnet50ts_256", True, "timm is not known to publish weights of botnet50ts_256", "name a file"),
    ],
)
def test_what_is_not_published_is_refused(architecture: str, pretrained: bool | str, message: str, hint: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        find_weights(architecture, pretrained)
    assert hint in caught.value.hint


def test_only_torchvision_and_timm_have_such_files() -> None:
    assert find_weights("mlp", True) is None and find_weights("mine/net", "x.pth") is None
    assert find_weights("torchvision/resnet18", False) is None


def test_a_file_that_changes_after_the_plan_is_refused(hubs: Path) -> None:
    (hubs / "a.pth").write_bytes(b"1")
    weights = found("torchvision/resnet18", "a.pth")
    weights.identity()
    weights.require_same()
    (hubs / "a.pth").write_bytes(b"22")
    with pytest.raises(HarnessError, match=r"a\.pth has changed since the runs were planned"):
        weights.require_same()
    weights.identity()  # planned again
    weights.require_same()


def test_a_hash_in_the_name_is_checked(hubs: Path) -> None:
    (hubs / "net-00000000.pth").write_bytes(b"1")
    with pytest.raises(HarnessError, match=r"is damaged or another version: its sha256 starts with .*, not 00000000"):
        found("torchvision/resnet18", "net-00000000.pth").require_same()


def test_a_published_file_is_fetched_once_and_checked(hubs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    file = hubs / f"net-{digits}.pth"
    file.write_bytes(b"weights")
    publish(monkeypatch, file.as_uri())
    weights = found("torchvision/net", True)
    fetch_weights(weights)
    file.unlink()
    fetch_weights(weights)
    assert weights.path == hubs / "torch/hub/checkpoints" / file.name and weights.path.read_bytes() == b"weights"


def test_a_download_that_fails_leaves_nothing(hubs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = hubs / "net-00000000.pth"
    damaged.write_bytes(b"another")
    for url, reason in [
        ("http://127.0.0.1:9/net-00000000.pth", "cannot be fetched: .*[Rr]efused"),
        (damaged.as_uri(), "is damaged or another version"),
    ]:
        publish(monkeypatch, url)
        with pytest.raises(HarnessError, match=reason):
            fetch_weights(found("torchvision/net", True))
    assert not list((hubs / "torch/hub/checkpoints").iterdir())


def test_a_download_from_the_hugging_face_hub_that_fails_names_the_file(
    hubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, "https://host.invalid/some/net/resolve/main/model.safetensors", "some/net")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HarnessError, match=r"the weights of timm/net \(V1\) cannot be fetched") as caught:
        fetch_weights(found("timm/net", True))
    assert "get https://host.invalid/some/net/resolve/main/model.safetensors" in caught.value.hint


def test_a_file_in_a_suite_is_beside_it_and_that_of_a_call_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "suites"
    other.mkdir()
    suite = other / "own.yaml"
    suite.write_text(
        "name: own\nbase: {model: {name: torchvision/resnet18, pretrained: ./w.pth}, data: digits, optimizer: adam}\n"
    )
    (other / "w.pth").write_bytes(b"beside the suite")
    (tmp_path / "w.pth").write_bytes(b"in the current folder")
    (tmp_path / "copy.pth").write_bytes(b"beside the suite")
    monkeypatch.chdir(tmp_path)
    own, here, copy = (
        load_suite(suite, overrides).plan(lambda data: "f").runs[0]
        for overrides in ((), ("model.pretrained=./w.pth",), ("model.pretrained=copy.pth",))
    )
    assert own.spec.model.pretrained == str(other / "w.pth")  # type: ignore[attr-defined]
    assert own.run_id == copy.run_id != here.run_id


def test_pretrained_of_ones_own_architecture_is_no_path_of_ours(tmp_path: Path) -> None:
    section = {"name": "hub_net", "pretrained": "microsoft/resnet-50"}
    assert placed({"model": section}, tmp_path)["model"] == section
    ours = placed({"model": {**section, "name": "timm/resnet50"}}, tmp_path)["model"]
    assert ours["pretrained"] == str(tmp_path / "microsoft/resnet-50")


def test_a_name_that_no_file_can_have_is_not_here() -> None:
    weights = find_weights("torchvision/resnet18", "a" * 300 + ".pth")
    assert weights and not weights.is_here()
