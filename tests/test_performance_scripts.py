"""The scripts of benchmarks/performance run and print what they promise; their figures are no test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.launch, pytest.mark.slow]


def output_of(script: str, *arguments: str) -> Any:
    """Returns the JSON that a script prints."""
    command = [sys.executable, f"benchmarks/performance/{script}", "--json", *arguments]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=250).stdout)


def test_overhead() -> None:
    found = output_of("overhead.py", "--only", "cnn3", "--only", "host", "--pairs", "3", "--steps", "3")
    assert set(found["ratios"]) == {"cnn3/bare", "accelerate cnn3/bare"}
    for ratio in found["ratios"].values():
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"] and ratio["pairs"] == 3
        assert ratio["bare_step_seconds"] > 0
    host = found["host"]
    assert host["low"] <= host["median"] <= host["high"] < 1e5 and host["bare_step_microseconds"] > 0
    assert host["accelerate"] > 0  # its wrappers look modules up at each step


def test_photographs() -> None:
    found = output_of("photographs.py", "--images", "208", "--rounds", "1", "--seconds", "0.2")
    assert set(found["rates"]) == {"decoding", "pinned, in the process", "pinned", "dali", "torchvision", "timm"}
    assert all(each.get("unavailable") or each["images_per_second"] > 0 for each in found["rates"].values())
    rates = found["rates"]
    assert found["ratios"]["pinned/torchvision"] == pytest.approx(
        rates["pinned"]["rounds"][0] / rates["torchvision"]["rounds"][0]
    )


def test_many_files() -> None:
    found = output_of("many_files.py", "--classes", "3", "--each", "25")
    assert found["files"] == 3 * 26 and set(found["took"]) == {"plan", "fingerprint", "again", "headers", "changed"}
    assert all(0 < each["cpu_seconds"] < 60 and each["memory_bytes"] > 1e7 for each in found["took"].values())


def test_standard_recipe() -> None:
    found = output_of("standard_recipe.py", "--rounds", "1", "--steps", "2", "--width", "8")
    [(name, ratio)] = found["ratios"].items()
    assert name == "harness" and ratio["pairs"] == 1 and ratio["step_seconds"] > 0
    assert ratio["median"] == pytest.approx(found["peer_step_seconds"] / ratio["step_seconds"])


@pytest.mark.parametrize(("part", "files"), [("gtx", {"gtx_quick.json"}), ("speedrun", {"speedrun_quick.json"})])
def test_a_part_of_the_checks_on_a_gpu_leaves_json_and_a_table(part: str, files: set[str], tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/performance/gpu_check.py", part, "--quick", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    [folder] = tmp_path.iterdir()
    assert files | {"table.md"} == {path.name for path in folder.iterdir()}
    table = (folder / "table.md").read_text()
    assert table.startswith("| figure | value |")
    if part == "gtx":
        assert "\n| gtx_quick: configs | 4 entries |\n" in table
        found = json.loads((folder / "gtx_quick.json").read_text())
        assert len(found["configs"]) == 4 and not found["limited"]
        assert all(config["error"] is None and config["micro_batch_size"] == 128 for config in found["configs"])


def test_roofline_of_the_runs_of_a_suite(tmp_path: Path) -> None:
    only = ["--only", "model.name=mlp", "--set", "seeds=1", "--set", "train.epochs=1"]
    for words in (["run", "benchmarks/quickstart.yaml", *only], ["calibrate", "--seconds", "0.1"]):
        command = [sys.executable, "-m", "harness", *words, "--output", str(tmp_path)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=250)
    found = output_of("roofline.py", "--results", str(tmp_path / "quickstart"))
    assert {config["config"] for config in found} == {"mlp, sgd", "mlp, adam"}
    for config in found:  # on a busy machine no run was timed
        assert 0 < config["allowed"] <= 1 and (config["fraction_of_peak"] is None or config["fraction_of_peak"] > 0)


PEER = """\
import torch
data = {split: torch.load(f"cifar10/{split}.pt") for split in ("train", "test")}
shapes = [*data["train"]["images"].shape, *data["test"]["images"].shape]
assert shapes == [12, 8, 8, 3, 4, 8, 8, 3] and data["test"]["labels"].tolist() == [0, 0, 1, 1], shapes
assert data["train"]["images"].dtype == torch.uint8 and data["train"]["classes"] == ["cat", "dog"]
print("|  run     |  epoch  |  train_acc  |  val_acc  |  tta_val_acc  |  time_seconds  |")
for run in range(RUNS):
    print(f"|  {run}  |  0  |  0.5000  |  0.5  |  |  0.1  |")
    print(f"|  |  eval  |  0.9000  |  0.8  |  0.{90 + run}  |  {run / 10}  |")
