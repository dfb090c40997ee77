"""The variables of the environment that change run time, and no other: keys and paths are not recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath

from harness.measure.system.host import describe_processor

_OF_A_CPU = """
    OMP_NUM_THREADS OMP_THREAD_LIMIT OMP_WAIT_POLICY OMP_PROC_BIND OMP_PLACES OMP_DYNAMIC GOMP_SPINCOUNT
    GOMP_CPU_AFFINITY KMP_AFFINITY KMP_BLOCKTIME MKL_NUM_THREADS MKL_ENABLE_INSTRUCTIONS ONEDNN_MAX_CPU_ISA
    DNNL_MAX_CPU_ISA ATEN_CPU_CAPABILITY LD_PRELOAD GLIBC_TUNABLES MALLOC_ARENA_MAX MALLOC_MMAP_MAX_
    MALLOC_MMAP_THRESHOLD_ MALLOC_TOP_PAD_ MALLOC_TRIM_THRESHOLD_ MALLOC_CONF THP_MEM_ALLOC_ENABLE
"""
# On a GPU the former change what a host does beside it, and launchers set OMP_NUM_THREADS, each in its own way.
_OF_A_GPU = """
    CUDA_LAUNCH_BLOCKING CUDA_DEVICE_MAX_CONNECTIONS CUBLAS_WORKSPACE_CONFIG NVIDIA_TF32_OVERRIDE
    TORCH_ALLOW_TF32_CUBLAS_OVERRIDE PYTORCH_ALLOC_CONF PYTORCH_CUDA_ALLOC_CONF PYTORCH_NO_CUDA_MEMORY_CACHING
    NCCL_ALGO NCCL_PROTO NCCL_NET NCCL_P2P_DISABLE NCCL_P2P_LEVEL NCCL_IB_DISABLE NCCL_SHM_DISABLE NCCL_NVLS_ENABLE
    NCCL_CUMEM_ENABLE NCCL_BUFFSIZE NCCL_NTHREADS NCCL_MIN_NCHANNELS NCCL_MAX_NCHANNELS NCCL_SOCKET_NTHREADS
"""
OWN_WORKSPACE = ":4096:8"
"""`CUBLAS_WORKSPACE_CONFIG` of a run, which `deterministic: true` needs."""
_OF_BOTH = "TORCHDYNAMO_DISABLE TORCH_COMPILE_DISABLE PYTHONMALLOC"


def threads_by_default() -> str:
    """Returns how many threads torch has where nothing is set: one for each core that this process may use."""
    return str(describe_processor()["cpu_cores"] or len(os.sched_getaffinity(0)))


def timing_variables(device: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the variables that are set, of those that change run time on a device.

    Args:
        device: `cuda` or `cpu`.
        environ: of the process that trains.
    """
    names = f"{_OF_BOTH} {_OF_A_GPU if device == 'cuda' else _OF_A_CPU}".split()
    found = {name: environ[name] for name in names if environ.get(name)}
    own = {"OMP_NUM_THREADS": threads_by_default(), "CUBLAS_WORKSPACE_CONFIG": OWN_WORKSPACE}
    found = {name: value for name, value in found.items() if own.get(name) != value}
    if "LD_PRELOAD" in found:  # the names of the libraries, without their folders
        found["LD_PRELOAD"] = " ".join(PurePath(path).name for path in found["LD_PRELOAD"].replace(":", " ").split())
    return found
