"""Which GPUs a build of torch has code for, and how a build is had that does. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

USE_CPU = "or CUDA_VISIBLE_DEVICES='' to train on the CPU"
# torch 2.10 to 2.14 for CUDA 12.6 have code for 5.0 (Maxwell) to 9.0 (Hopper). From 2.15 on there is CUDA 13 alone,
# which begins at 7.5 (Turing): https://github.com/pytorch/pytorch/issues/190385
OLDEST_OF_ANY, OLDEST_OF_NEWEST = (5, 0), (7, 5)
FOR_OLD_CARDS = (
    "pip install 'torch<2.15' torchvision --index-url https://download.pytorch.org/whl/cu126 "
    "(in a clone: make setup TORCH_BACKEND=cu126)"
)


def without_kernels(model: str, capability: str | None, built_for: Sequence[str]) -> tuple[str, str] | None:
    """Returns that torch has no code for a GPU, and the command that mends it; None where it has or nobody can tell.

    Args:
        model: of the GPU.
        capability: its compute capability, e.g. "6.1"; None where it is not known.
        built_for: as `torch.cuda.get_arch_list` gives it; empty where it is not known.
    """
    if capability is None or not built_for or runs_on(capability, built_for):
        return None
    card = f"{model} (compute capability {capability})"
    version = _version(capability)
    if version < OLDEST_OF_ANY:
        return f"{card} is too old: torch 2.10 and newer need 5.0 at least", f"another GPU, {USE_CPU}"
    mend = FOR_OLD_CARDS if version < OLDEST_OF_NEWEST else "install a newer torch"
    return f"torch has no kernels for {card}, only for {', '.join(built_for)}", f"{mend}, {USE_CPU}"


def runs_on(capability: str, built_for: Sequence[str]) -> bool:
    """Tells whether a GPU runs what torch was compiled for.

    Machine code (`sm_80`) runs within its major version on the same or a newer minor one, PTX (`compute_80`) on all
    newer ones: CUDA C++ programming guide, "application compatibility". Code for one architecture alone (`sm_90a`)
    runs on no other.
    """
    version = _version(capability)
    for name in built_for:
        if not (match := re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)):
            continue
        own = int(match[2]), int(match[3])
        newer = own <= version and (match[1] == "compute" or own[0] == version[0])
        if own == version or (newer and not match[4]):
            return True
    return False


def _version(capability: str) -> tuple[int, ...]:
    return tuple(map(int, capability.split(".")))
