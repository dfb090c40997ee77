"""Samples GPU and host during the train time, in a thread that neither steps nor synchronises with the device.

Gauges are read once a period, at any moment of the train time alike, so that their mean is that over the train time.
Counters are read where a part of training begins and ends, and what others did in between is not in them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeVar

from harness.measure.host import Host, belongs_to
from harness.measure.nvml import Gpu, Unavailable
from harness.measure.readings import Readings

PERIOD_SECONDS = 1.0
GPU_QUANTITIES = (
    "gpu_utilization",
    "gpu_power_watts",
    "gpu_sm_clock_hertz",
    "gpu_memory_clock_hertz",
    "gpu_temperature_celsius",
    "gpu_throttles",
    "gpu_processes",
    "gpu_joules",
    "device_bytes",
    "process_device_bytes",
)
OTHER_NUMBERS = (
    "NVML does not list this process among those on the GPU: it numbers them otherwise, as in a container with a pid "
    "namespace of its own, or may not list them"
)
Value = TypeVar("Value")


@dataclass
class Part:
    """A part of training that is timed in one go.

    Attributes:
        joules: of this rank's GPU; None where it cannot be known. There when the part is over.
    """

    joules: float | None = None


class Sampler:
    """Reads a rank's GPU and, on one rank of each machine, the host.

    Whatever fails is left out with its reason: a run does not end because its driver cannot be asked.

    Args:
        gpu: the rank's; None where there is none.
        host: None on the other ranks of a machine.
        unknown: why a quantity cannot be read, by name.
        our_pids: of all ranks on this machine; their children are ours, too.
        counts_energy: whether this rank counts its GPU's energy; of several on one GPU the first does.
        period_seconds: from one sample to the next.

    Attributes:
        readings: so far.
        on_sample: is given each sample, in the sampler's thread; None for nobody.
    """

    def __init__(
        self,
        gpu: Gpu | None,
        host: Host | None,
        unknown: dict[str, str],
        our_pids: Collection[int] = (),
        *,
        counts_energy: bool = True,
        period_seconds: float | None = None,
    ) -> None:
        self._gpu, self._host = gpu, host
        self._our_pids = our_pids or (os.getpid(),)
        self._counts_energy = counts_energy
        self._period = period_seconds or PERIOD_SECONDS
        self._lock = threading.Lock()
        self._open: Part | None = None
        self._ended = threading.Event()
        self.on_sample: Callable[[Readings], None] | None = None
        self._thread = threading.Thread(target=self._sample_on, name="telemetry", daemon=True)
        self.readings = Readings(unknown={**unknown, **(gpu.unknown if gpu else {})})
        if gpu and "gpu_joules" not in self.readings.unknown:
            self.readings.energy_from.append(gpu.energy_from)

    def __enter__(self) -> Sampler:
        """Begins to sample; until a part of training is open nothing is read."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self._ended.set()
        self._thread.join(timeout=5.0)  # a driver that answers no more holds no run up
        if self._gpu:
            self._gpu.close()

    @contextlib.contextmanager
    def training(self) -> Iterator[Part]:
        """Opens a part of training. The device is idle where it begins and where it ends."""
        part = Part()
        before, began = self._count(self._counters()[::-1]), time.perf_counter()
        self._open = part
        try:
            yield part
        finally:
            with self._lock:  # a sample that is being read now is not of this part alone
                self._open = None
            seconds, after = time.perf_counter() - began, self._count(self._counters())
            counted = {name: after[name] - before[name] for name in after.keys() & before.keys()}
            part.joules = counted.pop("gpu_joules", None if self._counts_energy else 0.0)
            rest = Readings(totals=counted)
            if self._host:
                rest.totals["host_core_seconds"] = seconds * self._host.cores
            self._read_memory(rest)  # pools are still there, so even a part without a sample has a peak
            with self._lock:
                self.readings += rest

    def _sample_on(self) -> None:
        while not self._ended.wait(self._period):
            part = self._open
            if part is None:
                continue
            sample = self._sample()
            with self._lock:
                if self._open is part:
                    self.readings += sample
            if self.on_sample:
                self.on_sample(sample)

    def _sample(self) -> Readings:
        sample = Readings(samples=1)
        if self._gpu:
            for name, read in self._gpu.gauges().items():
                if name != "device_bytes" and (value := self._ask(sample, name, read)) is not None:
                    sample.add(name, value)
            reasons = self._ask(sample, "gpu_throttles", self._gpu.throttles)
            if reasons is not None:
                sample.add("gpu_throttles", bool(reasons))
                sample.throttles = dict.fromkeys(reasons, 1)
        if self._host and self._host.rapl:
            self._ask(sample, "host_joules", self._host.rapl.joules)  # before it wraps around
        self._read_memory(sample)
        return sample

    def _read_memory(self, sample: Readings) -> None:
        if self._gpu:
            if (value := self._ask(sample, "device_bytes", self._gpu.device_bytes)) is not None:
                sample.add("device_bytes", value)
            if (listed := self._ask(sample, "gpu_processes", self._gpu.processes)) is not None:
                self._read_processes(sample, listed)
        if self._host:
            for name, read in self._host.gauges().items():
                if (value := self._ask(sample, name, read)) is not None:
                    sample.add(name, value)

    def _read_processes(self, sample: Readings, listed: dict[int, int | None]) -> None:
        own = os.getpid()
        if own not in listed:
            sample.unknown |= dict.fromkeys(("gpu_processes", "process_device_bytes"), OTHER_NUMBERS)
            return
        sample.add("gpu_processes", len(listed))
        sample.other_pids = [pid for pid in listed if not belongs_to(pid, self._our_pids)]
        used = listed[own]
        if used is None:
            sample.unknown["process_device_bytes"] = "NVML does not tell the memory of processes here"
        else:
            sample.add("process_device_bytes", used)

    def _counters(self) -> list[tuple[str, Callable[[], float]]]:
        """Returns what reads each counter; the GPU's stands first, to be nearest to the training at its end."""
        found: list[tuple[str, Callable[[], float]]] = []
        if self._gpu and self._counts_energy:
            found.append(("gpu_joules", self._gpu.joules))
        if self._host and self._host.rapl:
            found.append(("host_joules", self._host.rapl.joules))
        if self._host:
            found.append(("host_cpu_seconds", self._host.cpu_seconds))
        return found

    def _count(self, counters: list[tuple[str, Callable[[], float]]]) -> dict[str, float]:
        failed = Readings()
        values = {name: self._ask(failed, name, read) for name, read in counters}
        with self._lock:
            self.readings += failed
        return {name: value for name, value in values.items() if value is not None}

    def _ask(self, sample: Readings, name: str, read: Callable[[], Value]) -> Value | None:
        """Returns a reading, or None once one has failed; `sample` takes the reason."""
        if name in self.readings.unknown:
            return None
        try:
            return read()
        except Exception as error:  # whatever a driver says, the run goes on
            taken = self.readings.counts.get(name, 0)
            sample.unknown[name] = said(error) + (f", after {taken} samples" if taken else "")
            return None


def said(error: Exception) -> str:
    """Returns an error as a reason in a record."""
    kind = type(error).__name__
    if isinstance(error, Unavailable | LookupError):
        return str(error.args[0])
    return f"NVML: {error}" if kind.startswith("NVMLError") else f"{kind}: {error}"
