"""Runs that begin with pretrained weights, as a user starts them: what they begin with, are known by, and record."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.faults.runs import EVERY_STEPS, bits, finish, go, make_spec
from tests.house import House

# The steps are so short that the weights are still those of the file.
SUITE = """\
name: s
base:
  model: {name: torchvision/mobilenet_v3_small, pretrained: weights.pth}
  data: {name: synthetic, train: 64, test: 20}
  optimizer: {name: sgd, lr: 1e-30}
  train: {epochs: 1, global_batch_size: 32}
"""
HEAD = "classifier.3."


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network's weights as torchvision's users save them."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), path)
    return path


def parameters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns what an optimizer changes, without the head."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return {name: value for name, value in state.items() if not name.startswith(HEAD) and not name.endswith(statistics)}


def assert_are(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in parameters(expected).items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-25, msg=name)


def results(house: House) -> dict[str, dict[str, Any]]:
    """Returns the results by run id."""
    found = (json.loads(path.read_text()) for path in house.path.glob("results/s/*/*/result.json"))
    return {result["run_id"]: result for result in found}


def write_suite(house: House, weights: Path, **changes: str) -> None:
    text = SUITE
    for before, after in changes.items():
        text = text.replace(before, after)
    (house.path / "s.yaml").write_text(text)
    shutil.copy(weights, house.path / "weights.pth")


@pytest.mark.launch
def test_a_run_begins_with_the_weights_of_a_file_and_is_known_by_their_content(house: House, weights: Path) -> None:
    write_suite(house, weights)
    ended = house.run("s.yaml")
    assert ended.returncode == 0, ended.stderr
    told = "torchvision/mobilenet_v3_small begins with weights.pth; its last layer is new: 10 classes"
    assert told in ended.stderr
    [result] = results(house).values()
    recorded = {name: value for name, value in result["resolved"].items() if name.startswith("pretrained")}
    assert recorded == {
        "pretrained_file": "weights.pth",
        "pretrained_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "pretrained_head": "new: 10 classes, and the file has 1000",
    }
    [final] = house.path.glob("results/s/*/*/checkpoints/final.safetensors")
    assert_are(load_file(final), torch.load(weights, weights_only=True))

    (house.path / "elsewhere").mkdir()
    shutil.copy(weights, house.path / "elsewhere/copy.pth")
    again = house.run("s.yaml", "--set", "model.pretrained=elsewhere/copy.pth")
    assert "1 is done on this system: skipped" in again.stderr
    state = torch.load(weights, weights_only=True)
    torch.save({name: value / 2 for name, value in state.items()}, house.path / "weights.pth")
    assert house.run("s.yaml").returncode == 0 and len(results(house)) == 2


@pytest.mark.launch
def test_true_finds_the_weights_in_the_cache_of_the_hugging_face_hub(house: House, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    state = timm.create_model("mobilenetv3_small_050").state_dict()
    cache = house.path / "hf/hub/models--timm--mobilenetv3_small_050.lamb_in1k"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs/main").write_text("c0ffee")
    (cache / "snapshots/c0ffee").mkdir(parents=True)
    (house.path / "s.yaml").write_text(
        SUITE.replace(
            "torchvision/mobilenet_v3_small, pretrained: weights.pth", "timm/mobilenetv3_small_050, pretrained: true"
        )
    )
    missing = run_with_hubs(house, "s.yaml")
    assert missing.returncode == 2 and not (house.path / "results/s").exists()
    error, hint = missing.stderr.splitlines()
    assert "the weights of timm/mobilenetv3_small_050 (lamb_in1k) are not here" in error
    url = "https://huggingface.co/timm/mobilenetv3_small_050.lamb_in1k/resolve/main/model.safetensors"
    assert "harness run SUITE --download" in hint and url in hint and "`pretrained: PATH`" in hint

    save_file(state, cache / "snapshots/c0ffee/model.safetensors")
    ended = run_with_hubs(house, "s.yaml")
    assert ended.returncode == 0, ended.stderr
    [final] = house.path.glob("results/s/*/*/checkpoints/final.safetensors")
    found = load_file(final)
    assert_are(found, {name: value for name, value in state.items() if not name.startswith("classifier.")})

    asked = "import sys; from harness.cli import main\ntry: main(['plan', 's.yaml'])\nexcept SystemExit: pass\n"
    asked += "print([name for name in ('torch', 'timm') if name in sys.modules])"
    planned = subprocess.run(
        [sys.executable, "-c", asked], cwd=house.path, env=environment(house), capture_output=True, text=True
    )
    [run_id] = results(house)
    assert run_id in planned.stdout and planned.stdout.endswith("[]\n"), planned


@pytest.mark.launch
def test_weights_of_torchvision_are_looked_for_in_torch_hubs_folder_and_checked(house: House, weights: Path) -> None:
    write_suite(house, weights, **{"weights.pth": "true"})
    file = "mobilenet_v3_small-047dcff4.pth"
    missing = run_with_hubs(house, "s.yaml")
    error, hint = missing.stderr.splitlines()[-2:]
    assert missing.returncode == 2
    assert f"there is no {house.path}/torch/hub/checkpoints/{file}" in error
    assert f"https://download.pytorch.org/models/{file}" in hint and "put it there" in hint
    kept = house.path / "torch/hub/checkpoints" / file
    kept.parent.mkdir(parents=True)
    shutil.copy(weights, kept)
    assert run_with_hubs(house, "s.yaml").returncode == 1
    [result] = results(house).values()
    assert result["status"] == "failed" and f"{file} is damaged or another version" in result["cause"]["message"]


def environment(house: House) -> dict[str, str]:
    return house.environment(HF_HOME=str(house.path / "hf"), TORCH_HOME=str(house.path / "torch"))


def run_with_hubs(house: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a suite where both hubs' folders are in the house."""
    return subprocess.run(
        house.command(*arguments), cwd=house.path, env=environment(house), capture_output=True, text=True, timeout=280
    )


def test_an_interrupted_run_ends_as_one_that_began_with_the_weights(weights: Path, tmp_path: Path) -> None:
    def spec(lr: float) -> Any:
        return make_spec(
            model={"name": "torchvision/mobilenet_v3_small", "pretrained": str(weights)},
            data={"name": "synthetic", "train": 100, "test": 20},
            optimizer={"name": "sgd", "lr": lr},
            train={"epochs": 2},
        )

    for name, lr in {"still": 1e-30, "learning": 0.01}.items():
        assert go(spec(lr), tmp_path / name, killed_after=EVERY_STEPS + 2) is None
        resumed, whole = finish(spec(lr), tmp_path / name), finish(spec(lr), None)
        assert resumed.measured.resumed_at_steps
        expected = bits(whole)
        for key, value in bits(resumed).items():
            assert torch.equal(value, expected[key]) if isinstance(value, Tensor) else value == expected[key], key
        state = torch.load(weights, weights_only=True)
        if name == "still":
            assert_are(resumed.network.state_dict(), state)
        else:
            moved = {
                key: not torch.equal(value, state[key])
                for key, value in resumed.network.state_dict().items()
                if key in parameters(state)
            }
            assert all(moved.values()), "all weights train"
