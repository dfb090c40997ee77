"""The operations that are measured, each with the work that it does."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from harness.compiled import allow_tf32

EMULATED = "the processor emulates bf16"
NO_GPU = "no CUDA device"


@dataclass(frozen=True)
class Workload:
    """One operation.

    Attributes:
        name: as in the record.
        work: floating-point operations, or bytes, of one call.
        precision: that its products are in; "tf32" is a switch around fp32.
    """

    name: str
    unit: Literal["FLOP/s", "bytes/s"]
    work: float
    call: Callable[[], Any]
    precision: str = "fp32"

    def begin(self) -> None:
        """Sets the process-wide switches as a run of this precision does."""
        allow_tf32(self.precision == "tf32")
        torch.backends.cudnn.benchmark = True


class Sizes(NamedTuple):
    """How large the operations are: small ones are over before a large GPU is busy, large ones take a CPU seconds."""

    matrix: int
    images: int
    copied_bytes: int


CPU_SIZES, CUDA_SIZES = Sizes(1024, 64, 2**27), Sizes(4096, 256, 2**28)


class Convolution(NamedTuple):
    """A layer of one of the architectures, on images of CIFAR's size: square kernels and images."""

    name: str
    in_channels: int
    out_channels: int
    kernel: int
    side: int
    padding: int
    is_first: bool = False

    def work(self, images: int) -> float:
        """Returns the operations of a forward and a backward pass; the first layer needs no gradient of the images."""
        side = self.side + 2 * self.padding - self.kernel + 1
        forward = 2.0 * images * self.out_channels * side**2 * self.in_channels * self.kernel**2
        return forward * (2 if self.is_first else 3)


CONVOLUTIONS = (
    Convolution("conv_resnet18_stem", 3, 64, 3, 32, 1, is_first=True),
    Convolution("conv_resnet18", 64, 64, 3, 32, 1),  # of the first stage
    Convolution("conv_cnn3", 24, 48, 3, 14, 0),  # the second
    Convolution("conv_vgg", 256, 256, 3, 8, 1),  # of the third block of vgg11
)
PRODUCTS = ("matmul", *(layer.name for layer in CONVOLUTIONS))
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
# All that a calibration may hold, but for the all-reduces; what was not measured is null.
NAMES = (
    *(f"{product}.{precision}" for precision in PRECISIONS for product in PRODUCTS),
    "memory_copy",
    "host_to_device.pinned",
    "host_to_device.pageable",
)


def precisions(device: torch.device) -> tuple[list[str], dict[str, str]]:
    """Returns the precisions that the device has in hardware, and why it has not the others."""
    if device.type != "cuda":
        reasons = {"tf32": NO_GPU, "fp16": "train.mixed_precision fp16 needs a GPU"}
        return (["fp32", "bf16"], reasons) if cpu_has_bf16() else (["fp32"], {**reasons, "bf16": EMULATED})
    capability = torch.cuda.get_device_capability(device)
    has = {
        "fp32": True,
        "tf32": capability >= (8, 0),
        "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
        "fp16": capability >= (5, 3),
    }
    return [name for name in has if has[name]], {name: "the GPU has no units for it" for name in has if not has[name]}


def cpu_has_bf16(proc: Path = Path("/proc")) -> bool:
    """Tells whether the processor multiplies bfloat16: without, a product takes far longer than in fp32."""
    try:
        text = (proc / "cpuinfo").read_text()
    except OSError:
        return False
    return re.search(r"^(flags|Features)\s*:.*\b(avx512_bf16|amx_bf16|bf16)\b", text, re.MULTILINE) is not None


def workloads(device: torch.device, sizes: Sizes) -> tuple[list[Workload], dict[str, str]]:
    """Returns what is measured on a device, and why the rest is not: by precision, or by the first part of a name."""
    found: list[Workload] = []
    own, missing = precisions(device)
    reasons = dict(missing)
    for precision in own:
        found.append(_matmul(device, sizes.matrix, precision))
        found += [_convolution(layer, device, sizes.images, precision) for layer in CONVOLUTIONS]
    found.append(_copy_within(device, sizes.copied_bytes))
    if device.type == "cuda":
        found += _copies_from_host(device, sizes.copied_bytes)
    else:
        reasons["host_to_device"] = NO_GPU
    return found, reasons


def _matmul(device: torch.device, side: int, precision: str) -> Workload:
    a, b = (torch.randn(side, side, device=device).to(_dtype(precision)) for _ in range(2))
    return Workload(f"matmul.{precision}", "FLOP/s", 2.0 * side**3, lambda: a @ b, precision)


def _convolution(layer: Convolution, device: torch.device, images: int, precision: str) -> Workload:
    conv = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel, padding=layer.padding).to(device)
    batch = torch.randn(images, layer.in_channels, layer.side, layer.side, device=device)
    batch.requires_grad_(not layer.is_first)
    with _autocast(device, precision):
        slope = torch.ones_like(conv(batch))

    def forward_and_backward() -> None:
        conv.weight.grad = batch.grad = None
        with _autocast(device, precision):
            output: Tensor = conv(batch)
        output.backward(slope)

    return Workload(f"{layer.name}.{precision}", "FLOP/s", layer.work(images), forward_and_backward, precision)


def _copy_within(device: torch.device, size: int) -> Workload:
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    # Each byte is read and written.
    return Workload("memory_copy", "bytes/s", 2.0 * size, lambda: target.copy_(source))


def _copies_from_host(device: torch.device, size: int) -> Iterator[Workload]:
    target = torch.zeros(size, dtype=torch.uint8, device=device)
    pageable = torch.ones(size, dtype=torch.uint8)
    pinned = pageable.pin_memory()
    for name, source in (("pinned", pinned), ("pageable", pageable)):
        call = _copying(target, source)
        yield Workload(f"host_to_device.{name}", "bytes/s", float(size), call)


def _copying(target: Tensor, source: Tensor) -> Callable[[], Any]:
    return lambda: target.copy_(source, non_blocking=True)


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    if precision in ("fp32", "tf32"):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_dtype(precision))


def _dtype(precision: str) -> torch.dtype:
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
