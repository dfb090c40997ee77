"""Telemetry over all ranks: who samples what, and what they saw together."""

from __future__ import annotations

import os
import platform
from functools import reduce
from operator import add

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from harness.measure.host import Host, Rapl
from harness.measure.nvml import Gpu, Unavailable
from harness.measure.readings import Readings
from harness.measure.telemetry import GPU_QUANTITIES, Sampler


def open_telemetry_sampler(accelerator: Accelerator, launch: int | None = None) -> Sampler:
    """Returns this rank's sampler; every rank calls it. The first rank of a machine samples the host, too.

    Args:
        accelerator: the process group and device.
        launch: the process on this machine that started the ranks; None where there is none.
    """
    gpu: Gpu | None = None
    unknown: dict[str, str] = {}
    try:
        gpu = Gpu(accelerator.device)
    except Unavailable as reason:
        unknown |= dict.fromkeys(GPU_QUANTITIES, str(reason))
    own = (platform.node(), os.getpid(), gpu.uuid if gpu else None)
    ranks: list[tuple[str, int, str | None]] = gather_object([own])
    our_pids = {pid for node, pid, _ in ranks if node == own[0]}
    # Ranks that share a GPU, as tests have it, would count its energy twice.
    is_first = [uuid for _, _, uuid in ranks].index(own[2]) == accelerator.process_index
    host = None
    if accelerator.is_local_main_process:
        rapl, reason = _rapl()
        host = Host(our_pids, rapl, launch)
        unknown |= {"host_joules": reason} if reason else {}
    return Sampler(gpu, host, unknown, our_pids, counts_energy=gpu is None or is_first)


def over_ranks(accelerator: Accelerator, own: Readings) -> Readings:
    """Returns the readings of all ranks together, on every rank."""
    return reduce(add, gather_object([own])) if accelerator.num_processes > 1 else own


def sum_joules(accelerator: Accelerator, own: float | None) -> float | None:
    """Returns the energy of all ranks' GPUs; None where that of one is not known."""
    joules = torch.tensor([torch.nan if own is None else own], dtype=torch.float64, device=accelerator.device)
    total = float(accelerator.gather(joules).sum())  # type: ignore[union-attr]
    return None if total != total else total


def _rapl() -> tuple[Rapl | None, str | None]:
    try:
        return Rapl(), None
    except LookupError as none:
        return None, str(none)
    except OSError as error:
        return None, f"the RAPL counter of the CPU cannot be read: {error.strerror}; since Linux 5.10 only root may"
