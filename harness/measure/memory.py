"""Peak memory of one run in a process that has many."""

from __future__ import annotations

import ctypes
import errno
import gc
import re
from pathlib import Path

import torch

from harness.measure.nvml import NO_CUDA
from harness.records.result import Memory

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
LARGEST_MMAP_THRESHOLD = 32 * 2**20  # what glibc takes on 64 bit
# As torch, CUDA, its libraries, NCCL and DALI say it in the text of a RuntimeError.
OUT_OF_MEMORY = re.compile(
    r"out of memory|insufficient memory|not enough memory|(can't|cannot|failed to) allocate|bad_alloc|"
    r"_ALLOC_FAILED|ALLOCATION_FAILED|ALLOCATOR_FAILURE|allocation failed",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tells whether an exception says that the device or the host has no memory left."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM  # of mmap, or of a process that cannot be started
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(OUT_OF_MEMORY.search(str(error)))


def keep_freed_memory() -> None:
    """Lets glibc keep what one step frees for the next, in this process; call it once, before tensors are made.

    By default large blocks go back to the kernel and are paged in anew at each step, until the allocator has learnt
    their sizes: on a CPU a run's first steps, and all runs of a fresh process, then take longer. Other C libraries
    have no such switch and are left as they are.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def release_freed_memory(device: torch.device) -> None:
    """Gives back what this process has freed, so that what comes next starts as in a fresh process."""
    gc.collect()
    if device.type == "cuda":
        torch._C._cuda_clearCublasWorkspaces()  # torch would keep those of every precision that a run had
        torch.cuda.empty_cache()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def larger(a: Memory, b: Memory) -> Memory:
    """Returns the larger of each peak; one that was not measured gives way to one that was."""
    pairs = {name: (getattr(a, name), getattr(b, name)) for name in Memory.model_fields}
    return Memory(**{name: max((v for v in pair if v is not None), default=None) for name, pair in pairs.items()})


class PeakMemory:
    """Starts new peaks for the device's allocator and the host process; what is not released before is in them.

    Args:
        device: the rank's device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
            self._host_was_reset = True
        except OSError:
            self._host_was_reset = False

    def read(self) -> tuple[Memory, dict[str, str]]:
        """Returns the peaks since the start that a process knows of itself, and the reason for each that is null."""
        unavailable: dict[str, str] = {}
        allocated = reserved = None
        if self._device.type == "cuda":
            allocated = torch.cuda.max_memory_allocated(self._device)
            reserved = torch.cuda.max_memory_reserved(self._device)
        else:
            unavailable |= dict.fromkeys(("memory.max_allocated_bytes", "memory.max_reserved_bytes"), NO_CUDA)
        host = _host_peak() if self._host_was_reset else None
        if host is None:
            unavailable["memory.host_rss_bytes"] = "the kernel does not let this process reset or read its peak"
        return Memory(max_allocated_bytes=allocated, max_reserved_bytes=reserved, host_rss_bytes=host), unavailable


def _host_peak() -> int | None:
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
