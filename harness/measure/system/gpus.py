"""The GPUs that CUDA would see, by NVML: without torch, and without a CUDA context."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.errors import MachineError

# nvml.h; nvidia-ml-py 13 has a tuple for one of them.
_P2P_READ, _P2P_NVLINK, _P2P_OK = 0, 2, 0


class NoNvml(Exception):
    """NVML cannot be asked; the message says why."""


def find_gpus() -> list[dict[str, Any]]:
    """Returns what NVML tells of each NVIDIA GPU that CUDA would see; none without a driver.

    Raises:
        HarnessError: CUDA_VISIBLE_DEVICES holds GPUs of several models; their times would share a table.
    """
    try:
        visible = visible_gpus()
    except NoNvml:
        return []
    if problem := several_models(visible):
        raise MachineError(*problem)
    return visible


def several_models(gpus: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Returns that GPUs are of several models, and what to do about it; None where they are not."""
    models = list(dict.fromkeys(gpu["model"] for gpu in gpus))
    if len(models) < 2:
        return None
    return f"the visible GPUs differ: {', '.join(models)}", "choose those of one model with CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[dict[str, Any]]:
    """Returns the same for GPUs of any models.

    Raises:
        NoNvml: it is not installed, or there is no driver.
    """
    with _nvml() as nvml:
        driver = nvml.nvmlSystemGetDriverVersion()
        handles = list(_handles(nvml))
        whole = [{**_describe(nvml, handle), "driver": driver} for handle in handles]
        slices = [{**whole[index], **one} for index, handle in enumerate(handles) for one in _slices(nvml, handle)]
    return _visible(whole, slices, os.environ.get("CUDA_VISIBLE_DEVICES"))


def gpu_pairs(gpus: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Returns by which way the pairs of GPUs reach each other's memory, and how many pairs do so."""
    with _nvml() as nvml:
        handles = [nvml.nvmlDeviceGetHandleByUUID(gpu["uuid"]) for gpu in gpus if not gpu["is_slice"]]
        return dict(Counter(_way(nvml, a, b) for a, b in itertools.combinations(handles, 2)))


@contextlib.contextmanager
def _nvml() -> Iterator[Any]:
    try:
        import pynvml
    except ImportError:
        raise NoNvml("nvidia-ml-py is not installed") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoNvml(str(error)) from None
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _handles(nvml: Any) -> Iterator[Any]:
    """Yields a handle of each GPU that this process may use, in the order in which CUDA numbers them.

    NVML counts all GPUs of a node, also where a SLURM job holds some of them, and refuses the handles of the others.
    """
    for index in range(nvml.nvmlDeviceGetCount()):
        with contextlib.suppress(nvml.NVMLError):
            yield nvml.nvmlDeviceGetHandleByIndex(index)


def _describe(nvml: Any, handle: Any) -> dict[str, Any]:
    def ask(name: str, *arguments: Any) -> Any:
        return _ask(nvml, getattr(nvml, name), handle, *arguments)

    generation, width = ask("nvmlDeviceGetMaxPcieLinkGeneration"), ask("nvmlDeviceGetMaxPcieLinkWidth")
    capability = ask("nvmlDeviceGetCudaComputeCapability")
    persistence = ask("nvmlDeviceGetPersistenceMode")
    mig = ask("nvmlDeviceGetMigMode")
    processes = ask("nvmlDeviceGetComputeRunningProcesses")
    return {
        "model": nvml.nvmlDeviceGetName(handle),
        **_memory(nvml, handle),
        "uuid": nvml.nvmlDeviceGetUUID(handle),
        "is_slice": False,
        "compute_capability": ".".join(map(str, capability)) if capability else None,
        "nvlinks": _nvlinks(nvml, handle),
        "pcie": f"gen {generation} x{width}" if generation and width else None,
        "power_limit_watts": _watts(ask("nvmlDeviceGetPowerManagementLimit")),
        "default_power_limit_watts": _watts(ask("nvmlDeviceGetPowerManagementDefaultLimit")),
        "persistence_mode": None if persistence is None else persistence == nvml.NVML_FEATURE_ENABLED,
        "mig_mode": bool(mig and mig[0]),
        "process_ids": None if processes is None else [process.pid for process in processes],
    }


def _slices(nvml: Any, handle: Any) -> Iterator[dict[str, Any]]:
    """Yields the MIG devices of a GPU, each with what is its own."""
    for index in range(_ask(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        mig = _ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if mig is not None:
            yield {
                "model": nvml.nvmlDeviceGetName(mig),
                **_memory(nvml, mig),
                "uuid": nvml.nvmlDeviceGetUUID(mig),
                "is_slice": True,
            }


def _memory(nvml: Any, handle: Any) -> dict[str, int]:
    found = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {"memory_bytes": int(found.total), "free_bytes": int(found.free)}


def _nvlinks(nvml: Any, handle: Any) -> int:
    """Returns how many links are up: known of one GPU alone, also where its peers are hidden from this process."""
    states = [_ask(nvml, nvml.nvmlDeviceGetNvLinkState, handle, link) for link in range(nvml.NVML_NVLINK_MAX_LINKS)]
    return sum(bool(state) for state in states)  # a GPU without NVLink does not support the question


def _way(nvml: Any, a: Any, b: Any) -> str:
    if _ask(nvml, nvml.nvmlDeviceGetP2PStatus, a, b, _P2P_NVLINK) == _P2P_OK:
        return "NVLink"
    read = _ask(nvml, nvml.nvmlDeviceGetP2PStatus, a, b, _P2P_READ)
    return "unknown" if read is None else "PCIe, P2P" if read == _P2P_OK else "PCIe, no P2P"


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _ask(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """Returns NVML's answer, or None where this GPU or driver has none."""
    try:
        return question(*arguments)
    except (nvml.NVMLError, nvml.NVMLLibraryMismatchError):  # the second: the driver is older than nvidia-ml-py
        return None


def _visible(whole: list[dict[str, Any]], slices: list[dict[str, Any]], variable: str | None) -> list[dict[str, Any]]:
    if variable is None:
        usable = [gpu for gpu in whole if not gpu["mig_mode"]]
        return usable or slices[:1]  # of MIG devices CUDA takes the first
    chosen = []
    for name in (part.strip() for part in variable.split(",") if part.strip()):
        match = [gpu for index, gpu in enumerate(whole) if name == str(index) or gpu["uuid"].startswith(name)]
        match = [one for one in slices if one["uuid"].startswith(name)] or match
        if not match:
            break  # CUDA sees the devices before the first invalid entry
        chosen.append(match[0])
    return chosen
