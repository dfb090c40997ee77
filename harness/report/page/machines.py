"""The systems that a suite ran on."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.page.parts import Facts, Part, Says
from harness.report.page.source import Source
from harness.report.texts import one_line

_TITLES = {
    "gpu": "GPU",
    "gpu_count": "GPUs",
    "gpu_memory_bytes": "GPU memory",
    "driver": "driver",
    "cpu": "CPU",
    "cpu_count": "CPU cores",
    "memory_bytes": "memory",
    "kernel": "kernel",
    "python": "Python",
    "torch": "torch",
    "torchvision": "torchvision",
    "accelerate": "Accelerate",
    "cuda": "CUDA",
    "system_id": "system id",
}


def machines(source: Source) -> Iterator[Part]:
    """Yields the facts of each system; times of different ones are never compared."""
    tables = source.report.tables
    if len(tables) > 1:
        yield Says(("Run times of different systems are never compared: each has its own charts and table.",))
    for table in tables:
        known = source.systems.get(table.system_id, {})
        facts = [(title, _text(name, known[name])) for name, title in _TITLES.items() if known.get(name) is not None]
        if not any(title == "system id" for title, _ in facts):
            facts.append(("system id", table.system_id))
        yield Facts(one_line(table.system), tuple(facts))


def _text(name: str, value: object) -> str:
    if name.endswith("_bytes") and isinstance(value, int | float):
        return f"{value / 2**30:.1f} GiB"
    return one_line(str(value))
