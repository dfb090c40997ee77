"""A made-up NVML, as much of it as the fingerprint asks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class NVMLError(Exception):
    """What NVML raises for a question that a GPU does not support."""


class NVMLLibraryMismatchError(Exception):
    """What nvidia-ml-py raises for a question that an older driver does not know; no NVMLError."""


@dataclass
class FakeGpu:
    """One GPU; None for what it does not answer."""

    model: str = "NVIDIA A100-SXM4-40GB"
    uuid: str = "GPU-0"
    memory_bytes: int = 40 * 2**30
    free_bytes: int = 39 * 2**30
    nvlinks: int = 0
    pcie: tuple[int, int] | None = (4, 16)
    compute_capability: tuple[int, int] | None = (8, 0)
    persistence_mode: int | None = 1
    power_limit: int | None = 400_000
    mig: int | None = None
    slices: list[FakeGpu] = field(default_factory=list)
    process_ids: list[int] | None = field(default_factory=list)
    is_refused: bool = False


def install(
    monkeypatch: pytest.MonkeyPatch,
    gpus: list[FakeGpu],
    *,
    driver: str = "580.65.06",
    nvlinked: bool = False,
    p2p: bool = True,
    fails: str = "",
    old_driver: bool = False,
) -> None:
    """Puts a `pynvml` in place that tells of these GPUs.

    Args:
        nvlinked: whether each pair has NVLink.
        p2p: whether each pair reads the other's memory at all.
        fails: what `nvmlInit` raises; empty where it does not.
        old_driver: whether it does not know the question for processes as nvidia-ml-py asks it.
    """
    by_uuid = {gpu.uuid: gpu for gpu in gpus}

    def answer(get: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            found = get(*arguments)
            if found is None:
                raise NVMLError("Not Supported")
            return found

        return ask

    def init() -> None:
        if fails:
            raise NVMLError(fails)

    def handle(index: int) -> FakeGpu:
        if gpus[index].is_refused:
            raise NVMLError("Insufficient Permissions")
        return gpus[index]

    def processes(gpu: FakeGpu) -> list[SimpleNamespace] | None:
        if old_driver:
            raise NVMLLibraryMismatchError("Unversioned function called")
        return None if gpu.process_ids is None else [SimpleNamespace(pid=pid) for pid in gpu.process_ids]

    def link(gpu: FakeGpu, index: int) -> int | None:
        return (1 if index < gpu.nvlinks else 0) if gpu.nvlinks else None

    def slice_of(gpu: FakeGpu, index: int) -> FakeGpu | None:
        return gpu.slices[index] if index < len(gpu.slices) else None

    fake: Any = ModuleType("pynvml")
    fake.NVMLError, fake.NVMLLibraryMismatchError = NVMLError, NVMLLibraryMismatchError
    fake.NVML_NVLINK_MAX_LINKS, fake.NVML_FEATURE_ENABLED = 18, 1
    fake.nvmlInit, fake.nvmlShutdown = init, lambda: None
    fake.nvmlSystemGetDriverVersion = lambda: driver
    fake.nvmlDeviceGetCount = lambda: len(gpus)
    fake.nvmlDeviceGetHandleByIndex = handle
    fake.nvmlDeviceGetHandleByUUID = by_uuid.__getitem__
    fake.nvmlDeviceGetName = lambda gpu: gpu.model
    fake.nvmlDeviceGetUUID = lambda gpu: gpu.uuid
    fake.nvmlDeviceGetMemoryInfo = lambda gpu: SimpleNamespace(total=gpu.memory_bytes, free=gpu.free_bytes)
    fake.nvmlDeviceGetNvLinkState = answer(link)
    fake.nvmlDeviceGetMaxPcieLinkGeneration = answer(lambda gpu: gpu.pcie and gpu.pcie[0])
    fake.nvmlDeviceGetMaxPcieLinkWidth = answer(lambda gpu: gpu.pcie and gpu.pcie[1])
    fake.nvmlDeviceGetCudaComputeCapability = answer(lambda gpu: gpu.compute_capability)
    fake.nvmlDeviceGetPersistenceMode = answer(lambda gpu: gpu.persistence_mode)
    fake.nvmlDeviceGetPowerManagementLimit = answer(lambda gpu: gpu.power_limit)
    fake.nvmlDeviceGetPowerManagementDefaultLimit = answer(lambda gpu: 400_000)
    fake.nvmlDeviceGetMigMode = answer(lambda gpu: None if gpu.mig is None else (gpu.mig, gpu.mig))
    fake.nvmlDeviceGetMaxMigDeviceCount = answer(lambda gpu: None if gpu.mig is None else 7)
    fake.nvmlDeviceGetMigDeviceHandleByIndex = answer(slice_of)
    fake.nvmlDeviceGetComputeRunningProcesses = answer(processes)
    # As in nvml.h: 0 is read, 2 is NVLink; 0 is ok, others say why not.
    fake.nvmlDeviceGetP2PStatus = lambda a, b, index: 0 if (nvlinked if index == 2 else p2p) else 5
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
