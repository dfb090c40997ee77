"""`harness doctor` is the first hint in every error about the machine, and there is one way to say it."""

from __future__ import annotations

import ast
import importlib
import pickle
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.cli import main
from harness.doctor.examine import examine
from harness.doctor.show import as_json
from harness.errors import DOCTOR, HarnessError, MachineError
from harness.launching.failure_causes import hint_for
from harness.measure import system
from harness.measure.architectures import FOR_OLD_CARDS, USE_CPU, without_kernels
from harness.measure.calibration.calibrate import calibrate
from harness.measure.torch_probe import probe
from harness.measure.usable_gpus import before_training, has_usable_gpu
from harness.records.result import Cause
from harness.running.all_runs import walk
from harness.trackers.account import WandbProblem, require_key
from tests.measure.fake_gpus import FakeGpu, install

OF_CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
OF_CUDA_12_6 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
PACKAGE = Path(__file__).parent.parent / "harness"
# Where the package raises them; one more, or one that becomes another error, belongs here.
RAISED = {
    "data/copies.py": 1,  # the data set does not fit into the GPU's or the host's memory
    "data/datasets/huggingface.py": 2,  # its library is missing, or the cache has no room
    "data/files.py": 2,  # the cache cannot be written, or has no room
    "data/loaders/auto.py": 1,  # no loader can be had
    "data/loaders/dali.py": 3,  # DALI is missing, or stopped; nor can its fallback be had
    "data/loaders/pinned.py": 1,  # a worker died: /dev/shm, memory
    "data/source.py": 1,  # the images do not fit into memory
    "forecast/ask.py": 1,  # a forecast steps on one machine
    "measure/usable_gpus.py": 1,  # torch cannot use the GPU, or it is full
    "measure/system/gpus.py": 1,  # GPUs of several models
    "running/micro_batch_search.py": 1,  # a network does not fit the memory, however small its micro-batches
    "launching/launch_command.py": 1,  # fewer GPUs than processes
    "training/precision.py": 2,  # no GPU for fp16, no units for bf16
}
OF_MACHINES = re.compile(r"GPU|CUDA|NVML|NCCL|DALI|/dev/shm|\bdriver\b|memory|W&B|wandb")
# They speak of such things, and the suite or the call is what is wrong.
OF_SUITES = {
    "cli/report.py",
    "report/to_wandb.py",
    "launching/accelerate_settings.py",
    "launching/slurm/batch.py",
    "suite/mirroring.py",
}


