"""`harness doctor` is the first hint in every error about the machine, and there is one way to say it."""

from __future__ import annotations

import ast
import pickle
import re
from collections import Counter
from pathlib import Path

import pytest

from harness.errors import DOCTOR, HarnessError, MachineError
from harness.launching.failure_causes import hint_for
from harness.measure.architectures import without_kernels
from harness.records.result import Cause
from harness.running import all_runs
from harness.trackers.account import WandbProblem, require_key
from tests.measure.fake_gpus import FakeGpu, install

OF_CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
OF_CUDA_12_6 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
PACKAGE = Path(__file__).parent.parent / "harness"
# Where the package raises them; one more, or one that becomes another error, belongs here.
RAISED = {
    "data/copies.py": 1,  # the data set does not fit into the GPU's or the host's memory
    "data/files.py": 2,  # the cache cannot be written, or has no room
    "data/loaders/auto.py": 1,  # no loader can be had
    "data/loaders/dali.py": 3,  # DALI is missing, or stopped; nor can its fallback be had
    "data/loaders/pinned.py": 1,  # a worker died: /dev/shm, memory
    "data/source.py": 1,  # the images do not fit into memory
    "measure/architectures.py": 1,  # torch has no kernels for the GPU
    "measure/system/gpus.py": 1,  # GPUs of several models
    "running/micro_batch_search.py": 1,  # a network does not fit the memory, however small its micro-batches
    "running/all_runs.py": 2,  # NVML does not answer, torch cannot use the GPU
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


def test_a_gpu_that_torch_cannot_use_is_no_reason_to_train_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(all_runs.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(all_runs, "find_gpus", lambda: [{"model": "GTX 1060", "driver": "470.1"}])
    monkeypatch.setattr(all_runs.torch.version, "cuda", "13.0")
    with pytest.raises(MachineError, match=r"cannot use the GTX 1060 that is here: it is built for CUDA 13\.0"):
        all_runs._has_gpu()
    monkeypatch.setattr(all_runs, "find_gpus", list)
    assert not all_runs._has_gpu()


@pytest.mark.parametrize(
    ("model", "capability", "says", "mend"),
    [
        ("NVIDIA GeForce GTX 780", (3, 5), "is too old: torch 2.10 and newer need 5.0 at least", "another GPU"),
        ("NVIDIA GeForce GTX 1060 6GB", (6, 1), "torch has no kernels for", "make setup TORCH_BACKEND=cu126"),
        ("NVIDIA GeForce GTX 1650", (7, 5), "", ""),
        ("NVIDIA GeForce RTX 5060", (12, 0), "", ""),
        ("NVIDIA R100", (13, 0), "torch has no kernels for", "install a newer torch"),
    ],
)
def test_a_run_on_a_card_that_torch_has_no_kernels_for(
    monkeypatch: pytest.MonkeyPatch, model: str, capability: tuple[int, int], says: str, mend: str
) -> None:

    install(monkeypatch, [FakeGpu(model, compute_capability=capability)])
    monkeypatch.setattr(all_runs.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(all_runs.torch.cuda, "get_arch_list", lambda: OF_CUDA_13)
    if not says:
        assert all_runs._has_gpu()
        return
    with pytest.raises(MachineError) as caught:
        all_runs._has_gpu()
    assert says in caught.value.message and f"{model} (compute capability" in caught.value.message
    assert caught.value.hint == f"{DOCTOR}; {mend}, or CUDA_VISIBLE_DEVICES='' to train on the CPU"
    assert DOCTOR not in caught.value.message and caught.value.message.count("\n") == 0


def test_pascal_runs_on_the_torch_that_the_hint_installs() -> None:
    for capability in ("5.2", "6.1", "7.0", "7.5"):
        assert without_kernels("card", capability, OF_CUDA_12_6) is None
    assert without_kernels("card", None, OF_CUDA_13) is None, "a slice that does not tell"
    assert without_kernels("card", "6.1", []) is None, "torch without CUDA: said elsewhere"
