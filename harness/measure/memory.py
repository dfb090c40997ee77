"""Peak memory of one run in a process that has many."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from harness.records.result import Memory

NO_CUDA = "no CUDA device"
NOT_SAMPLED = "not sampled: there is no NVML telemetry yet"


class PeakMemory:
    """Starts new peaks for the device's allocator and for the host process.

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
        """Returns the peaks since the start, and the reason for each that is null."""
        unavailable: dict[str, str] = {}
        allocated = reserved = None
        if self._device.type == "cuda":
            allocated = torch.cuda.max_memory_allocated(self._device)
            reserved = torch.cuda.max_memory_reserved(self._device)
            unavailable |= dict.fromkeys(("memory.process_device_bytes", "memory.device_bytes"), NOT_SAMPLED)
        else:
            names = ("max_allocated_bytes", "max_reserved_bytes", "process_device_bytes", "device_bytes")
            unavailable |= {f"memory.{name}": NO_CUDA for name in names}
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
