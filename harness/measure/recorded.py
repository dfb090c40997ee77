"""What the readings of a run come to in its record."""

from __future__ import annotations

from typing import Any, NamedTuple

from harness.measure.readings import Readings
from harness.measure.telemetry import PERIOD_SECONDS
from harness.records.result import Energy, Memory, Telemetry

MEANS = (
    "gpu_utilization",
    "gpu_power_watts",
    "gpu_sm_clock_hertz",
    "gpu_memory_clock_hertz",
    "gpu_temperature_celsius",
)
PEAKS = {"gpu_peak_power_watts": "gpu_power_watts", "gpu_peak_temperature_celsius": "gpu_temperature_celsius"}
MEMORY = ("process_device_bytes", "device_bytes", "host_tree_rss_bytes")
NO_SAMPLE = f"no sample fell into the train time; there is one every {PERIOD_SECONDS:g} s"


class Sampled(NamedTuple):
    """Parts of a record, and the reason for each null in them under its dotted name."""

    energy: Energy
    telemetry: Telemetry
    memory: Memory
    unavailable: dict[str, str]


def recorded(readings: Readings, train_joules: float | None, epochs: int) -> Sampled:
    """Returns what a run's readings come to.

    Args:
        readings: of all its parts and ranks.
        train_joules: of the GPUs, over all epochs; None where that of one is not known.
        epochs: that were trained.
    """
    why = readings.unknown
    known = {name for name, count in readings.counts.items() if count and name not in why}
    throttled = True if readings.throttles else False if "gpu_throttles" in known else None
    shared = True if readings.other_pids else False if "gpu_processes" in known else None
    core_seconds = 0.0 if "host_cpu_seconds" in why else readings.totals.get("host_core_seconds", 0.0)
    telemetry: dict[str, Any] = {
        **{name: readings.mean(name) if name in known else None for name in MEANS},
        **{name: readings.peaks[source] if source in known else None for name, source in PEAKS.items()},
        "gpu_throttled": throttled,
        "gpu_throttle_reasons": None if throttled is None else _shares(readings),
        "gpu_shared": shared,
        "gpu_other_pids": None if shared is None else readings.other_pids,
        "gpu_energy_from": None if train_joules is None else ", ".join(readings.energy_from),
        "host_cpu_share": readings.totals["host_cpu_seconds"] / core_seconds if core_seconds else None,
    }
    energy = {
        "train_joules": train_joules,
        "joules_per_epoch": None if train_joules is None else train_joules / epochs,
        "host_joules": None if "host_joules" in why else readings.totals.get("host_joules"),
    }
    memory = {name: int(readings.peaks[name]) if name in known else None for name in MEMORY}
    sources: dict[str, str] = {
        **PEAKS,
        "gpu_throttled": "gpu_throttles",
        "gpu_throttle_reasons": "gpu_throttles",
        "gpu_shared": "gpu_processes",
        "gpu_other_pids": "gpu_processes",
        "gpu_energy_from": "gpu_joules",
        "host_cpu_share": "host_cpu_seconds",
        "train_joules": "gpu_joules",
        "joules_per_epoch": "gpu_joules",
    }
    parts: dict[str, dict[str, Any]] = {"energy": energy, "telemetry": telemetry, "memory": memory}
    unavailable = {
        f"{part}.{name}": why.get(sources.get(name, name), NO_SAMPLE)
        for part, values in parts.items()
        for name, value in values.items()
        if value is None
    }
    telemetry["samples"] = readings.samples
    return Sampled(Energy(**energy), Telemetry(**telemetry), Memory(**memory), unavailable)


def _shares(readings: Readings) -> dict[str, float]:
    samples = readings.counts["gpu_throttles"]
    return {reason: count / samples for reason, count in readings.throttles.items()}
