"""The system a run runs on, as a fingerprint. Nothing here imports torch: a login node asks too.

`system_id` covers what changes run time: runs with one id share a ranking. The rest is recorded beside it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from typing import Any

from harness.measure.system.container import container
from harness.measure.system.gpus import find_gpus, gpu_pairs
from harness.measure.system.host import describe_processor, memory_bytes, resource_limits
from harness.measure.system.slurm import slurm_job
from harness.measure.system.software import torch_cuda_version, versions
from harness.measure.system.source import describe_source

__all__ = ["describe_system", "find_gpus"]

# With a GPU; on a CPU these libraries do nothing. All are facts of one GPU, not of how many this process was given:
# a cluster gives runs of fewer processes fewer.
_DECISIVE_OF_GPU = ("gpu", "gpu_memory_bytes", "gpu_nvlinks", "gpu_pcie", "driver", "cuda", "cudnn", "nccl")
_DECISIVE = ("cpu", "cpu_signature", "cpu_count", "cpu_cores", "torch")


@functools.cache
def describe_system(use_cpu: bool = False, *, with_source: bool = False) -> dict[str, Any]:
    """Returns the fingerprint of this machine, flat but for `container`, `slurm` and the reasons in `unavailable`.

    Args:
        use_cpu: training runs on the CPU even where there is a GPU.
        with_source: also the harness's own commit: it asks git.

    Raises:
        HarnessError: the visible GPUs are of several models.
    """
    gpus = [] if use_cpu else find_gpus()
    first = gpus[0] if gpus else {}
    processor, limits = describe_processor(), resource_limits()
    cuda = torch_cuda_version()
    found_versions, missing = versions(cuda)
    facts: dict[str, Any] = {
        "gpu": first.get("model"),
        "gpu_memory_bytes": first.get("memory_bytes"),
        "gpu_nvlinks": first.get("nvlinks"),
        "gpu_pcie": first.get("pcie"),
        "driver": first.get("driver"),
        **processor,
        "cpu_count": _usable(processor["cpu_count"], limits.cpus),
        "gpu_count": len(gpus),
        "gpu_pairs": gpu_pairs(gpus) if len(gpus) > 1 else None,
        "gpu_compute_capability": first.get("compute_capability"),
        "gpu_power_limit_watts": first.get("power_limit_watts"),
        "cpu_limit": limits.cpus,
        "memory_bytes": memory_bytes(),
        "memory_limit_bytes": limits.memory_bytes,
        "kernel": platform.release(),
        "cuda": cuda,
        **found_versions,
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "container": container(),
        "slurm": slurm_job(),
    }
    decisive = {name: facts[name] for name in (*(_DECISIVE_OF_GPU if gpus else ()), *_DECISIVE)}
    source, no_source = describe_source() if with_source else ({}, {})
    unavailable = {**missing, **no_source}
    if not gpus:
        unavailable["gpu"] = "training runs on the CPU" if use_cpu else "CUDA would see no NVIDIA GPU"
    elif first["pcie"] is None:
        unavailable["gpu_pcie"] = "NVML does not tell"
    processor_name = f"{facts['cpu']}, {facts['cpu_count']} cores"
    return {
        "system_id": hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12],
        "name": f"{len(gpus)}x {first['model']}" if gpus else processor_name,
        **facts,
        **source,
        "unavailable": unavailable,
    }


def _usable(cpu_count: int, limit: float | None) -> int | float:
    """Returns how many CPUs can be busy at a time: those that are allowed, or the share that the cgroup gives."""
    if limit is None or limit >= cpu_count:
        return cpu_count
    return int(limit) if limit == int(limit) else round(limit, 2)
