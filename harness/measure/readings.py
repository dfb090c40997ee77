"""What was read over the train time, of parts and ranks together: plain numbers that can be added and stored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Readings:
    """Readings by quantity, whose names end in their units.

    Attributes:
        samples: times at which all was read.
        totals: sums of the readings; of what is counted rather than sampled, what was counted.
        counts: how many readings are in each sum.
        peaks: the largest readings.
        throttles: samples at which a reason held the clocks of the GPU down.
        other_pids: processes of others that were seen on the GPU.
        energy_from: "counter" or "power", see `harness.measure.nvml.Gpu`; both where ranks or parts differ.
        other_launches: of the harness, that were seen on the machine: the process that supervises each.
        machines: sums of what was counted on each machine, and of its ranks, by its name: one that was disturbed is
            not to be lost among others.
        unknown: why a quantity is not known. It failed at least once: a mean of the rest would be of another time.
    """

    samples: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    throttles: dict[str, int] = field(default_factory=dict)
    other_pids: list[int] = field(default_factory=list)
    energy_from: list[str] = field(default_factory=list)
    other_launches: list[int] = field(default_factory=list)
    machines: dict[str, dict[str, float]] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def add(self, quantity: str, value: float) -> None:
        """Takes a reading."""
        self.totals[quantity] = self.totals.get(quantity, 0.0) + value
        self.counts[quantity] = self.counts.get(quantity, 0) + 1
        self.peaks[quantity] = max(self.peaks.get(quantity, value), value)

    def mean(self, quantity: str) -> float:
        """Returns the mean of the readings of a quantity that has some."""
        return self.totals[quantity] / self.counts[quantity]

    def __add__(self, other: Readings) -> Readings:
        """Returns the readings of two parts, or of two ranks, together."""
        return Readings(
            samples=self.samples + other.samples,
            totals=_sums(self.totals, other.totals),
            counts=dict(Counter(self.counts) + Counter(other.counts)),
            peaks=other.peaks | {name: max(peak, other.peaks.get(name, peak)) for name, peak in self.peaks.items()},
            throttles=dict(Counter(self.throttles) + Counter(other.throttles)),
            other_pids=sorted({*self.other_pids, *other.other_pids}),
            energy_from=sorted({*self.energy_from, *other.energy_from}),
            other_launches=sorted({*self.other_launches, *other.other_launches}),
            machines={
                name: _sums(self.machines.get(name, {}), other.machines.get(name, {}))
                for name in self.machines | other.machines
            },
            unknown=other.unknown | self.unknown,
        )


def _sums(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    return {name: a.get(name, 0.0) + b.get(name, 0.0) for name in a | b}
