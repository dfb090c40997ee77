"""Whether the GPUs here can be trained on, and who else uses them: one wording for doctor, runs and calibration."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.counted import counted
from harness.errors import MachineError
from harness.measure.architectures import FOR_OLD_CARDS, USE_CPU, without_kernels
from harness.measure.finding import Finding
from harness.measure.system.gpus import NoNvml, several_models, visible_gpus

# The oldest driver for each major version of CUDA, by "minor version compatibility":
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
OLDEST_DRIVERS = {13: (580,), 12: (525,), 11: (450, 80, 2)}
LEAST_FREE_BYTES = 2**29  # a CUDA context and the workspaces of cuBLAS and cuDNN alone want about as much
NVIDIA_SMI = "nvidia-smi shows by whom; wait, or choose another with CUDA_VISIBLE_DEVICES"


def has_usable_gpu(torch: Mapping[str, Any]) -> bool:
    """Tells whether there is a GPU to train on.

    Args:
        torch: as `harness.measure.torch_probe.probe` gives it.

    Raises:
        MachineError: there is one that cannot be; the CPU in its stead would be another system's run.
    """
    _told(check_gpus(*ask_nvml(), torch, torch["cuda"]))
    return bool(torch["gpus"])


def before_training() -> list[str]:
    """Returns what to know before the first run: that there is no GPU, or that others use it.

    To be asked before a process of the suite is on the GPU.

    Raises:
        MachineError: a GPU is full.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":  # the CPU is asked for
        return []
    gpus, no_nvml = ask_nvml()
    return _told(check_use(gpus) if gpus else [_no_gpu(no_nvml, {})])


def ask_nvml() -> tuple[list[dict[str, Any]], str]:
    """Returns the GPUs as `visible_gpus` does, and why NVML cannot be asked; empty where it can."""
    try:
        return visible_gpus(), ""
    except NoNvml as error:
        return [], str(error)


def check_gpus(
    gpus: Sequence[dict[str, Any]], no_nvml: str, torch: Mapping[str, Any], cuda: str | None
) -> list[Finding]:
    """Returns the verdicts on GPUs, their driver, and the torch that shall use them.

    Args:
        gpus, no_nvml: see `ask_nvml`.
        torch: as `harness.measure.torch_probe` gives it; `problem` where it did not get so far.
        cuda: that torch was built for.
    """
    if not gpus:
        return [_no_gpu(no_nvml, torch)]
    found = [*_models(gpus), *_driver(gpus[0]["driver"], cuda)]
    if found[-1].verdict != "stop":  # or torch would say the same in other words
        found += _torch_uses_them(gpus, torch, cuda)
    return [*found, *_architectures(gpus, torch), *_settings(gpus)]


def check_use(gpus: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    """Yields verdicts on what others do on the GPUs."""
    for index, gpu in enumerate(gpus):
        free, total, others = gpu["free_bytes"], gpu["memory_bytes"], len(gpu["process_ids"] or ())
        room = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB are free"
        if free < LEAST_FREE_BYTES:
            yield Finding(f"GPU {index}", "stop", f"GPU {index} is full: {room}", NVIDIA_SMI)
        elif others:
            who = counted(others, "other process", "other processes")
            says = f"GPU {index} is used by {who}, and {room}: times would be of both"
            yield Finding(f"GPU {index}", "warning", says, NVIDIA_SMI)


def _told(findings: Iterable[Finding]) -> list[str]:
    """Returns what is to be said of findings.

    Raises:
        MachineError: one of them stops a run.
    """
    told = []
    for finding in findings:
        if finding.verdict == "stop":
            raise MachineError(finding.says, finding.hint)
        told.append(f"{finding.says}; {finding.hint}")
    return told


def _no_gpu(no_nvml: str, torch: Mapping[str, Any]) -> Finding:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    reason = no_nvml or ("NVML lists none" if chosen is None else f"CUDA_VISIBLE_DEVICES={chosen!r} names none")
    if torch.get("gpus"):
        says = f"torch sees {counted(torch['gpus'], 'GPU')}, and NVML cannot say of which kind: {reason}"
        return Finding("NVML", "stop", says, f"nvidia-smi tells what is wrong, pip install nvidia-ml-py, {USE_CPU}")
    if "not installed" in reason:
        return Finding("NVML", "warning", f"{reason}: a GPU would not be found", "pip install nvidia-ml-py")
    says = f"no GPU: suites train on the CPU ({reason})"
    if chosen and not no_nvml:
        return Finding("GPU", "warning", says, "nvidia-smi -L lists those that are here")
    return Finding("GPU", "ok", says, "nvidia-smi tells whether a driver works")


def _models(gpus: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    if problem := several_models(gpus):
        yield Finding("GPU", "stop", *problem)
    else:
        yield Finding("GPU", "ok", f"{len(gpus)}x {gpus[0]['model']}")


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
        yield Finding("driver", "stop", f"driver {driver} is too old for torch's CUDA {cuda}", hint)
    else:
        yield Finding("driver", "ok", f"{driver}; torch's CUDA {cuda} needs {needed} or newer")


def _torch_uses_them(gpus: Sequence[dict[str, Any]], torch: Mapping[str, Any], cuda: str | None) -> Iterator[Finding]:
    if "problem" in torch:
        return  # said elsewhere
    if cuda is None:
        hint = "install torch for CUDA, see pytorch.org/get-started, " + USE_CPU
        yield Finding("CUDA", "stop", "torch is built without CUDA, and there is a GPU", hint)
    elif not torch["gpus"]:
        why = f": {torch['warning']}" if torch.get("warning") else ""
        hint = "nvidia-smi tells whether the driver works, " + USE_CPU
        yield Finding("CUDA", "stop", f"torch cannot use the GPU{why}", hint)
    elif torch["gpus"] < len(gpus):
        message = f"torch sees {torch['gpus']} of {counted(len(gpus), 'GPU')}"
        yield Finding("CUDA", "warning", message, "see CUDA_VISIBLE_DEVICES, and `nvidia-smi -L` for MIG")


def _architectures(gpus: Sequence[dict[str, Any]], torch: Mapping[str, Any]) -> Iterator[Finding]:
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
