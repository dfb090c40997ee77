"""Measures this system and writes what it can do where `harness report` finds it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, parse_flag_from_env

from harness.errors import HarnessError
from harness.measure.calibration.all_reduce import measure_all_reduce
from harness.measure.calibration.rounds import measure
from harness.measure.calibration.workloads import CPU_SIZES, CUDA_SIZES, NAMES, Sizes, workloads
from harness.measure.memory import keep_freed_memory
from harness.measure.surroundings import Surroundings
from harness.measure.system import describe_system
from harness.measure.torch_probe import probe
from harness.measure.usable_gpus import has_usable_gpu
from harness.records.calibration import Calibration, Rate, calibration_path, read_calibration, write_calibration
from harness.records.files import require_writable
from harness.records.store import now

LEAST_ROUNDS = 7
ALL_REDUCE = "all_reduce"
ONE_PROCESS = "measured by several: accelerate launch --num_processes N -m harness calibrate"


def calibrate(
    root: Path, seconds: float, *, sizes: Sizes | None = None, least_rounds: int = LEAST_ROUNDS
) -> tuple[Calibration, Path] | None:
    """Measures and writes; in a launch of several processes every rank calls it.

    One process measures all but the all-reduce, and keeps what launches of several have measured of that. Several
    measure the all-reduce alone, and add it: they would share what else is to be measured.

    Args:
        root: of the results.
        seconds: that the rounds should take.
        sizes: of the operations; None for those that fit the device.
        least_rounds: that are made however long they take.

    Returns:
        What was written and where; None on ranks other than 0.

    Raises:
        HarnessError: on rank 0: the folder cannot be written, or several processes were started and the system was
            not calibrated by one; the other ranks leave.
    """
    keep_freed_memory()  # as runs do
    use_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not has_usable_gpu(probe())
    accelerator = Accelerator(cpu=use_cpu, mixed_precision="no")
    device, processes = accelerator.device, accelerator.num_processes
    system = describe_system(use_cpu=device.type == "cpu", with_source=accelerator.is_main_process)
    try:
        earlier = _earlier_calibration(accelerator, root, system["system_id"])
        began = time.perf_counter()
        if processes == 1:
            found = _measure_alone(system, device, seconds, sizes, least_rounds)
            found.seconds = time.perf_counter() - began
            _keep_all_reduce(found, earlier)
        else:
            rate = measure_all_reduce(accelerator, seconds, least_rounds)
            assert earlier
            found = earlier
            found.rates[f"{ALL_REDUCE}.{processes}"] = rate
            found.unavailable.pop(ALL_REDUCE, None)
        return (found, write_calibration(root, found, system)) if accelerator.is_main_process else None
    finally:
        if torch.distributed.is_initialized():
            accelerator.wait_for_everyone()
            torch.distributed.destroy_process_group()


def _measure_alone(
    system: dict[str, Any], device: torch.device, seconds: float, sizes: Sizes | None, least_rounds: int
) -> Calibration:
    is_cuda = device.type == "cuda"
    chosen, reasons = workloads(device, sizes or (CUDA_SIZES if is_cuda else CPU_SIZES))
    surroundings = Surroundings({os.getpid()})
    rates: dict[str, Rate | None] = {**dict.fromkeys(NAMES), **measure(chosen, device, seconds, least_rounds)}
    return Calibration(
        system_id=system["system_id"],
        system=system["name"],
        measured_at=now(),
        device="cuda" if is_cuda else "cpu",
        threads=torch.get_num_threads(),
        neighbours_cpus=surroundings.busy_cores(),
        seconds=0.0,
        rates=rates,
        unavailable={**reasons, ALL_REDUCE: ONE_PROCESS},
    )


def _keep_all_reduce(found: Calibration, earlier: Calibration | None) -> None:
    for name, rate in earlier.rates.items() if earlier else ():
        if rate and name.startswith(f"{ALL_REDUCE}."):
            found.rates[name] = rate
            found.unavailable.pop(ALL_REDUCE, None)


def _earlier_calibration(accelerator: Accelerator, root: Path, system_id: str) -> Calibration | None:
    """Looks at the disk, on rank 0; every rank goes on, or leaves, together."""
    found: Calibration | None = None
    problem: HarnessError | None = None
    if accelerator.is_main_process:
        try:
            found = _read_earlier(root, system_id, accelerator.num_processes)
        except HarnessError as error:
            problem = error
    found, refused = broadcast_object_list([found, problem is not None])
    if problem:
        raise problem
    if refused:
        raise SystemExit(2)
    return found


def _read_earlier(root: Path, system_id: str, processes: int) -> Calibration | None:
    path = calibration_path(root, system_id)
    require_writable(path.parent)
    try:
        earlier = read_calibration(path)
    except (OSError, ValueError):
        earlier = None  # of no use, and replaced
    if processes > 1 and earlier is None:
        message = f"{processes} processes measure the all-reduce alone, and this system was not calibrated before"
        raise HarnessError(message, "first run `harness calibrate` in one process, with the same --output")
    return earlier