"""


def test_speedrun_beside_a_peer(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("test", 2)):
        for number in range(2 * count):
            folder = tmp_path / "data" / split / ("cat", "dog")[number // count]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), 10 * number, np.uint8)).save(folder / f"{number:02}.jpg")
    peer = tmp_path / "peer.py"
    peer.write_text(PEER.replace("RUNS", "9"))
    command = ["--peers-only", "--data", str(tmp_path / "data"), "--peer", str(peer), "--runs", "3"]
    found = output_of("speedrun.py", *command)["recipes"]
    # The first run warms the peer up.
    assert found["peer"]["accuracy"]["mean"] == pytest.approx(0.92) and found["peer"]["accuracy"]["n"] == 3
    assert found["peer"]["seconds"]["mean"] == pytest.approx(0.2)
    peer.write_text(PEER.replace("RUNS", "2"))
    with pytest.raises(subprocess.CalledProcessError) as error:
        output_of("speedrun.py", *command)
    assert "error: peer.py ended with exit code 0 after 2 runs" in error.value.stderr


def test_what_a_start_imports() -> None:
    told = subprocess.run(
        [sys.executable, "benchmarks/performance/start.py", "--imports"], cwd=ROOT, capture_output=True, text=True
    )
    packages = [line.split()[-1] for line in told.stdout.splitlines()]
    assert "torch" in packages
    assert not [name for name in packages if name.startswith(("numba", "triton", "torch._dynamo"))]  # none is needed


def test_ddp() -> None:
    found = output_of("ddp.py", "--rounds", "1", "--steps", "2", "--only", "cnn3")
    assert found["ranks"] == 2 and set(found["ratios"]) == {"cnn3/plain", "static cnn3/harness"}
    ratio = found["ratios"]["cnn3/plain"]
    assert ratio["pairs"] == 1 and ratio["plain_step_seconds"] > 0
    assert ratio["median"] == pytest.approx(ratio["step_seconds"] / ratio["plain_step_seconds"])


def test_memory() -> None:
    ratio = output_of("memory.py", "--steps", "3", "--only", "cnn3")["ratios"]["cnn3/bare"]
    assert ratio["resident_bytes"] == (3 + 5) * 64 * (32 * 32 * 3 + 8)  # pixels and labels of training and test set
    assert ratio["bare_bytes"] > 64 * 24 * 28 * 28 * 4  # what the first convolution gives
    assert ratio["ratio"] == ratio["harness_bytes"] / ratio["bare_bytes"]
    assert 0.9 < ratio["ratio"] <= 1.05  # counted, so that no other process changes it


def test_scaling_model() -> None:
    few = ("--rounds", "1", "--steps", "5", "--only", "resnet18", "--batch-size", "2")
    found = output_of("scaling_model.py", *few, "--step-seconds", "0.02", "--calibrate", "2")
    assert found["modelled"] and found["scaling"] == "weak" and found["ranks"] == 8 and found["limit"] == 7.6
    link = found["link"]
    assert link["source"] == "calibrated" and 1e6 < link["bytes_per_second"] < 1e12 and link["hop_seconds"] < 1
    case = found["cases"]["resnet18"]
    assert [bucket["nbytes"] for bucket in case["buckets"]] == [9_461_800, 26_494_976, 8_739_072]
    ready = [bucket["ready"] for bucket in case["buckets"]]
    assert 0 < ready[0] < ready[1] < ready[2] < 1
    assert set(case["modelled"]) == {"measured", "0.02 s"} and case["modelled"]["0.02 s"]["step_seconds"] == 0.02
    for one in case["modelled"].values():
        slower = one["step_seconds"] + case["ddp_seconds"] + one["exposed_seconds"]
        assert one["speed_up"] == pytest.approx(8 * one["step_seconds"] / slower)
        of_last = 14 * (link["hop_seconds"] + 8_739_072 / 8 / link["bytes_per_second"])
        assert one["exposed_seconds"] > 0.999 * of_last
        assert one["speed_up"] <= one["speed_up_hidden"] < 8
    assert case["least_step_seconds"] >= case["least_step_seconds_hidden"] > 0


def test_sweep() -> None:
    small = ("--rounds", "1", "--epochs", "2", "--only", "model=mlp", "--only", "optimizer.lr=0.001")
    found = output_of("sweep.py", *small, "--pack", "2")
    assert found["configs"] == 2 and found["train_seconds"]["pairs"] == 2 and found["train_seconds"]["low"] > 0
    assert found["fresh/kept"]["median"] == pytest.approx(found["fresh_seconds"] / found["kept_seconds"])
    assert found["kept/packed"]["median"] == pytest.approx(found["kept_seconds"] / found["packed_seconds"])


def test_commands() -> None:
    found = output_of("commands.py", "--repeats", "1", "--configs", "20")
    assert set(found["seconds"]) == {*found["limits"], "libraries"} and found["peak_bytes"] > 1e7
    assert all(seconds > 0 for seconds in found["seconds"].values())


def test_isolation() -> None:
    found = output_of("isolation.py", "--rounds", "1", "--epochs", "4", "--images", "128")
    assert set(found["kept/fresh"]) == {"cnn3", "resnet18"}
    for ratio in found["kept/fresh"].values():
        assert ratio["pairs"] == len(ratio["rounds"]) == len(ratio["fresh/fresh"]["rounds"]) == 1
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"] and ratio["epochs"] == 4


def test_sampling() -> None:
    found = output_of("sampling.py", "--pairs", "2", "--steps", "10", "--period", "0.02")
    assert found["low"] <= found["median"] <= found["high"] and found["pairs"] == 2 and found["samples"] > 0
    assert found["sample_cpu_milliseconds"] > 0 and found["bounds_milliseconds"] > 0
    assert found["share_of_a_core"] == pytest.approx(found["sample_cpu_milliseconds"] / 20)


def test_live_view() -> None:
    found = output_of("live_view.py", "--pairs", "2", "--steps", "10", "--every", "0.05")
    assert found["low"] <= found["median"] <= found["high"] and found["pairs"] == 2
    assert found["step_microseconds"] > 0 and found["heartbeat_cpu_milliseconds"] > 0
    assert found["drawing_share"] == pytest.approx(found["drawing_cpu_milliseconds"] / 50)


def test_tracking() -> None:
    few = ("--rounds", "1", "--epochs", "2", "--steps", "5", "--settle", "3", "--seconds", "3")
    found = output_of("tracking.py", *few, "--server", "answers", "refuses")
    assert set(found["servers"]) == {"answers", "refuses"} and found["epoch_seconds"] > 0
    for kind in found["servers"].values():
        assert 0 < kind["low"] <= kind["median"] <= kind["high"] and kind["start_cpu_seconds"] > 0
        assert kind["share_of_a_core"] >= 0 and kind["opening_cpu_seconds"] > 0


def test_loaders(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(260):
        folder = tmp_path / "train" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
    found = output_of("loaders.py", "--data", str(tmp_path), "--seconds", "0.02", "--rounds", "2")
    rates = {name: each["images_per_second"] for name, each in found["rates"].items()}
    every = (
        "resident",
        "pinned",
        "pinned_cached",
        "dali",
        "dali_ours_array",
        "dali_array",
        "torch_best",
        "image_folder",
    )
    assert all(rates[name] > 0 for name in every)
    assert rates["torch_best"] == max(rate for name, rate in rates.items() if name.startswith("torch_v"))
    assert rates["image_folder"] == max(rates[f"image_folder_w{workers}"] for workers in (0, 1, 2))
    best = found["rates"]["torch_best"]["rounds"]
    by_round = [ours / torchs for ours, torchs in zip(found["rates"]["resident"]["rounds"], best, strict=True)]
    assert found["ratios"]["resident/torch_best"] == pytest.approx(sum(by_round) / 2)
    assert found["limit"]["bytes_per_image"] == 16 * 16 * 3 * 5
    share = found["limit"]["shares"]["resident"]["memory"]
    assert share == pytest.approx(rates["resident"] * 16 * 16 * 15 / found["limit"]["memory_bytes_per_second"])


def test_loaders_of_which_some_are_not_measured() -> None:
    found = output_of("loaders.py", "--only", "resident", "--seconds", "0.02", "--rounds", "1")
    assert set(found["rates"]) == {"resident"}
    assert found["images"] == 5000
    assert set(found["ratios"].values()) == {None}
