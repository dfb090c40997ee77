"""Mixed precision and the other numerical switches, decided by what the hardware can do."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import nn

from harness.compiled import allow_tf32
from harness.errors import MachineError
from harness.spec import TrainSection

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "bf16-true": torch.bfloat16}
# Half-precision convolutions of the GTX 16 series give NaN with some cuDNN versions (pytorch#58123).
NO_FP16 = ("GTX 16",)


def resolve_mixed_precision(asked: str, device: torch.device) -> str:
    """Returns `no`, `fp16`, `bf16` or `bf16-true`.

    `auto` is bf16 where the GPU has it in hardware, else fp16 where tensor cores make it pay, else none.

    Raises:
        HarnessError: it was asked for by name and the device would have to emulate it.
    """
    if device.type != "cuda":
        if asked == "fp16":
            raise MachineError("train.mixed_precision fp16 needs a GPU", "use bf16, no or auto on a CPU")
        return "no" if asked == "auto" else asked
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if asked in ("bf16", "bf16-true") and not has_bf16:
        name = torch.cuda.get_device_name(device)
        raise MachineError(f"train.mixed_precision {asked}: {name} has no bfloat16 units", "use fp16, no or auto")
    if asked != "auto":
        return asked
    if has_bf16:
        return "bf16"
    pays = torch.cuda.get_device_capability(device) >= (7, 0)
    return "fp16" if pays and not any(name in torch.cuda.get_device_name(device) for name in NO_FP16) else "no"


def require_launched_precision(trains: Iterable[TrainSection], device: torch.device) -> None:
    """Refuses a precision that Accelerate's launcher asks for: one error, where else each run would fail.

    Raises:
        HarnessError: runs take it, and the device does not have it.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if any(train.mixed_precision == asked for train in trains):
        resolve_mixed_precision(asked, device)


def image_dtype(mixed_precision: str, device: torch.device) -> torch.dtype:
    """Returns the type in which a loader yields images.

    On a GPU it is what autocast would make of them in the first layer; on a CPU float32, in which they are made.
    """
    return DTYPES.get(mixed_precision, torch.float32) if device.type == "cuda" else torch.float32


def round_weights(network: nn.Module, mixed_precision: str) -> nn.Module:
    """Returns the network with its weights in bfloat16 for `bf16-true`, else as it is.

    Batch norm keeps float32: its running statistics move by less than bfloat16 tells apart.
    """
    if mixed_precision != "bf16-true":
        return network
    network = network.bfloat16()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.float()
    return network


def autocast(mixed_precision: str, device: torch.device) -> AbstractContextManager:
    """Returns a context that can be entered for every step, for `no` one that does nothing."""
    if mixed_precision == "no":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[mixed_precision])


def apply_switches(train: TrainSection) -> None:
    """Sets the process-wide switches as a run asks for; the next run of the process sets them anew."""
    allow_tf32(train.tf32)
    if train.compile:
        torch.use_deterministic_algorithms(train.deterministic)  # tells torch's compiler too, and imports it for that
    else:
        torch.set_deterministic_debug_mode("error" if train.deterministic else "default")
    torch.backends.cudnn.deterministic = train.deterministic
    torch.backends.cudnn.benchmark = not train.deterministic
