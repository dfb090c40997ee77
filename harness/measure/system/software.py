"""Versions of what training runs on, read from what is installed and not by importing it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
from pathlib import Path

_PACKAGES = ("torchvision", "accelerate", "numpy", "numba")
DALI_PACKAGES = ("nvidia-dali-cuda130", "nvidia-dali-cuda120", "nvidia-dali-cuda110")


def versions(cuda: str | None) -> tuple[dict[str, str | None], dict[str, str]]:
    """Returns versions by name, and the reason for each that is None.

    Args:
        cuda: version that torch was built for; cuDNN and NCCL are packages of their own for each major version.
    """
    torch = package_version("torch")
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        # Without what follows the plus: the same wheel has it from one index and not from another.
        "torch": torch.partition("+")[0] if torch else None,
        **{name: package_version(name) for name in _PACKAGES},
        "dali": dali()[1],
    }
    major = cuda.partition(".")[0] if cuda else ""
    found |= {name: package_version(f"nvidia-{name}-cu{major}") if cuda else None for name in ("cudnn", "nccl")}
    reasons = {name: "not installed" for name, version in found.items() if version is None}
    for name in ("cudnn", "nccl"):
        if found[name] is None:
            reasons[name] = f"no package nvidia-{name}-cu{major}" if cuda else "torch is built without CUDA"
    return found, reasons


def package_version(name: str) -> str | None:
    """Returns the version of an installed package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def dali() -> tuple[str, str | None]:
    """Returns the package of DALI that is installed, and its version; empty and None where none is."""
    return next(((name, version) for name in DALI_PACKAGES if (version := package_version(name))), ("", None))


def torch_cuda_version() -> str | None:
    """Returns the version of CUDA that torch was built for; None where it was built without, or is not there."""
    try:
        spec = importlib.util.find_spec("torch")
        text = Path(spec.origin).with_name("version.py").read_text() if spec and spec.origin else ""
    except (OSError, ValueError):
        return None
    found = re.search(r"^cuda(?:\s*:[^=]*)?\s*=\s*'([\d.]+)'", text, re.MULTILINE)
    return found[1] if found else None
