"""The host's peak: of this run, and not of what the process did before."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.measure.memory import PeakMemory, is_out_of_memory, release_freed_memory
from harness.measure.nvml import NO_CUDA

CPU = torch.device("cpu")
MIB = 2**20
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    *map(
        RuntimeError,
        [
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
            "CUDA error: out of memory",  # of an AcceleratorError, which is a RuntimeError
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
            "cuFFT error: CUFFT_ALLOC_FAILED",
            "NCCL error: unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'",
            "CUDA allocation failed\nCurrent pipeline object is no longer valid.",  # DALI
            "nvJPEG error (5): NVJPEG_STATUS_ALLOCATOR_FAILURE",
            "backend='inductor' raised:\nOutOfMemoryError: CUDA out of memory.",
            "std::bad_alloc",
        ],
    ),
]


def allocate(size: int) -> None:
    np.ones(size, np.uint8)  # above malloc's threshold: goes back to the kernel when this returns


def test_the_peak_sees_this_run_and_forgets_what_was_before() -> None:
    allocate(400 * MIB)
    peak = PeakMemory(CPU)
    before, _ = peak.read()
    allocate(200 * MIB)
    after, _ = peak.read()
    assert before.host_rss_bytes is not None and after.host_rss_bytes is not None
    assert 197 * MIB < after.host_rss_bytes - before.host_rss_bytes < 203 * MIB


def test_garbage_of_earlier_runs_is_given_back_before_the_peak_starts() -> None:
    release_freed_memory(CPU)
    before, _ = PeakMemory(CPU).read()
    blocks: list[object] = [np.ones(MIB // 16, np.uint8) for _ in range(200 * 16)]
    _above = blocks.pop()  # below it, free blocks stay in the heap until they are trimmed
    blocks.append(blocks)  # a cycle: reference counts alone do not free it
    del blocks
    release_freed_memory(CPU)
    after, _ = PeakMemory(CPU).read()
    assert before.host_rss_bytes is not None and after.host_rss_bytes is not None
    assert after.host_rss_bytes - before.host_rss_bytes < 20 * MIB


def test_what_a_cpu_does_not_have_is_null_with_a_reason() -> None:
    found, unavailable = PeakMemory(CPU).read()
    assert unavailable == dict.fromkeys(("memory.max_allocated_bytes", "memory.max_reserved_bytes"), NO_CUDA)
    assert found.max_allocated_bytes is found.max_reserved_bytes is None and found.host_rss_bytes


def refuse(*_: object) -> None:
    raise PermissionError


def test_a_peak_that_cannot_be_reset_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_text", refuse)
    found, unavailable = PeakMemory(CPU).read()
    assert found.host_rss_bytes is None and "memory.host_rss_bytes" in unavailable


@pytest.mark.parametrize("read_text", [refuse, lambda _: "VmRSS: 1 kB\n"], ids=["refused", "no VmHWM"])
def test_a_peak_that_cannot_be_read_is_not_reported(
    monkeypatch: pytest.MonkeyPatch, read_text: Callable[[Path], str]
) -> None:
    monkeypatch.setattr(Path, "read_text", read_text)
    found, unavailable = PeakMemory(CPU).read()
    assert found.host_rss_bytes is None and "memory.host_rss_bytes" in unavailable


FAULTS_OF_STEPS = """
import resource, sys
import numpy as np
from harness.measure.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for mebibytes in range(2, 12):  # growing, so that what glibc learns from one is too small for the next
    [np.ones(mebibytes * 2**20, np.uint8) for _ in range(8)]  # nothing lies above them: the heap's end is freed too
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_steps(how: str) -> int:
    command = [sys.executable, "-c", FAULTS_OF_STEPS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.launch
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_what_a_step_frees_serves_the_next() -> None:
    kept, default = faults_of_steps("keep"), faults_of_steps("default")
    assert kept < default / 2


@pytest.mark.parametrize("form", OUT_OF_MEMORY, ids=str)
def test_every_form_of_out_of_memory_is_known(form: Exception) -> None:
    assert is_out_of_memory(form)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("out of memory"),  # of a network that checks its parameters
        OSError(errno.ENOSPC, "No space left on device"),
        HarnessError("a worker of the loader died", "it may have been out of memory"),
    ],
    ids=str,
)
def test_another_error_is_not_one(error: Exception) -> None:
    assert not is_out_of_memory(error)
