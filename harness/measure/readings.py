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
        unknown: why a quantity is not known. It failed at least once: a mean of the rest would be of another time.
    """

    samples: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    throttles: dict[str, int] = field(default_factory=dict)
    other_pids: list[int] = field(default_factory=list)
    energy_from: list[str] = field(default_factory=list)
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
            totals={
                name: self.totals.get(name, 0.0) + other.totals.get(name, 0.0) for name in self.totals | other.totals
            },
            counts=dict(Counter(self.counts) + Counter(other.counts)),
            peaks=other.peaks | {name: max(peak, other.peaks.get(name, peak)) for name, peak in self.peaks.items()},
            throttles=dict(Counter(self.throttles) + Counter(other.throttles)),
            other_pids=sorted({*self.other_pids, *other.other_pids}),
            energy_from=sorted({*self.energy_from, *other.energy_from}),
            unknown=other.unknown | self.unknown,
        )
