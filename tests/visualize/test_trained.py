"""Runs read back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness.data.prepare import prepare
from harness.errors import HarnessError
from harness.records.files import write_json
from harness.records.store import RunFolder
from harness.visualize.trained import Trained, find_run, read_run


@pytest.fixture
def copied(resnet_run: Trained, tmp_path: Path) -> Trained:
    """The run in a folder that a test may spoil."""
    path = resnet_run.folder.path
    return read_run(RunFolder(shutil.copytree(path, tmp_path / path.parent.name / path.name)), {})


def test_the_network_is_the_one_that_was_measured(resnet_run: Trained) -> None:
    labels = resnet_run.splits.test.labels
    images, classes = resnet_run.test_images(range(len(labels)))
    with torch.no_grad():
        logits = resnet_run.network(images)
    assert classes.tolist() == labels.tolist()
    assert not resnet_run.network.training
    recorded = resnet_run.result.metrics["test"]
    assert float((logits.argmax(1) == classes).float().mean()) == pytest.approx(recorded.accuracy)
    assert float(torch.nn.functional.cross_entropy(logits, classes)) == pytest.approx(recorded.loss, rel=1e-4)


def test_images_are_normalised_and_back(resnet_run: Trained) -> None:
    split = resnet_run.splits.test
    images, _ = resnet_run.test_images((7, 2))
    pixels = torch.from_numpy(np.asarray(split.pixels[split.rows[[7, 2]]])).permute(0, 3, 1, 2) / 255
    assert torch.allclose(resnet_run.pixels(images), pixels, atol=1e-5)


def test_an_image_that_is_not_there(resnet_run: Trained) -> None:
    with pytest.raises(HarnessError, match="no image 100") as raised:
        resnet_run.test_images((0, 100))
    assert "it has 100, counted from 0" in raised.value.hint


def test_a_layer_that_is_not_there(resnet_run: Trained) -> None:
    with pytest.raises(HarnessError, match="no layer 'stage9'") as raised:
        resnet_run.layer("stage9")
    assert "stage4.1.residual.3" in raised.value.hint


def test_convolutions(resnet_run: Trained) -> None:
    assert resnet_run.convolution(None)[0] == "stem.0"
    assert resnet_run.convolution("stage2.0.shortcut.0")[1].kernel_size == (1, 1)
    with pytest.raises(HarnessError, match="no convolution 'classifier'") as raised:
        resnet_run.convolution("classifier")
    assert "stem.0, stage1.0.residual.0" in raised.value.hint


def test_a_network_without_convolutions(resnet_run: Trained) -> None:
    run = replace(resnet_run)
    run.__dict__["network"] = torch.nn.Linear(2, 2)
    with pytest.raises(HarnessError, match="has no convolution"):
        run.convolution(None)


def test_no_weights(copied: Trained) -> None:
    copied.folder.weights.unlink()
    with pytest.raises(HarnessError, match=r"final\.safetensors does not exist") as raised:
        _ = copied.network
    assert "keep_weights" in raised.value.hint


@pytest.mark.parametrize("content", [b"", b"not a file of weights", b"PK\x03\x04torn"])
def test_weights_that_cannot_be_read(copied: Trained, content: bytes) -> None:
    copied.folder.weights.write_bytes(content)
    with pytest.raises(HarnessError, match="does not hold the weights of resnet18"):
        _ = copied.network


def test_weights_of_another_architecture(copied: Trained) -> None:
    save_file(torch.nn.Linear(2, 2).state_dict(), copied.folder.weights)
    with pytest.raises(HarnessError, match="does not hold the weights of resnet18"):
        _ = copied.network


def test_weights_of_another_width(copied: Trained) -> None:
    wider = read_run(copied.folder, {"model.width": 8})
    with pytest.raises(HarnessError, match=r"as the run's spec has it: .*size mismatch"):
        _ = wider.network


def test_data_that_changed(copied: Trained) -> None:
    assert copied.result.data is not None
    changed = copied.result.data.model_copy(update={"fingerprint": "0" * 64})
    run = replace(copied, result=copied.result.model_copy(update={"data": changed}))
    with pytest.raises(HarnessError, match="not those that the run saw") as raised:
        _ = run.splits
    assert "data.root" in raised.value.hint


def test_splits_are_those_of_the_run(resnet_run: Trained) -> None:
    assert resnet_run.splits is prepare(resnet_run.spec.data)


def test_find_run(resnet_run: Trained) -> None:
    path = resnet_run.folder.path
    root, run_id = path.parents[2], resnet_run.result.run_id
    for text in (str(path), str(path.parent), run_id, run_id[:5]):
        assert find_run(text, root).path == path
    for text in ("0" * 12, "../*", str(root)):
        with pytest.raises(HarnessError, match="no run has ended"):
            find_run(text, root)


def test_find_run_of_several_systems(resnet_run: Trained, tmp_path: Path) -> None:
    for system in ("a", "b"):
        shutil.copytree(resnet_run.folder.path, tmp_path / "suite" / "abc123" / system)
    with pytest.raises(HarnessError, match=r"stands for 2 runs: .*abc123/a"):
        find_run("abc", tmp_path)


def test_a_run_that_failed(copied: Trained) -> None:
    failed = copied.result.model_copy(update={"status": "oom"})
    write_json(copied.folder.path / "result.json", failed.model_dump(mode="json"))
    with pytest.raises(HarnessError, match="ended as 'oom'"):
        read_run(copied.folder, {})


def test_a_record_that_is_torn(copied: Trained) -> None:
    (copied.folder.path / "result.json").write_text("{")
    with pytest.raises(HarnessError, match=r"no valid result\.json"):
        read_run(copied.folder, {})


def test_a_setting_that_the_spec_does_not_have(copied: Trained) -> None:
    with pytest.raises(HarnessError, match="widht"):
        read_run(copied.folder, {"model.widht": 8})
