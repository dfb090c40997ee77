"""How fast memory can be copied."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

COPIED_BYTES = 2**28


def copying(device: torch.device) -> dict[str, Callable[[], Any]]:
    """Returns copies of COPIED_BYTES: within the device's memory, and for a GPU to it from pinned memory."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    if device.type == "cuda":
        host = torch.ones(COPIED_BYTES, dtype=torch.uint8).pin_memory()
        return {
            "memory": lambda: target.copy_(source),
            "from_host": lambda: target.copy_(host, non_blocking=True),
        }
    # Where one thread can use up the bandwidth, several get in each other's way: the faster of the two counts.
    return {
        "memory, all threads": lambda: target.copy_(source),
        "memory, one thread": lambda: np.copyto(target.numpy(), source.numpy()),
    }


def copied_per_second(copy: Callable[[], Any], device: torch.device, seconds: float = 0.2) -> float:
    """Returns bytes a second."""
    copy()
    synchronize(device)
    copies, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        copy()
        synchronize(device)
        copies += 1
    return COPIED_BYTES * copies / (time.perf_counter() - began)


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
