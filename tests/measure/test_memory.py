"""The host's peak: of this run, and not of what the process did before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.measure import memory
from harness.measure.memory import NO_CUDA, PeakMemory
from harness.records.result import Memory

CPU = torch.device("cpu")
MIB = 2**20


def allocate(size: int) -> None:
    np.ones(size, np.uint8)  # above malloc's threshold: goes back to the kernel when this returns


def test_the_peak_sees_this_run_and_forgets_what_was_before() -> None:
    allocate(400 * MIB)
    peak = PeakMemory(CPU)
    before, _ = peak.read()
    allocate(200 * MIB)
    after, _ = peak.read()
    assert before.host_rss_bytes is not None and after.host_rss_bytes is not None
    assert 190 * MIB < after.host_rss_bytes - before.host_rss_bytes < 210 * MIB


def test_what_a_cpu_does_not_have_is_null_with_a_reason() -> None:
    found, unavailable = PeakMemory(CPU).read()
    nulls = {f"memory.{name}" for name in Memory.model_fields if getattr(found, name) is None}
    assert nulls == set(unavailable) and len(nulls) == 4 and set(unavailable.values()) == {NO_CUDA}


def test_a_peak_that_cannot_be_reset_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refuse)
    found, unavailable = PeakMemory(CPU).read()
    assert found.host_rss_bytes is None and "memory.host_rss_bytes" in unavailable


def test_a_peak_that_cannot_be_read_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_host_peak", lambda: None)
    found, unavailable = PeakMemory(CPU).read()
    assert found.host_rss_bytes is None and "memory.host_rss_bytes" in unavailable


FAULTS_OF_STEPS = """
import resource, sys, torch
from harness.measure.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for mebibytes in range(2, 22):  # growing, so that what glibc learns from one is too small for the next
    torch.ones(mebibytes * 2**20, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_steps(how: str) -> int:
    command = [sys.executable, "-c", FAULTS_OF_STEPS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_what_a_step_frees_serves_the_next() -> None:
    kept, default = faults_of_steps("keep"), faults_of_steps("default")
    assert kept < default / 4
