"""Verdicts on the GPUs, their driver, and whether the torch that is installed can use them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from harness.counted import counted
from harness.doctor.finding import Finding
from harness.measure.architectures import FOR_OLD_CARDS, USE_CPU, without_kernels

# The oldest driver for each major version of CUDA, by "minor version compatibility":
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
OLDEST_DRIVERS = {13: (580,), 12: (525,), 11: (450, 80, 2)}


def check_gpus(gpus: Sequence[dict[str, Any]], no_nvml: str, torch: dict[str, Any], cuda: str | None) -> list[Finding]:
    """Returns the verdicts.

    Args:
        gpus: as `harness.measure.system.gpus.visible_gpus` gives them.
        no_nvml: why NVML cannot be asked; empty where it can.
        torch: as `harness.measure.torch_probe` gives it; `problem` where it did not get so far.
        cuda: that torch was built for.
    """
    if no_nvml:
        return [_without_nvml(no_nvml, torch)]
    if not gpus:
        return [Finding("GPU", "ok", "CUDA would see none: suites train on the CPU")]
    return [
        *_models(gpus),
        *_driver(gpus[0]["driver"], cuda),
        *_torch_uses_them(gpus, torch, cuda),
        *_architectures(gpus, torch),
        *_settings(gpus),
    ]


def _without_nvml(reason: str, torch: dict[str, Any]) -> Finding:
    if torch.get("gpus"):
        names = ", ".join(dict.fromkeys(torch["gpus"]))
        message = f"torch sees {names}, and NVML cannot say what it is: {reason}"
        return Finding("NVML", "stop", message, "pip install nvidia-ml-py, " + USE_CPU)
    if "not installed" in reason:
        return Finding("NVML", "warning", f"{reason}: a GPU would not be found", "pip install nvidia-ml-py")
    return Finding("GPU", "ok", f"none: suites train on the CPU ({reason})")


def _models(gpus: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    models = list(dict.fromkeys(gpu["model"] for gpu in gpus))
    if len(models) > 1:
        hint = "choose those of one model with CUDA_VISIBLE_DEVICES"
        yield Finding("GPU", "stop", f"the visible GPUs differ: {', '.join(models)}", hint)
    else:
        yield Finding("GPU", "ok", f"{len(gpus)}x {models[0]}")


def _driver(driver: str, cuda: str | None) -> Iterator[Finding]:
    oldest = OLDEST_DRIVERS.get(int(cuda.partition(".")[0])) if cuda else None
    if oldest is None:
        return
    version = tuple(int(part) for part in re.findall(r"\d+", driver))
    needed = ".".join(f"{part:02}" for part in oldest)
    if version < oldest:
        hint = f"install driver {needed} or newer"
        if version >= OLDEST_DRIVERS[12]:
            hint += f", or a torch for CUDA 12: {FOR_OLD_CARDS}"
        yield Finding("driver", "stop", f"{driver} is too old for torch's CUDA {cuda}", hint)
    else:
        yield Finding("driver", "ok", f"{driver}; torch's CUDA {cuda} needs {needed} or newer")


def _torch_uses_them(gpus: Sequence[dict[str, Any]], torch: dict[str, Any], cuda: str | None) -> Iterator[Finding]:
    if "problem" in torch:
        return  # said elsewhere
    if cuda is None:
        hint = "install torch for CUDA, see pytorch.org/get-started, " + USE_CPU
        yield Finding("CUDA", "stop", "torch is built without CUDA, and there is a GPU", hint)
    elif not torch["gpus"]:
        why = f": {torch['warning']}" if torch.get("warning") else ""
        hint = "nvidia-smi tells whether the driver works, " + USE_CPU
        yield Finding("CUDA", "stop", f"torch cannot use the GPU{why}", hint)
    elif len(torch["gpus"]) < len(gpus):
        message = f"torch sees {len(torch['gpus'])} of {counted(len(gpus), 'GPU')}"
        yield Finding("CUDA", "warning", message, "see CUDA_VISIBLE_DEVICES, and `nvidia-smi -L` for MIG")


def _architectures(gpus: Sequence[dict[str, Any]], torch: dict[str, Any]) -> Iterator[Finding]:
    built_for = torch.get("architectures") or []
    for model, capability in dict.fromkeys((gpu["model"], gpu["compute_capability"]) for gpu in gpus):
        if problem := without_kernels(model, capability, built_for):
            yield Finding("torch", "stop", *problem)


def _settings(gpus: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    for index, gpu in enumerate(gpus):
        about = f"GPU {index}"
        if gpu["persistence_mode"] is False:
            message = "persistence mode is off: the driver starts anew for each process, and clocks with it"
            yield Finding(about, "warning", message, f"sudo nvidia-smi -i {index} -pm 1")
        if gpu["mig_mode"]:
            hint = "compare with runs on the same slice only: the other slices share its memory's bandwidth and power"
            yield Finding(about, "warning", f"MIG is on: {gpu['model']}", hint)
        power, default = gpu["power_limit_watts"], gpu["default_power_limit_watts"]
        if power and default and power < default:
            message = f"limited to {power:g} W of {default:g} W: slower, and system_id does not tell"
            yield Finding(
                about, "warning", message, f"sudo nvidia-smi -i {index} -pl {default:g}, or leave it for all runs"
            )
        if gpu["process_ids"]:
            count = len(gpu["process_ids"])
            message = f"used by {counted(count, 'other process', 'other processes')}: times would be of both"
            yield Finding(about, "warning", message, "nvidia-smi shows them; wait, or choose with CUDA_VISIBLE_DEVICES")
