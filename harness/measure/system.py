"""The system a run runs on, as a fingerprint. Nothing here imports torch: a login node asks too.

`system_id` covers what changes run time; the rest is recorded beside it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

from harness.errors import HarnessError


@functools.cache
def describe_system(use_cpu: bool = False) -> dict[str, Any]:
    """Returns the fingerprint of this machine.

    Args:
        use_cpu: training runs on the CPU even where there is a GPU.
    """
    gpus = [] if use_cpu else find_gpus()
    decisive = {
        "gpu": gpus[0]["model"] if gpus else None,
        "gpu_memory_bytes": gpus[0]["memory_bytes"] if gpus else None,
        "driver": gpus[0]["driver"] if gpus else None,
        "cpu": _cpu_model(),
        "cpu_count": len(os.sched_getaffinity(0)),
        "torch": _version("torch"),
    }
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]
    processor = f"{decisive['cpu']}, {decisive['cpu_count']} cores"
    return {
        "system_id": digest,
        "name": f"{len(gpus)}x {gpus[0]['model']}" if gpus else processor,
        **decisive,
        "gpu_count": len(gpus),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "torchvision": _version("torchvision"),
        "accelerate": _version("accelerate"),
        "numpy": _version("numpy"),
    }


def find_gpus() -> list[dict[str, Any]]:
    """Returns model, memory and driver of each NVIDIA GPU that CUDA would see; none without a driver.

    Raises:
        HarnessError: CUDA_VISIBLE_DEVICES holds GPUs of several models; their times would share a table.
    """
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        gpus = [
            {
                "model": pynvml.nvmlDeviceGetName(handle),
                "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                "uuid": pynvml.nvmlDeviceGetUUID(handle),
                "driver": pynvml.nvmlSystemGetDriverVersion(),
            }
            for handle in handles
        ]
    finally:
        pynvml.nvmlShutdown()
    visible = _visible(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    models = sorted({gpu["model"] for gpu in visible})
    if len(models) > 1:
        hint = "choose those of one model with CUDA_VISIBLE_DEVICES"
        raise HarnessError(f"the visible GPUs differ: {', '.join(models)}", hint)
    return visible


def _visible(gpus: list[dict[str, Any]], variable: str | None) -> list[dict[str, Any]]:
    if variable is None:
        return gpus
    chosen = []
    for name in (part.strip() for part in variable.split(",") if part.strip()):
        match = [gpu for index, gpu in enumerate(gpus) if name == str(index) or gpu["uuid"].startswith(name)]
        if not match:
            break  # CUDA sees the devices before the first invalid entry
        chosen.append(match[0])
    return chosen


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
