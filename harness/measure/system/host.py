"""Processor, memory, and how much of them this process may use."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PROC, SYS = Path("/proc"), Path("/sys")
# What tells two processors of one name apart: virtual machines have names such as "AMD EPYC" for all generations.
_SIGNATURE = ("vendor_id", "cpu family", "model", "stepping", "CPU implementer", "CPU variant", "CPU part")
_THROTTLED = re.compile(r"^throttled_(usec|time) (\d+)", re.MULTILINE)  # cgroup 2; 1, in nanoseconds
_UNLIMITED_BYTES = 2**60  # cgroup v1 says "no limit" by a number near 2^63


class Limits(NamedTuple):
    """What the cgroup gives; None where it sets no limit."""

    cpus: float | None
    memory_bytes: int | None


def describe_processor(proc: Path = PROC) -> dict[str, Any]:
    """Returns name, signature, CPUs that this process may use, and the cores that they belong to.

    `cpu_cores` is None where the kernel does not tell; two CPUs of one core are slower than two cores.
    """
    allowed = os.sched_getaffinity(0)
    processors = {int(one["processor"]): one for one in _processors(proc) if one.get("processor", "").isdigit()}
    first = processors[min(processors)] if processors else {}
    cores = {
        (processors[cpu].get("physical id", "0"), processors[cpu]["core id"])
        for cpu in allowed & processors.keys()
        if "core id" in processors[cpu]
    }
    signature = "/".join(first[name] for name in _SIGNATURE if name in first)
    return {
        "cpu": first.get("model name") or platform.processor() or platform.machine(),
        "cpu_signature": signature or None,
        "cpu_count": len(allowed),
        "cpu_cores": len(cores) or None,
    }


def memory_bytes() -> int:
    """Returns the main memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def resource_limits(proc: Path = PROC, sys: Path = SYS) -> Limits:
    """Returns the limits of this process's cgroup and those above it: of a container, or of a batch system's job."""
    root = sys / "fs" / "cgroup"
    paths = dict(_cgroup_paths(proc))
    if (root / "cgroup.controllers").exists():
        folders = _upwards(root, paths.get("", "/"))
        cpus = [_cpus(*text.split()) for text in _read(folders, "cpu.max")]
        sizes = _read(folders, "memory.max")
    else:
        of_cpu = _upwards(root / "cpu", paths.get("cpu", "/"))
        pairs = zip(_read(of_cpu, "cpu.cfs_quota_us"), _read(of_cpu, "cpu.cfs_period_us"), strict=False)
        cpus = [_cpus(*pair) for pair in pairs]
        sizes = _read(_upwards(root / "memory", paths.get("memory", "/")), "memory.limit_in_bytes")
    memory = [int(size) for size in sizes if size.isdigit() and int(size) < _UNLIMITED_BYTES]
    return Limits(
        min((cpu for cpu in cpus if cpu is not None), default=None),
        min(memory, default=None),
    )


class Throttling:
    """For how long this process's cgroup, and those above it, keep its processes from a core.

    Raises:
        LookupError: no such counter can be seen; the message is the reason.
    """

    def __init__(self, proc: Path = PROC, sys: Path = SYS) -> None:
        root = sys / "fs" / "cgroup"
        paths = dict(_cgroup_paths(proc))
        folders = dict.fromkeys([*_upwards(root, paths.get("", "/")), *_upwards(root / "cpu", paths.get("cpu", "/"))])
        found = {
            folder / "cpu.stat": re.search(_THROTTLED, text)
            for folder in folders
            for text in _read([folder], "cpu.stat")
        }
        self._files = [file for file, counts in found.items() if counts]
        if not self._files:
            raise LookupError("no cgroup of this process that can be seen counts what it throttles")

    def seconds(self) -> float:
        """Returns it so far; of several cores the sum.

        Raises:
            OSError: it can be read no more.
        """
        counts = [re.search(_THROTTLED, file.read_text()) for file in self._files]
        return sum(int(found[2]) * (1e-6 if found[1] == "usec" else 1e-9) for found in counts if found)


def _processors(proc: Path) -> Iterator[dict[str, str]]:
    try:
        text = (proc / "cpuinfo").read_text()
    except OSError:
        return
    for block in text.split("\n\n"):
        yield {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}


def _cgroup_paths(proc: Path) -> Iterator[tuple[str, str]]:
    """Yields (controller, path), with an empty controller for version 2."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        if match := re.fullmatch(r"\d+:([^:]*):(.*)", line):
            for controller in match[1].split(","):
                yield controller, match[2]


def _upwards(root: Path, path: str) -> list[Path]:
    """Returns the folders from a cgroup to the root; in a container the path may be the host's, and not be there."""
    inner = root / path.lstrip("/")
    return [folder for folder in (inner, *inner.parents) if folder == root or root in folder.parents]


def _read(folders: Iterable[Path], name: str) -> list[str]:
    texts = []
    for folder in folders:
        try:
            texts.append((folder / name).read_text().strip())
        except OSError:
            continue
    return texts


def _cpus(quota: str, period: str) -> float | None:
    return int(quota) / int(period) if quota.isdigit() and int(period) > 0 else None
