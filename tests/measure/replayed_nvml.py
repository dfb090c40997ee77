"""A fake of the module `pynvml` that replays a recording of one GPU, and recordings that were written by hand.

The numbers are of the size that an A100 of 400 W shows under a small network. The recording advances by a row whenever
the utilisation, which a sample reads first, is asked for; its last row lasts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml as real
import pytest

from harness.measure import nvml, telemetry

UUID = "7f3c2a10-9a55-4d1e-8a33-0c1de5d1f001"
OWN = -1  # stands for the process that asks
MIB = 2**20
IDLE, POWER_CAP, HW_SLOWDOWN, SW_THERMAL, HW_THERMAL, USER_CLOCKS = 0x1, 0x4, 0x8, 0x20, 0x40, 0x2


@dataclass(frozen=True)
class Reading:
    """One row of a recording: percent, milliwatts, MHz, degrees, bits, MiB; `processes` are (pid, MiB or None)."""

    utilization: int = 97
    power: int = 300_000
    sm_clock: int = 1410
    memory_clock: int = 1215
    temperature: int = 60
    reasons: int = 0
    used: int = 3000
    processes: tuple[tuple[int, int | None], ...] = ((OWN, 2500),)


@dataclass(frozen=True)
class Recording:
    """What a GPU says during a run.

    Attributes:
        rows: of its samples.
        energy: of the counter in millijoules, in the order in which it is read: once when it is opened, then where each
            part of training begins and ends.
        refused: error codes of functions that never work.
        lost_after: samples after which nothing works any more.
        migs: names of its MIG instances, where it is divided.
    """

    rows: tuple[Reading, ...]
    energy: tuple[int, ...] = (5_000_000, 5_001_000, 5_181_000, 5_201_000, 5_391_000)
    refused: dict[str, int] = field(default_factory=dict)
    lost_after: int | None = None
    migs: tuple[str, ...] = ()


def rows(**columns: tuple[Any, ...]) -> tuple[Reading, ...]:
    """Returns rows from columns."""
    return tuple(Reading(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True))


NORMAL = Recording(
    rows(
        utilization=(41, 97, 99, 98, 97, 96),
        power=(92_000, 288_400, 311_200, 312_900, 309_700, 310_100),
        sm_clock=(1095, 1410, 1410, 1410, 1410, 1410),
        temperature=(38, 47, 52, 55, 57, 58),
        reasons=(IDLE, 0, 0, 0, 0, USER_CLOCKS),
        used=(2611, 2987, 3011, 3011, 3011, 2987),
        processes=(((OWN, 2100),), *(((OWN, 2476),),) * 2, ((OWN, 2500),), *(((OWN, 2476),),) * 2),
    )
)
THROTTLING = Recording(
    rows(
        power=(398_000, 401_300, 399_100, 251_000),
        sm_clock=(1410, 1245, 1230, 795),
        temperature=(71, 84, 90, 93),
        reasons=(0, POWER_CAP, POWER_CAP, HW_SLOWDOWN | HW_THERMAL | SW_THERMAL),
    )
)
STRANGER = (999_999_991, 18_529)
SHARED = Recording(
    rows(
        used=(3011, 21_540, 21_540, 3011),
        processes=(((OWN, 2500),), ((OWN, 2500), STRANGER), (STRANGER, (OWN, 2500)), ((OWN, 2500),)),
    )
)
NO_COUNTER = Recording(
    (Reading(power=120_000),), refused={"nvmlDeviceGetTotalEnergyConsumption": real.NVML_ERROR_NOT_SUPPORTED}
)
FORBIDDEN = Recording(
    NORMAL.rows,
    refused={
        "nvmlDeviceGetCurrentClocksEventReasons": real.NVML_ERROR_NO_PERMISSION,
        "nvmlDeviceGetComputeRunningProcesses": real.NVML_ERROR_NO_PERMISSION,
    },
)
OLD_DRIVER = Recording(
    THROTTLING.rows, refused={"nvmlDeviceGetCurrentClocksEventReasons": real.NVML_ERROR_FUNCTION_NOT_FOUND}
)
LOST = Recording(NORMAL.rows, lost_after=3)
MIG = Recording(NORMAL.rows, migs=("MIG-11111111-2222-3333-4444-555555555555",))
CONTAINER = Recording((Reading(processes=((4_194_001, 2500),)),))
NOT_LISTED = Recording((Reading(processes=()),))


class ReplayedNvml:
    """The part of `pynvml` that the harness uses.

    Attributes:
        samples: that were begun.
        calls: names of the functions that were called.
        opened: `nvmlInit` less `nvmlShutdown`.
    """

    def __init__(self, recording: Recording, uuid: str = UUID) -> None:
        self._recording, self._uuid = recording, uuid
        self._energy: Iterator[int] = iter(recording.energy)
        self.samples = 0
        self.calls: list[str] = []
        self.opened = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("NVML"):  # errors and constants
            return getattr(real, name)
        raise AttributeError(name)

    def nvmlInit(self) -> None:
        self._called("nvmlInit")
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1
        self._called("nvmlShutdown")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self._called("nvmlDeviceGetHandleByUUID")
        if uuid not in (f"GPU-{self._uuid}", *self._recording.migs):
            raise real.NVMLError(real.NVML_ERROR_NOT_FOUND)
        return uuid

    def nvmlDeviceGetMigMode(self, device: str) -> list[int]:
        self._called("nvmlDeviceGetMigMode")
        return [int(bool(self._recording.migs))] * 2

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        self.samples += 1
        self._called("nvmlDeviceGetUtilizationRates", handle)
        return SimpleNamespace(gpu=self._row.utilization, memory=self._row.utilization // 2)

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        self._called("nvmlDeviceGetPowerUsage", handle)
        return self._row.power

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        self._called("nvmlDeviceGetTotalEnergyConsumption", handle)
        return next(self._energy)  # one reading too many is an error

    def nvmlDeviceGetClockInfo(self, handle: str, type: int) -> int:
        self._called("nvmlDeviceGetClockInfo", handle)
        return {real.NVML_CLOCK_SM: self._row.sm_clock, real.NVML_CLOCK_MEM: self._row.memory_clock}[type]

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        self._called("nvmlDeviceGetTemperature", handle)
        assert sensor == real.NVML_TEMPERATURE_GPU
        return self._row.temperature

    def nvmlDeviceGetMemoryInfo(self, handle: str, version: int | None = None) -> Any:
        self._called("nvmlDeviceGetMemoryInfo")
        return SimpleNamespace(used=self._row.used * MIB, total=40_960 * MIB)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:
        self._called("nvmlDeviceGetCurrentClocksEventReasons", handle)
        return self._row.reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        self._called("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        return self._row.reasons

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        self._called("nvmlDeviceGetComputeRunningProcesses")
        return [
            SimpleNamespace(pid=os.getpid() if pid == OWN else pid, usedGpuMemory=None if mib is None else mib * MIB)
            for pid, mib in self._row.processes
        ]

    @property
    def is_lost(self) -> bool:
        """Whether nothing works any more."""
        return self._recording.lost_after is not None and self.samples > self._recording.lost_after

    @property
    def _row(self) -> Reading:
        return self._recording.rows[min(max(self.samples, 1), len(self._recording.rows)) - 1]

    def _called(self, name: str, whole_gpu: str = "") -> None:
        self.calls.append(name)
        code = real.NVML_ERROR_GPU_IS_LOST if self.is_lost else self._recording.refused.get(name)
        if whole_gpu.startswith("MIG-"):
            code = real.NVML_ERROR_NOT_SUPPORTED
        if code is not None:
            raise real.NVMLError(code)


def install(
    recording: Recording, patch: pytest.MonkeyPatch, uuid: str = UUID, period_seconds: float = 0.01
) -> ReplayedNvml:
    """Lets this process take its device, be it the CPU, for a GPU that says what was recorded."""
    fake = ReplayedNvml(recording, uuid)
    patch.setitem(sys.modules, "pynvml", fake)  # type: ignore[arg-type]
    patch.setattr(nvml, "cuda_uuid", lambda device: uuid)
    patch.setattr(telemetry, "PERIOD_SECONDS", period_seconds)
    return fake
