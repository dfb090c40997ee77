"""Samples GPU and host during the train time, in a thread that neither steps nor synchronises with the device.

Gauges are read once a period, at any moment of the train time alike, so that their mean is that over the train time.
Counters are read where a part of training begins and ends, and what others did in between is not in them.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeVar

from harness.measure.cores import queued_seconds
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
# What shows disturbances is summed by machine.
MACHINE = (
    "machine_seconds",
    "free_core_seconds",
    "steal_seconds",
    "launch_cpu_seconds",
    "throttled_seconds",
    "asleep_seconds",
)
Value = TypeVar("Value")
Counter = Callable[[], float | dict[str, float]]


@dataclass
class Part:
    """A part of training that is timed in one go.

    Attributes:
        joules: of this rank's GPU; None where it cannot be known. There when the part is over.
        began: by `time.perf_counter`.
        suspended_seconds: for which this process stood still, at the least.
    """

    joules: float | None = None
    began: float = 0.0
    suspended_seconds: float = 0.0


def main_thread_seconds() -> float:
    """Returns the CPU seconds of the main thread."""
    return time.clock_gettime(time.pthread_getcpuclockid(threading.main_thread().ident or 0))


class SuspensionWatch:
    """A thread that only waits: what it is late, beyond what the main thread computed, the process stood still.

    The main thread may have kept Python's lock from it; of all threads together a short time is many CPU seconds. The
    caller holds a lock.

    Args:
        period_seconds: that the thread waits each time.
    """

    def __init__(self, period_seconds: float) -> None:
        self._period = period_seconds
        self._since: float | None = None
        self._used = 0.0

    def listen(self) -> None:
        """The thread begins to wait."""
        self._since, self._used = time.perf_counter(), main_thread_seconds()

    def rest(self) -> None:
        """The thread does something else for a while."""
        self._since = None

    def missed(self, began: float) -> float:
        """Returns for how many seconds, at least, the process stood still since the last call and since `began`."""
        if self._since is None:
            return 0.0
        since, used = self._since, self._used
        self.listen()
        return max(0.0, self._since - max(since, began) - self._period - (self._used - used))


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
        self._heart = SuspensionWatch(self._period)
        self._machine = platform.node()
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
        before = self._count([*self._host_counters(), *self._counters()[::-1]])
        queued, part = self._queued(), Part(began=time.perf_counter())
        self._open = part
        try:
            yield part
        finally:
            seconds = time.perf_counter() - part.began
            with self._lock:  # a sample that is being read now is not of this part alone
                self._open = None
                part.suspended_seconds += self._heart.missed(part.began)
            queue, after = self._queued(), self._count([*self._counters(), *self._host_counters()])
            counted = {name: after[name] - before[name] for name in after.keys() & before.keys()}
            part.joules = counted.pop("gpu_joules", None if self._counts_energy else 0.0)
            rest = self._rest(counted, seconds)
            rest.machines[self._machine] |= {
                "rank_seconds": seconds,
                "queued_seconds": sum(wait - queued.get(thread, 0.0) for thread, wait in queue.items()),
                "suspended_seconds": part.suspended_seconds,
            }
            self._read_memory(rest)  # pools are still there, so even a part without a sample has a peak
            with self._lock:
                self.readings += rest

    def _rest(self, counted: dict[str, float], seconds: float) -> Readings:
        """Returns what was counted over a part: what shows disturbances by machine, and the rest."""
        machine = {name: counted.pop(name) for name in MACHINE if name in counted}
        rest = Readings(totals=counted, machines={self._machine: machine})
        if self._host:
            rest.totals["host_core_seconds"] = seconds * self._host.usable_cores
            rest.other_launches = sorted(self._host.other_launches)
            if "machine_seconds" in machine:
                machine |= {"core_seconds": machine["machine_seconds"] * self._host.cores, "parts": 1.0}
        return rest

    def _sample_on(self) -> None:
        while True:
            self._heart.listen()
            ended = self._ended.wait(self._period)
            with self._lock:
                part = self._open
                if part:
                    part.suspended_seconds += self._heart.missed(part.began)
                self._heart.rest()  # a driver may take long to answer: that is no suspension
            if ended:
                return
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

    def _counters(self) -> list[tuple[str, Counter]]:
        """Returns what reads each counter that stands near to the training: the GPU's first, at its end."""
        found: list[tuple[str, Counter]] = []
        if self._gpu and self._counts_energy:
            found.append(("gpu_joules", self._gpu.joules))
        if self._host and self._host.rapl:
            found.append(("host_joules", self._host.rapl.joules))
        return found

    def _host_counters(self) -> list[tuple[str, Counter]]:
        return self._host.counters() if self._host else []

    def _count(self, counters: list[tuple[str, Counter]]) -> dict[str, float]:
        failed = Readings()
        values: dict[str, float] = {}
        for name, read in counters:
            value = self._ask(failed, name, read)
            if value is not None:
                values |= value if isinstance(value, dict) else {name: value}
        with self._lock:
            self.readings += failed
        return values

    def _queued(self) -> dict[int, float]:
        """Returns for how long each thread of this rank waited for a core."""
        failed = Readings()
        waits = self._ask(failed, "queued_seconds", queued_seconds)
        with self._lock:
            self.readings += failed
        return waits or {}

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
