"""One GPU as NVML sees it: a thin source of readings over `pynvml` (nvidia-ml-py).

NVML's functions and what they mean: https://docs.nvidia.com/deploy/nvml-api. All readings raise `NVMLError` where the
driver cannot give them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from types import ModuleType
from typing import Any

import torch

NO_CUDA = "no CUDA device"
WHOLE_GPU = "a MIG instance: NVML counts the whole GPU, which others may share"
# Bits of nvmlDeviceGetCurrentClocksEventReasons that say the clock is held down. Left out: idle, and clocks that were
# set by hand (applications, display).
THROTTLES = {
    0x004: "power limit",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "thermal limit",
    0x040: "hardware thermal slowdown",
    0x080: "power brake",
    0x200: "board limit",
    0x400: "reliability limit",
}


class Unavailable(Exception):
    """Something cannot be measured; the message is the reason, as a record gives it."""


class Gpu:
    """The GPU of a device.

    Args:
        device: of this rank.

    Raises:
        Unavailable: there is none, or NVML does not know it.

    Attributes:
        uuid: its name for all processes; of a MIG instance, the instance's.
        energy_from: "counter" where the driver counts energy (Volta and newer), otherwise "power": integrated over time
            between the readings of power.
        unknown: why a quantity cannot be read, by its name in `harness.measure.readings`.
    """

    def __init__(self, device: torch.device) -> None:
        uuid = cuda_uuid(device)
        if uuid is None:
            raise Unavailable(NO_CUDA)
        try:
            import pynvml
        except ImportError as error:
            raise Unavailable("nvidia-ml-py is not installed") from error
        self._nvml: Any = pynvml  # its errors are made when it is imported
        self._integral = _Integral()
        self.energy_from = "counter"
        self.unknown: dict[str, str] = {}
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise Unavailable(f"NVML: {error}") from error
        try:
            self.uuid, self._handle, is_instance = _find(pynvml, uuid)
            if is_instance:
                self.unknown = dict.fromkeys((*self.gauges(), "gpu_joules", "gpu_throttles"), WHOLE_GPU)
                del self.unknown["device_bytes"]
            else:
                self._choose_energy_source()
        except pynvml.NVMLError as error:
            self.close()
            raise Unavailable(f"NVML: {error}") from error
        except Unavailable:
            self.close()
            raise

    def gauges(self) -> dict[str, Any]:
        """Returns what reads each quantity of which a mean or a peak is taken: () -> float."""
        return {
            "gpu_utilization": self.utilization,
            "gpu_power_watts": self.power_watts,
            "gpu_sm_clock_hertz": self.sm_clock_hertz,
            "gpu_memory_clock_hertz": self.memory_clock_hertz,
            "gpu_temperature_celsius": self.temperature_celsius,
            "device_bytes": self.device_bytes,
        }

    def joules(self) -> float:
        """Returns a count of energy that only differences have a meaning of."""
        if self.energy_from == "counter":
            return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3
        self.power_watts()
        return self._integral.joules

    def power_watts(self) -> float:
        """Returns the power of the board; from Ampere on (but for GA100) the mean of the last second."""
        watts = self._nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3
        self._integral.add(time.perf_counter(), watts)
        return watts

    def utilization(self) -> float:
        """Returns the share of the last sixth of a second, or second, in which a kernel ran."""
        return self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100

    def sm_clock_hertz(self) -> float:
        """Returns the clock of the multiprocessors."""
        return self._nvml.nvmlDeviceGetClockInfo(self._handle, self._nvml.NVML_CLOCK_SM) * 1e6

    def memory_clock_hertz(self) -> float:
        """Returns the clock of the memory."""
        return self._nvml.nvmlDeviceGetClockInfo(self._handle, self._nvml.NVML_CLOCK_MEM) * 1e6

    def temperature_celsius(self) -> float:
        """Returns the temperature of the chip."""
        return self._nvml.nvmlDeviceGetTemperature(self._handle, self._nvml.NVML_TEMPERATURE_GPU)

    def device_bytes(self) -> float:
        """Returns the memory in use by all processes and the driver."""
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)

    def throttles(self) -> list[str]:
        """Returns what holds the clocks down now."""
        try:
            bits = self._nvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle)
        except self._nvml.NVMLError_FunctionNotFound:  # drivers before 535 know it by its old name
            bits = self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle)
        return [reason for bit, reason in THROTTLES.items() if bits & bit]

    def processes(self) -> dict[int, int | None]:
        """Returns the bytes of each process that computes on the GPU, by its pid; None where NVML does not tell."""
        found = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        return {process.pid: process.usedGpuMemory for process in found}

    def close(self) -> None:
        """Lets go of NVML."""
        with contextlib.suppress(self._nvml.NVMLError):  # it may have been lost before
            self._nvml.nvmlShutdown()

    def _choose_energy_source(self) -> None:
        try:
            self.joules()
        except self._nvml.NVMLError_NotSupported:
            self.energy_from = "power"
        except self._nvml.NVMLError:
            pass  # the first part of training finds it out, too, and says so


class _Integral:
    """Energy as the integral of power, by the trapezoidal rule; two threads add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[float, float] | None = None
        self.joules = 0.0

    def add(self, moment: float, watts: float) -> None:
        with self._lock:
            if self._last:
                before, power = self._last
                self.joules += max(moment - before, 0.0) * (power + watts) / 2
            self._last = moment, watts


def cuda_uuid(device: torch.device) -> str | None:
    """Returns the UUID of a CUDA device as CUDA gives it, without a prefix; None for other devices."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None


def _find(nvml: ModuleType, uuid: str) -> tuple[str, Any, bool]:
    """Returns the name and NVML's handle of a device, and whether it is a MIG instance."""
    # Of a MIG instance CUDA gives its own UUID or, before R470, that of the GPU. CUDA sees one instance at the most.
    first_visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    for name in (f"GPU-{uuid}", f"MIG-{uuid}"):
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(name)
        except (nvml.NVMLError_NotFound, nvml.NVMLError_InvalidArgument):
            continue
        if name.startswith("MIG-"):
            return name, handle, True
        if not _is_divided(nvml, handle):
            return name, handle, False
        if first_visible.startswith("MIG-"):
            return first_visible, nvml.nvmlDeviceGetHandleByUUID(first_visible), True
        raise Unavailable("a MIG instance that NVML cannot find: name it in CUDA_VISIBLE_DEVICES")
    raise Unavailable(f"NVML knows no GPU {uuid}")


def _is_divided(nvml: ModuleType, handle: Any) -> bool:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # no GPU that can be
        return False
    return current == nvml.NVML_DEVICE_MIG_ENABLE
