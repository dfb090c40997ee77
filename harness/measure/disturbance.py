"""Whether others slowed a run down: what was counted over its train time, and the limits beyond which its times are not
its own.

docs/method.md has the limits and where they come from (`benchmarks/method/disturbance.py`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.measure.readings import Readings
from harness.records.result import Disturbance, Telemetry

SHARE_OF_CORES = 0.05  # that others may take
SHARE_OF_CORES_BESIDE_A_GPU = 0.5
WAIT_SHARE = 0.05  # of the ranks' time
STEAL_SHARE = 0.05
THROTTLED_SHARE = 0.02
TICK_SECONDS = 0.01  # in which the kernel tells of core time: of each part and core, the reading may be one off
SUSPENDED_SECONDS = 1.0
GPU_THROTTLES = ("hardware slowdown", "thermal limit", "hardware thermal slowdown", "power brake")
GPU_THROTTLED_SHARE = 0.05
# A field of the record: what it sums, and the counters that this needs.
FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "core_seconds": ("core_seconds", ("cores",)),
    "launch_cpu_seconds": ("launch", ("launch_cpu_seconds",)),
    "other_cpu_seconds": ("other", ("cores", "launch_cpu_seconds")),
    "run_queue_wait_seconds": ("queued", ("queued_seconds",)),
    "wait_for_others_seconds": ("wait", ("queued_seconds", "cores", "launch_cpu_seconds")),
    "throttled_seconds": ("throttled", ("throttled_seconds",)),
    "steal_seconds": ("steal", ("cores",)),
    "suspended_seconds": ("suspended", ()),
    "asleep_seconds": ("asleep", ("asleep_seconds",)),
}
NO_TRAINING = "nothing was trained"


class Judged(NamedTuple):
    """What others took, a sentence for each way in which it is too much, and the reason for each null."""

    disturbance: Disturbance
    sentences: list[str]
    unavailable: dict[str, str]


class OnMachine:
    """What was counted on one machine; None where that is not known.

    Args:
        name: of the machine.
        sums: as `Readings.machines` has them.
        unknown: counters that failed at least once.

    Attributes:
        cores: that the run may use.
        noise: what its core time may be off by, in seconds.
    """

    def __init__(self, name: str, sums: Mapping[str, float], unknown: Collection[str]) -> None:
        def known(counter: str, source: str = "") -> float | None:
            return None if (source or counter) in unknown else sums.get(counter)

        self.name = name
        self.seconds = sums.get("machine_seconds", 0.0)
        self.rank_seconds = sums.get("rank_seconds", 0.0)
        self.core_seconds = known("core_seconds", "cores")
        self.launch = known("launch_cpu_seconds")
        self.steal = known("steal_seconds", "cores")
        self.queued = known("queued_seconds")
        self.throttled = known("throttled_seconds")
        self.suspended = known("suspended_seconds")
        self.asleep = known("asleep_seconds")
        cores = sums.get("core_seconds", 0.0) / self.seconds if self.seconds else 0.0
        self.cores = round(cores)
        self.noise = 2 * TICK_SECONDS * math.sqrt(sums.get("parts", 1.0) * cores)
        self.other = self.wait = None
        if self.core_seconds is not None and self.launch is not None:
            free_or_taken = sums["free_core_seconds"] + sums["steal_seconds"] + self.launch
            self.other = max(0.0, self.core_seconds - free_or_taken)
            if self.queued is not None:
                # Without others a thread waits for its own launch alone: each second of a core that others took
                # explains a second of waiting at the most.
                self.wait = min(self.queued, self.other + (self.steal or 0.0))


def judge(readings: Readings, telemetry: Telemetry, *, uses_gpu: bool) -> Judged:
    """Returns what others took from a run.

    Args:
        readings: of all its parts and ranks.
        telemetry: of its GPUs.
        uses_gpu: whether it trained on one: its cores only feed that.
    """
    why = readings.unknown
    machines = [OnMachine(name, sums, why) for name, sums in readings.machines.items()]
    values: dict[str, Any] = {
        field: _sum(getattr(machine, name) for machine in machines) for field, (name, _) in FIELDS.items()
    }
    unavailable = {
        f"disturbance.{field}": next((why[source] for source in sources if source in why), NO_TRAINING)
        for field, (_, sources) in FIELDS.items()
        if values[field] is None
    }
    values["other_launches"] = readings.other_launches
    sentences = [
        f"on {machine.name}: {sentence}" if len(machines) > 1 else sentence
        for machine in machines
        for sentence in _of_machine(machine, readings.other_launches, uses_gpu=uses_gpu)
    ]
    return Judged(Disturbance(**values), [*sentences, *_of_gpus(telemetry)], unavailable)


def _of_machine(machine: OnMachine, launches: Sequence[int], *, uses_gpu: bool) -> Iterator[str]:
    core_seconds, seconds, count = machine.core_seconds or 0.0, machine.seconds, machine.cores
    share = SHARE_OF_CORES_BESIDE_A_GPU if uses_gpu else SHARE_OF_CORES
    others = "processes of others" + (
        f", among them another call of the harness (process {launches[0]})," if launches else ""
    )
    if machine.other is not None and machine.other > max(machine.noise, share * core_seconds):
        yield f"{others} used {machine.other / seconds:.2g} of {count} cores"
    if machine.wait is not None and machine.wait > max(machine.noise, WAIT_SHARE * machine.rank_seconds):
        yield f"its threads waited {_short(machine.wait)} s for cores that others used, in {_short(seconds)} s"
    if machine.steal is not None and machine.steal > max(machine.noise, STEAL_SHARE * core_seconds):
        yield f"the hypervisor gave {machine.steal / seconds:.2g} of {count} cores to others"
    if machine.throttled is not None and machine.throttled > THROTTLED_SHARE * machine.rank_seconds:
        yield f"its cgroup kept it from a core for {_short(machine.throttled)} s"
    if machine.suspended is not None and machine.suspended > SUSPENDED_SECONDS:
        yield f"its processes stood still for {machine.suspended:.1f} s"
    if machine.asleep is not None and machine.asleep > SUSPENDED_SECONDS:
        yield f"the machine was suspended for {machine.asleep:.1f} s"


def _short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"


def _of_gpus(telemetry: Telemetry) -> Iterator[str]:
    if telemetry.gpu_shared:
        yield f"other processes used its GPU: {', '.join(map(str, telemetry.gpu_other_pids or []))}"
    held = {
        reason: share
        for reason, share in (telemetry.gpu_throttle_reasons or {}).items()
        if reason in GPU_THROTTLES and share > GPU_THROTTLED_SHARE
    }
    if held:
        reasons = ", ".join(f"{reason} in {share:.0%} of the samples" for reason, share in held.items())
        yield f"its GPU was slowed down: {reasons}"


def _sum(values: Iterable[float | None]) -> float | None:
    found = list(values)
    if not found or None in found:
        return None
    return max(0.0, sum(value for value in found if value is not None))  # two clocks that are read one after the other
