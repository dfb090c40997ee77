"""`harness doctor SUITE`: what the runs of a suite would meet at their start, before any of them is started."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import main
from harness.data import copies
from harness.doctor import examine as examining
from harness.doctor import of_suite
from harness.doctor.examine import Examination
from harness.doctor.of_suite import examine_suite
from harness.errors import MachineError
from harness.launching.launch_command import Launcher
from harness.launching.manifest import Manifest
from harness.measure.finding import Finding
from harness.measure.system import describe_system
from harness.running import readiness
from harness.suite.plan import load_suite
from tests.gpu.stand_in import stand_in_gpu
from tests.measure.fake_gpus import FakeGpu, install

SUITE = """\
name: s
base:
  model: {name: mlp, hidden_sizes: [4]}
  data: digits
  optimizer: {name: sgd, lr: 0.1}
  train: {epochs: 1}
"""
NO_DALI = "loader 'dali' needs NVIDIA DALI: No module named 'nvidia'"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    return tmp_path


def manifest_of(text: str, *overrides: str) -> Manifest:
    Path("s.yaml").write_text(text)
    return Manifest.of(load_suite(Path("s.yaml"), overrides).plan(lambda data: ""), Path("results"))


def met(text: str, *overrides: str) -> list[Finding]:
    return list(readiness.examine(manifest_of(text, *overrides)))


def bad(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.about, finding.verdict) for finding in found if finding.verdict != "ok"]


def said(found: list[Finding], about: str) -> str:
    [finding] = [one for one in found if one.about == about]
    return finding.says


def without_dali(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise MachineError(NO_DALI, "pip install it")

    monkeypatch.setattr(readiness, "require_installed", refuse)


def call(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code, *capsys.readouterr()


# --- what runs need ---


def test_a_suite_that_lacks_nothing() -> None:
    found = met(SUITE + "matrix: {model: [mlp, resnet18, timm/resnet18], train.epochs: [1, 2]}\nseeds: 3\n")
    assert [one.about for one in found] == ["plug-ins", "precision", "data", "loader", "network", "disk"]
    assert not bad(found)
    assert said(found, "plug-ins").startswith("imported: 6 of the harness, 1 of timm ")
    assert said(found, "precision") == "auto is no on the CPU"
    assert said(found, "data") == "digits: 1,438 train, 359 test images of 8x8x1, 0.1 MiB decoded"
    assert said(found, "network").startswith("3 networks built, with weights of 0.2 MiB to ")
    assert "for the weights of 18 runs" in said(found, "disk")


def test_published_data_that_are_not_here() -> None:
    found = met(SUITE.replace("digits", "cifar10"))
    assert bad(found) == [("data", "stop")] and "holds neither cifar-10-python.tar.gz" in said(found, "data")
    found = met(SUITE.replace("digits", "cifar10"), "data.download=true")
    assert not bad(found) and "fetches cifar-10-python.tar.gz, 170 MB" in said(found, "data")


def test_data_of_ones_own() -> None:
    from tests.suite.test_placed_paths import write_images

    text = SUITE.replace("digits", "{name: image_folder, root: images}")
    found = met(text)
    assert bad(found) == [("data", "stop")] and "images cannot be read" in said(found, "data")
    write_images(Path("images"))
    found = met(text, "data.validation=0.25")
    assert not bad(found)
    assert said(found, "data").startswith("image_folder: 14 train, 6 validation, 4 test images of 8x8x3")
    Path("images/a/3.png").write_text("no image")
    found = met(text)
    assert bad(found) == [("data", "stop")] and "images/a/3.png" in said(found, "data")
    assert "1 unreadable file left out" in said(met(text, "data.unreadable=skip"), "data")


def test_data_that_take_long_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "known_fingerprint", lambda section: "")
    monkeypatch.setattr(readiness, "prepare", lambda *_, **__: pytest.fail("it reads them"))
    found = met(SUITE)
    assert not bad(found) and "reads all of its files first" in said(found, "data")


def test_images_that_do_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "available_bytes", lambda: 100_000)
    found = met(SUITE)
    assert bad(found) == [("loader", "stop")] and said(found, "loader").startswith("the data set needs 0.0 GiB")
    assert not bad(met(SUITE + "  loader: pinned\n"))
    found = met(SUITE + "  loader: auto\n")
    assert not bad(found) and "the data set needs" in said(found, "loader")


def test_dali_and_what_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    without_dali(monkeypatch)
    found = met(SUITE + "  loader: dali\n")
    assert bad(found) == [("loader", "stop")] and said(found, "loader") == NO_DALI
    found = met(SUITE + "  loader: {name: dali, fallback: pinned}\n")
    assert bad(found) == [("loader", "warning")] and "'pinned' takes its place" in said(found, "loader")
    found = met(SUITE + "  loader: auto\n")
    assert not bad(found) and NO_DALI in said(found, "loader")


def test_a_precision_that_the_device_lacks() -> None:
    found = met(SUITE + "matrix: {train.mixed_precision: [bf16, fp16]}\n")
    assert bad(found) == [("precision", "stop")]
    told = {one.says for one in found if one.about == "precision"}
    assert told == {"bf16 on the CPU", "train.mixed_precision fp16 needs a GPU"}


@pytest.mark.parametrize(
    ("capability", "told", "verdict"),
    [
        ((9, 0), {"auto is bf16 on Stand-in", "bf16 on Stand-in"}, []),
        (
            (6, 1),
            {"auto is no on Stand-in", "train.mixed_precision bf16: Stand-in has no bfloat16 units"},
            [("precision", "stop")],
        ),
    ],
)
def test_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    told: set[str],
    verdict: list[tuple[str, str]],
) -> None:
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.setattr(readiness, "has_usable_gpu", lambda torch: True)
    manifest = manifest_of(SUITE + "matrix: {train.mixed_precision: [auto, bf16]}\n")
    with stand_in_gpu(capability):
        found = list(readiness.examine(manifest))
    assert {one.says for one in found if one.about == "precision"} == told and bad(found) == verdict
    assert said(found, "loader").startswith("resident: 0.0 GiB on cuda:0, where 4.0 GiB are free")


def test_a_plug_in_that_cannot_be_imported(folder: Path) -> None:
    head = "import nowhere\nfrom harness.registry import schedule\n\n\n"
    (folder / "own.py").write_text(f'{head}@schedule("own")\ndef own(epochs):\n    """Own."""\n')
    found = met("plugins: [own.py]\n" + SUITE + "  schedule: own\n")
    assert bad(found) == [("plug-ins", "stop")] and len(found) == 1 and "nowhere" in found[0].says


def test_a_network_that_cannot_be_built() -> None:
    found = met(SUITE + "matrix: {model: [mlp, torchvision/alexnet]}\n")
    assert bad(found) == [("network", "stop")]
    assert "1 network built" in next(one.says for one in found if one.about == "network" and one.verdict == "ok")


def test_weights_that_are_not_here(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(folder))
    model = "{name: torchvision/resnet18, pretrained: IMAGENET1K_V1}"
    found = met(SUITE.replace("{name: mlp, hidden_sizes: [4]}", model), "data.augment.resize=32")
    assert bad(found) == [("weights", "stop")] and "resnet18-f37072fd.pth" in said(found, "weights")


def test_a_disk_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert bad(met(SUITE)) == [("disk", "stop")]


# --- processes and trackers ---


def looked_at(monkeypatch: pytest.MonkeyPatch, text: str, *overrides: str) -> list[Finding]:
    monkeypatch.setattr(of_suite, "_ask_a_process", lambda *_: ())
    return list(examine_suite(manifest_of(text, *overrides), Launcher(), "here").findings)


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    install(monkeypatch, [FakeGpu()])
    found = looked_at(monkeypatch, SUITE + "matrix: {train.num_processes: [1, 2]}\n")
    assert [(one.verdict, one.says) for one in found] == [
        ("ok", "1 process a run, and 1 GPU here"),
        ("stop", "2 processes were asked for, and there is 1 GPU"),
    ]


def test_trackers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "s3cret")
    assert looked_at(monkeypatch, SUITE + "trackers: [wandb]\n")[-1].says == "wandb is installed, and has a key"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert bad(looked_at(monkeypatch, SUITE + "trackers: [wandb]\n")) == [("trackers", "warning")]
    found = looked_at(monkeypatch, SUITE + "trackers: [mlflow]\n")
    assert bad(found) == [("trackers", "stop")] and found[-1].hint == "pip install mlflow"


def test_runs_that_are_done_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_suite, "open_runs", lambda *_: [])
    found = examine_suite(manifest_of(SUITE), Launcher(), "here")
    assert (found.runs, found.done) == (1, 1) and not bad(list(found.findings))


# --- the command ---


@pytest.mark.launch
def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    machine = Examination(describe_system(use_cpu=True), (Finding("CPU", "ok", "2 CPUs"),))
    monkeypatch.setattr(examining, "examine", lambda output: machine)
    Path("s.yaml").write_text(SUITE)
    code, out, _ = call(capsys, "s.yaml", "--set", "seeds=2")
    assert code == 0 and "s: 2 runs" in out and "0 would stop a run" in out
    lines = out.splitlines()
    assert next(i for i, line in enumerate(lines) if "2 CPUs" in line) < next(
        i for i, line in enumerate(lines) if "digits: 1,438 train" in line
    )
    code, out, _ = call(capsys, "s.yaml", "--json", "--set", "data=cifar10", "--set", "train.mixed_precision=fp16")
    told = json.loads(out)
    assert code == 1 and told["can_run"] is False and [one["about"] for one in told["findings"]] == ["CPU"]
    assert (told["suite"]["name"], told["suite"]["runs"], told["suite"]["done"]) == ("s", 1, 0)
    stops = [one["about"] for one in told["suite"]["findings"] if one["verdict"] == "stop"]
    assert stops == ["precision", "data"]


@pytest.mark.launch
def test_a_plug_in_that_ends_its_process_ends_no_examination(folder: Path) -> None:
    head = "import os\n\nfrom harness.registry import schedule\n\nos.kill(os.getpid(), 9)\n\n\n"
    (folder / "own.py").write_text(f'{head}@schedule("own")\ndef own(epochs):\n    """Own."""\n')
    found = examine_suite(manifest_of("plugins: [own.py]\n" + SUITE + "  schedule: own\n"), Launcher(), "here")
    assert bad(list(found.findings)) == [("start", "stop")]
    assert "was ended by SIGKILL" in found.findings[-1].says


def test_options_of_a_suite_need_one(capsys: Any) -> None:
    code, _, err = call(capsys, "--set", "seeds=1")
    assert code == 2 and "--set is of a suite, and none is named" in err
    Path("s.yaml").write_text("name: s\n")
    assert call(capsys, "s.yaml")[0] == 2
