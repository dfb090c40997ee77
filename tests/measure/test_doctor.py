"""Each verdict of `harness doctor`, and what the whole exits with."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from harness.cli import main
from harness.doctor import examine as examining
from harness.doctor import host
from harness.doctor.examine import Examination, ask_torch, examine
from harness.doctor.host import check_folder, check_processors, check_shared_memory
from harness.doctor.show import as_json, show
from harness.doctor.software import check_dali, check_source, check_torch, check_wandb
from harness.measure.architectures import FOR_OLD_CARDS, runs_on
from harness.measure.finding import Finding
from harness.measure.system import describe_system
from harness.measure.system.gpus import visible_gpus
from harness.measure.usable_gpus import OLDEST_DRIVERS, check_gpus, check_use
from tests.measure.fake_gpus import FakeGpu, install

ROOT = Path(__file__).parents[2]
ARCHITECTURES = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
TORCH: dict[str, Any] = {
    "version": "2.15.0+cu132",
    "cuda": "13.2",
    "architectures": ARCHITECTURES,
    "gpus": 1,
    "warning": None,
    "threads": 2,
}


def worst(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.about, finding.verdict) for finding in findings if finding.verdict != "ok"]


def checked(
    monkeypatch: pytest.MonkeyPatch,
    *gpus: FakeGpu,
    driver: str = "580.65.06",
    cuda: str | None = "13.2",
    **torch: Any,
) -> list[Finding]:
    install(monkeypatch, list(gpus), driver=driver)
    return [*check_gpus(visible_gpus(), "", {**TORCH, "cuda": cuda, **torch}, cuda), *check_use(visible_gpus())]


# --- GPUs ---


def test_a_gpu_with_nothing_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch, FakeGpu())
    assert [finding.about for finding in found] == ["GPU", "driver"] and worst(found) == []


@pytest.mark.parametrize(
    ("driver", "cuda", "verdict"),
    [
        ("580.00", "13.2", "ok"),
        ("590.48.01", "13.0", "ok"),
        ("579.99", "13.2", "stop"),
        ("470.199.02", "12.6", "stop"),
        ("525.60.13", "12.6", "ok"),
        ("450.80.02", "11.8", "ok"),
        ("450.36.06", "11.8", "stop"),
    ],
)
def test_the_driver_and_the_cuda_that_torch_is_built_for(
    monkeypatch: pytest.MonkeyPatch, driver: str, cuda: str, verdict: str
) -> None:
    [found] = [one for one in checked(monkeypatch, FakeGpu(), driver=driver, cuda=cuda) if one.about == "driver"]
    assert found.verdict == verdict
    if verdict == "stop":
        assert found.says == f"driver {driver} is too old for torch's CUDA {cuda}"
        assert str(OLDEST_DRIVERS[int(cuda.split(".")[0])][0]) in found.hint


def test_persistence_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch, FakeGpu(persistence_mode=0))
    assert worst(found) == [("GPU 0", "warning")] and "nvidia-smi -i 0 -pm 1" in found[-1].hint
    assert worst(checked(monkeypatch, FakeGpu(persistence_mode=None))) == []  # not every system has it


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ("6.1", ARCHITECTURES, False),
        ("7.5", ARCHITECTURES, True),
        ("8.9", ARCHITECTURES, True),  # a newer minor version
        ("12.1", ["sm_90", "sm_120a"], False),
        ("9.0", ["sm_80", "compute_80"], True),  # PTX
        ("7.0", ["compute_80"], False),
        ("12.1", ARCHITECTURES, True),
        ("11.0", ARCHITECTURES, False),
        ("9.0", ["sm_90a"], True),
    ],
)
def test_which_gpus_run_what_torch_was_compiled_for(capability: str, built_for: list[str], runs: bool) -> None:
    assert runs_on(capability, built_for) is runs


def test_a_driver_that_is_too_old_for_the_newest_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    card = FakeGpu("NVIDIA GeForce GTX 1650", compute_capability=(7, 5))
    [stop] = [one for one in checked(monkeypatch, card, driver="535.183.01") if one.verdict == "stop"]
    assert stop.hint == f"install driver 580 or newer, or a torch for CUDA 12: {FOR_OLD_CARDS}"
    [stop] = [one for one in checked(monkeypatch, card, driver="470.256.02") if one.verdict == "stop"]
    assert stop.hint == "install driver 580 or newer"


def test_several_models(monkeypatch: pytest.MonkeyPatch) -> None:
    two = checked(monkeypatch, FakeGpu(uuid="GPU-0"), FakeGpu("NVIDIA T4", "GPU-1"), gpus=2)
    assert worst(two) == [("GPU", "stop")] and "CUDA_VISIBLE_DEVICES" in two[0].hint


def test_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch, FakeGpu(mig=1, slices=[FakeGpu("NVIDIA A100 MIG 1g.5gb", "MIG-0")]))
    assert worst(found) == [("GPU 0", "warning")] and "1g.5gb" in found[-1].says


def test_a_limit_of_power_and_a_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch, FakeGpu(power_limit=250_000, process_ids=[7, 8]))
    assert [finding.says for finding in found if finding.verdict == "warning"] == [
        "limited to 250 W of 400 W: slower, and system_id does not tell",
        "GPU 0 is used by 2 other processes, and 39.0 of 40.0 GiB are free: times would be of both",
    ]


def test_torch_without_cuda_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch, FakeGpu(), cuda=None, gpus=0, architectures=[])
    assert worst(found) == [("CUDA", "stop")] and "built without CUDA" in found[-1].says


def test_torch_that_cannot_use_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch, FakeGpu(), gpus=0, warning="CUDA initialization: unknown error")
    assert worst(found) == [("CUDA", "stop")] and "unknown error" in found[-1].says
    fewer = checked(monkeypatch, FakeGpu(uuid="GPU-0"), FakeGpu(uuid="GPU-1"))
    assert worst(fewer) == [("CUDA", "warning")] and "1 of 2 GPUs" in fewer[-1].says


def test_nvml_is_missing() -> None:
    without = {**TORCH, "gpus": 0}
    assert worst(check_gpus([], "nvidia-ml-py is not installed", without, "13.2")) == [("NVML", "warning")]
    assert worst(check_gpus([], "Driver Not Loaded", without, "13.2")) == []
    # What a run refuses, too: torch would train on a GPU that no record could name.
    assert worst(check_gpus([], "nvidia-ml-py is not installed", TORCH, "13.2")) == [("NVML", "stop")]
    assert worst(check_gpus([], "", without, "13.2")) == []


# --- host ---


def processors(environment: dict[str, str], load: float = 0.0, **system: Any) -> list[Finding]:
    facts = {"cpu_count": 4, "cpu_limit": None, "gpu": None, **system}
    return list(check_processors(facts, environment, load))


def test_processors() -> None:
    assert [finding.verdict for finding in processors({})] == ["ok"]
    assert [finding.verdict for finding in processors({"OMP_NUM_THREADS": "4"})] == ["ok"]
    assert "some CPUs would idle" in processors({"OMP_NUM_THREADS": "1"})[0].says
    assert "wait for each other" in processors({"OMP_NUM_THREADS": "8"})[0].says
    assert worst(processors({"OMP_NUM_THREADS": "1"}, gpu="NVIDIA A100")) == []
    assert worst(processors({"KMP_AFFINITY": "compact"})) == [("CPU", "warning")]
    assert worst(processors({}, load=3.0)) == [("CPU", "warning")]
    limited = processors({}, cpu_limit=1.5, cpu_count=1.5)
    assert worst(limited) == [("CPU", "warning")] and limited[0].hint == "export OMP_NUM_THREADS=1"


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=count))


def test_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free(monkeypatch, 64 * 2**20)  # what a Docker container has
    small = check_shared_memory(tmp_path)
    assert small.verdict == "warning" and "64 MiB" in small.says and "--shm-size" in small.hint
    free(monkeypatch, 2 * 2**30)
    assert check_shared_memory(tmp_path).verdict == "ok"
    monkeypatch.undo()
    assert check_shared_memory(tmp_path / "none").verdict == "warning"


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert check_folder("results", tmp_path / "new", "--output DIR").verdict == "ok"
    (tmp_path / "file").touch()
    taken = check_folder("results", tmp_path / "file" / "inside", "--output DIR")
    assert taken.verdict == "stop" and "cannot write to" in taken.says and "--output DIR" in taken.hint
    free(monkeypatch, 2**30)
    assert check_folder("results", tmp_path, "--output DIR").verdict == "warning"
    free(monkeypatch, 2**20)
    assert check_folder("results", tmp_path, "--output DIR").verdict == "stop"


# --- software ---


def test_torch_as_such() -> None:
    assert check_torch(TORCH).verdict == "ok"
    broken = check_torch({"problem": "torch cannot be imported: OSError: libcudart.so.13"})
    assert broken.verdict == "stop" and "libcudart" in broken.says


@pytest.mark.launch
def test_torch_is_asked_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    said = ask_torch()
    assert said["version"] and isinstance(said["architectures"], list)
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    assert ask_torch() == {"problem": "torch cannot be imported: OSError: libcudart.so.13: cannot open"}
    (tmp_path / "torch.py").write_text("import os; os.kill(os.getpid(), 11)")
    assert ask_torch() == {"problem": "torch cannot be imported: it ended with -11"}


def test_dali() -> None:
    assert check_dali("nvidia-dali-cuda130", "2.4.0", "13.2", has_gpu=True).verdict == "ok"
    other = check_dali("nvidia-dali-cuda120", "2.4.0", "13.2", has_gpu=True)
    assert other.verdict == "warning" and other.hint.endswith("pip install nvidia-dali-cuda130")
    assert check_dali("nvidia-dali-cuda120", "2.4.0", "13.2", has_gpu=False).verdict == "ok"
    missing = check_dali("", None, "12.6", has_gpu=True)
    assert missing.verdict == "warning" and missing.hint == "pip install nvidia-dali-cuda120"


@pytest.mark.parametrize(
    ("environment", "netrc", "verdict"),
    [
        ({}, "", "warning"),
        ({"WANDB_API_KEY": "s3cret"}, "", "ok"),
        ({"WANDB_MODE": "offline"}, "", "ok"),
        ({}, "machine api.wandb.ai login user password s3cret", "ok"),
        ({}, "machine elsewhere login user password s3cret", "warning"),
        ({"WANDB_BASE_URL": "https://elsewhere"}, "machine elsewhere login user password s3cret", "ok"),
    ],
)
def test_wandb(tmp_path: Path, monkeypatch: Any, environment: dict[str, str], netrc: str, verdict: str) -> None:
    monkeypatch.chdir(tmp_path)
    if netrc:
        (tmp_path / ".netrc").write_text(netrc)
    found = check_wandb(environment, tmp_path, "0.31.0")
    assert found.verdict == verdict and "s3cret" not in "".join(found)


def test_wandb_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings").write_text("[default]\napi_key = s3cret\n")
    found = check_wandb({"WANDB_CONFIG_DIR": str(tmp_path)}, tmp_path, "0.31.0")
    assert found.verdict == "ok" and "s3cret" not in "".join(found)
    assert check_wandb({}, tmp_path, None).verdict == "warning"


def test_source() -> None:
    clean = {"git_commit": "a" * 40, "git_clean": True, "unavailable": {}}
    assert check_source(clean).verdict == "ok"
    assert check_source({**clean, "git_clean": False}).verdict == "warning"
    bare = check_source({**clean, "git_commit": None, "unavailable": {"git_commit": "git is not installed"}})
    assert bare.verdict == "ok" and "git is not installed" in bare.says


# --- the whole ---


def examined(*findings: Finding) -> Examination:
    return Examination(describe_system(use_cpu=True), findings)


STOP = Finding("driver", "stop", "535.10 is too old for torch's CUDA 13.2", "install driver 580 or newer")
WARNING = Finding("W&B", "warning", "not logged in: no key is found", "wandb login")


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_person_sees(width: int) -> None:
    out = io.StringIO()
    show(examined(Finding("GPU", "ok", "1x " + "a name " * 30), WARNING, STOP), Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(out.getvalue().split())
    assert "stops a run driver 535.10 is too old for torch's CUDA 13.2 hint: install driver 580 or newer" in text
    assert text.endswith("1 would stop a run, 1 warning")


@pytest.mark.parametrize(("findings", "code"), [((WARNING,), 0), ((WARNING, STOP), 1)])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_exit_codes(monkeypatch: Any, capsys: Any, findings: tuple, code: int, options: list[str]) -> None:
    monkeypatch.setattr(examining, "examine", lambda output: examined(*findings))
    with pytest.raises(SystemExit) as caught:
        main(["doctor", *options])
    assert caught.value.code == code
    out = capsys.readouterr().out
    if options:
        found = json.loads(out)
        assert found == json.loads(json.dumps(as_json(examined(*findings)))) and found["can_run"] is (code == 0)


def test_an_examination_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "LITTLE_FREE_BYTES", 0)
    install(monkeypatch, [], fails="Driver Not Loaded")
    describe_system.cache_clear()
    found = examine(tmp_path, probe=lambda: {**TORCH, "gpus": 0})
    assert found.can_run
    about = [finding.about for finding in found.findings]
    assert list(dict.fromkeys(about)) == [
        "torch", "GPU", "CPU", "/dev/shm", "results", "cache", "DALI", "W&B", "code", "calibration"
    ]  # fmt: skip
    assert "git_commit" in found.system
    assert found.findings[-1].hint == "harness calibrate"
    assert not examine(tmp_path, probe=lambda: {"problem": "torch cannot be imported"}).can_run
    describe_system.cache_clear()


def test_gpus_of_several_models_are_examined_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, [FakeGpu(uuid="GPU-0"), FakeGpu("NVIDIA T4", "GPU-1")])
    describe_system.cache_clear()
    found = examine(tmp_path, probe=lambda: {**TORCH, "gpus": 2})
    assert not found.can_run and ("GPU", "stop") in worst(list(found.findings))
    describe_system.cache_clear()


@pytest.mark.launch
def test_the_command(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "WANDB_API_KEY": "s3cret", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "harness", "doctor", "--output", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 would stop a run" in ran.stdout and "s3cret" not in ran.stdout and not ran.stderr
