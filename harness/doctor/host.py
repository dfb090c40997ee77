"""Verdicts on processors, shared memory, and the folders that a run writes to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.measure.finding import Finding
from harness.records.files import require_writable

# Two workers of a loader, two batches ahead each, of 128 images of 224x224 as uint8: 74 MiB; of a Docker container's
# 64 MiB that is too much. A few processes, and some room.
LEAST_SHARED_BYTES = 2**29
LEAST_FREE_BYTES, LITTLE_FREE_BYTES = 2**28, 5 * 2**30
BUSY = 0.5  # of a CPU, each


def check_processors(system: Mapping[str, Any], environment: Mapping[str, str], load: float) -> Iterator[Finding]:
    """Yields verdicts on CPUs and threads.

    Args:
        system: as `describe_system` gives it.
        environment: of this process.
        load: processes that want a CPU, over the last minute.
    """
    cpus, limit, fine = system["cpu_count"], system["cpu_limit"], True
    threads = environment.get("OMP_NUM_THREADS")
    count = int(threads) if threads and threads.isdigit() else None
    if limit and limit == cpus and count is None:
        message = f"the cgroup gives {limit:g} CPUs, and torch starts a thread for each CPU that it sees"
        yield Finding("CPU", "warning", message, f"export OMP_NUM_THREADS={max(1, int(limit))}")
        fine = False
    if count is not None and count != cpus and system["gpu"] is None:
        fewer = "some CPUs would idle" if count < cpus else "threads would wait for each other"
        message = f"OMP_NUM_THREADS={count} on {cpus} CPUs: {fewer}"
        yield Finding("CPU", "warning", message, "unset OMP_NUM_THREADS, or leave it the same for all runs")
        fine = False
    for name in ("OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"):
        if environment.get(name):
            message = f"{name}={environment[name]} binds threads: processes of one launch would share CPUs"
            yield Finding("CPU", "warning", message, f"unset {name}")
            fine = False
    if load > BUSY * cpus:
        message = f"{load:.1f} processes want a CPU, of {cpus}: times would be of them, too"
        yield Finding("CPU", "warning", message, "wait until the machine is quiet")
        fine = False
    if fine:
        yield Finding("CPU", "ok", f"{cpus} CPUs, load {load:.1f}")


def check_shared_memory(path: Path = Path("/dev/shm")) -> Finding:
    """Returns the verdict on the folder by which a loader's workers hand over batches."""
    hint = "docker run --shm-size=2g (or --ipc=host), or loader: resident, or loader.workers: 0"
    try:
        free = shutil.disk_usage(path).free
    except OSError:
        return Finding("/dev/shm", "warning", "there is none: loader workers cannot hand over batches", hint)
    if free < LEAST_SHARED_BYTES:
        return Finding("/dev/shm", "warning", f"{_size(free)} free: too little for loader workers", hint)
    return Finding("/dev/shm", "ok", f"{_size(free)} free")


def check_folder(about: str, folder: Path, option: str) -> Finding:
    """Returns the verdict on a folder that runs write to; it is made where it is not there.

    Args:
        option: that names another.
    """
    try:
        require_writable(folder)
    except HarnessError as error:
        return Finding(about, "stop", error.message, f"choose another with {option}")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        return Finding(about, "stop", f"{_size(free)} free in {folder}", f"make room, or choose another with {option}")
    if free < LITTLE_FREE_BYTES:
        hint = f"checkpoints may fill it: make room, or choose another with {option}"
        return Finding(about, "warning", f"{_size(free)} free in {folder}", hint)
    return Finding(about, "ok", f"{folder}: writable, {_size(free)} free")


def load_average() -> float:
    """Returns how many processes wanted a CPU over the last minute."""
    return os.getloadavg()[0]


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"