def calls(name: str) -> dict[str, list[str]]:
    """Returns the source of each call of a name, by file."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                found.setdefault(str(path.relative_to(PACKAGE)), []).append(ast.get_source_segment(text, node) or "")
    return found


def test_where_they_are_raised() -> None:
    assert {file: len(sources) for file, sources in calls("MachineError").items()} == RAISED


def test_no_error_about_the_machine_is_another() -> None:
    suspicious = Counter(
        file for file, sources in calls("HarnessError").items() for each in sources if OF_MACHINES.search(each)
    )
    assert set(suspicious) <= OF_SUITES, "raise MachineError there"


def test_a_key_that_is_missing_is_the_machines(tmp_path: Path) -> None:
    with pytest.raises(WandbProblem) as caught:
        require_key({}, tmp_path)
    assert caught.value.hint.startswith(f"{DOCTOR}; wandb login")


def test_the_doctor_is_the_first_hint() -> None:
    error = MachineError("no GPU", "buy one")
    assert str(error) == f"no GPU\nhint: {DOCTOR}; buy one" and isinstance(error, HarnessError)
    assert MachineError("no GPU").hint == DOCTOR
    again = pickle.loads(pickle.dumps(error))  # as it travels between ranks
    assert (again.message, again.hint) == (error.message, error.hint)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        ("oom", "OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("failed", "SIGKILL", "rank 0 was killed by SIGKILL"),
        ("failed", "DistBackendError", "NCCL error in: ProcessGroupNCCL.cpp: unhandled system error"),
        ("failed", "RuntimeError", "The NVIDIA driver on your system is too old (found version 11040)"),
        ("failed", "AcceleratorError", "CUDA error: no kernel image is available for execution on the device"),
        ("failed", "RuntimeError", "unable to allocate shared memory(shm) for file </torch_1_2>: No space left"),
        ("failed", "no start", "the launch never came to a run: libcudart.so.13: cannot open shared object file"),
    ],
)
def test_runs_that_the_machine_ended(status, kind: str, message: str) -> None:
    assert hint_for(status, Cause(kind=kind, message=message), Path("run")).startswith(f"{DOCTOR}; ")


def test_runs_that_ended_otherwise() -> None:
    for kind, message in (
        ("ValueError", "planted"),
        ("hang", "no step for 12 s"),
        ("exit", "rank 0 ended with code 1"),
    ):
        assert DOCTOR not in hint_for("failed", Cause(kind=kind, message=message), Path("run"))


@dataclass(frozen=True)
class Bad:
    """A machine on which something is wrong with the GPU.

    Attributes:
        gpu: as NVML tells of it.
        sees: how many GPUs torch can use.
        says, hint: of it.
    """

    gpu: FakeGpu
    says: str
    hint: str
    driver: str = "580.65.06"
    sees: int = 1


BAD = {
    "no kernels, an old card": Bad(
        FakeGpu("NVIDIA GeForce GTX 780", compute_capability=(3, 5)),
        "NVIDIA GeForce GTX 780 (compute capability 3.5) is too old: torch 2.10 and newer need 5.0 at least",
        f"another GPU, {USE_CPU}",
    ),
    "no kernels, Pascal": Bad(
        FakeGpu("NVIDIA GeForce GTX 1060 6GB", compute_capability=(6, 1)),
        "torch has no kernels for NVIDIA GeForce GTX 1060 6GB (compute capability 6.1), only for sm_75, sm_80, sm_86, "
        "sm_90, sm_100, sm_120",
        f"{FOR_OLD_CARDS}, {USE_CPU}",
    ),
    "no kernels, a new card": Bad(
        FakeGpu("NVIDIA R100", compute_capability=(13, 0)),
        "torch has no kernels for NVIDIA R100 (compute capability 13.0), only for sm_75, sm_80, sm_86, sm_90, sm_100, "
        "sm_120",
        f"install a newer torch, {USE_CPU}",
    ),
    "an old driver": Bad(
        FakeGpu(), "driver 470.1 is too old for torch's CUDA 13.0", "install driver 580 or newer", "470.1", 0
    ),
    "a driver that does not work": Bad(
        FakeGpu(), "torch cannot use the GPU", f"nvidia-smi tells whether the driver works, {USE_CPU}", sees=0
    ),
    "full": Bad(
        FakeGpu(free_bytes=2**28, process_ids=[7]),
        "GPU 0 is full: 0.2 of 40.0 GiB are free",
        "nvidia-smi shows by whom; wait, or choose another with CUDA_VISIBLE_DEVICES",
    ),
}
OTHERS = "GPU 0 is used by 1 other process, and 39.0 of 40.0 GiB are free: times would be of both"


@pytest.fixture
def other_machine() -> Iterator[None]:
    """What was found of this machine is forgotten, and what will be found of the other."""
    system.describe_system.cache_clear()
    yield
    system.describe_system.cache_clear()


def play(monkeypatch: pytest.MonkeyPatch, bad: Bad) -> None:
    """Lets NVML and torch answer as on such a machine."""
    install(monkeypatch, [bad.gpu], driver=bad.driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bad.sees > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: bad.sees)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: OF_CUDA_13)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(system, "torch_cuda_version", lambda: "13.0")


@pytest.mark.usefixtures("other_machine")
@pytest.mark.parametrize("name", BAD)
def test_doctor_runs_calibration_and_first_contact_say_it_in_one_wording(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = BAD[name]
    play(monkeypatch, bad)
    examination = examine(tmp_path, probe)
    stops = [finding for finding in examination.findings if finding.verdict == "stop"]
    assert [(finding.says, finding.hint) for finding in stops] == [(bad.says, bad.hint)]

    monkeypatch.syspath_prepend(PACKAGE.parent / "benchmarks" / "performance")
    told = importlib.import_module("first_contact").why(as_json(examination))
    assert told == f"{'' if stops[0].about in bad.says else f'{stops[0].about}: '}{bad.says} (hint: {bad.hint})"

    error = f"{bad.says}\nhint: {DOCTOR}; {bad.hint}"
    if name == "full":  # it is so before the first launch, and later because of the suite's own processes
        suite = tmp_path / "suite.yaml"
        suite.write_text("{name: bad, base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}}}")
        with pytest.raises(SystemExit) as ended:
            main(["run", str(suite), "--output", str(tmp_path)])
        assert ended.value.code == 2
        assert capsys.readouterr().err.endswith(f"error: {error}\n")
        return
    manifest: Any = SimpleNamespace(runs=[], files=list)
    for measures in (lambda: calibrate(tmp_path, 0.1), lambda: walk(manifest, *[Any] * 3)):  # type: ignore[arg-type]
        with pytest.raises(MachineError) as caught:
            measures()
        assert str(caught.value) == error


@pytest.mark.usefixtures("other_machine")
def test_others_on_a_gpu_and_no_gpu_are_said_before_the_first_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def found() -> list[tuple[str, str]]:
        findings = examine(tmp_path, probe).findings
        return [
            (one.verdict, f"{one.says}; {one.hint}") for one in findings if one.about.startswith("GPU") and one.hint
        ]

    play(monkeypatch, Bad(FakeGpu(process_ids=[7]), "", ""))
    assert before_training() == [f"{OTHERS}; {BAD['full'].hint}"] and has_usable_gpu(probe())
    assert found() == [("warning", f"{OTHERS}; {BAD['full'].hint}")]
    play(monkeypatch, Bad(FakeGpu(), "", ""))
    assert before_training() == [] == found()
    play(monkeypatch, Bad(FakeGpu(), "", "", sees=0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    none = (
        "no GPU: suites train on the CPU (CUDA_VISIBLE_DEVICES='7' names none); nvidia-smi -L lists those that are here"
    )
    assert before_training() == [none] and not has_usable_gpu(probe())
    assert found() == [("warning", none)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert before_training() == []  # it is what was asked for
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    install(monkeypatch, [], fails="Driver Not Loaded")
    none = "no GPU: suites train on the CPU (Driver Not Loaded); nvidia-smi tells whether a driver works"
    assert before_training() == [none] and not has_usable_gpu(probe())
    assert found() == [("ok", none)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(MachineError, match="torch sees 1 GPU, and NVML cannot say of which kind: Driver Not Loaded"):
        has_usable_gpu(probe())


@pytest.mark.parametrize(("model", "capability"), [("NVIDIA GeForce GTX 1650", (7, 5)), ("RTX 5060", (12, 0))])
def test_cards_that_torch_has_kernels_for(
    monkeypatch: pytest.MonkeyPatch, model: str, capability: tuple[int, int]
) -> None:
    play(monkeypatch, Bad(FakeGpu(model, compute_capability=capability), "", ""))
    assert has_usable_gpu(probe())


def test_pascal_runs_on_the_torch_that_the_hint_installs() -> None:
    for capability in ("5.2", "6.1", "7.0", "7.5"):
        assert without_kernels("card", capability, OF_CUDA_12_6) is None
    assert without_kernels("card", None, OF_CUDA_13) is None, "a slice that does not tell"
    assert without_kernels("card", "6.1", []) is None, "torch without CUDA: said elsewhere"
