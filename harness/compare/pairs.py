"""The runs of two configs, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.compare.measured import MeasuredConfig, MeasuredRun


@dataclass(frozen=True)
class Pair:
    """The two runs of one seed."""

    seed: int
    a: MeasuredRun
    b: MeasuredRun

    @property
    def on_one_system(self) -> bool:
        """Whether both ran on the same system."""
        return self.a.system_id == self.b.system_id

    @property
    def seconds_apart(self) -> float:
        """Seconds between the end of the one and the start of the other; 0 where they overlap."""
        return self.a.seconds_until(self.b)


def pairs_of(a: MeasuredConfig, b: MeasuredConfig) -> list[Pair]:
    """Returns the pairs of the seeds that both have, in their order.

    A seed that was run on several systems counts once: on the system that both share most seeds on, else on one that
    both ran it on, else each on its own.
    """
    shared = systems_shared(a, b)
    pairs = []
    for seed in sorted(set(a.seeds) & set(b.seeds)):
        one = next((system for system in shared if seed in a.by_system[system] and seed in b.by_system[system]), None)
        runs = (a.by_system[one][seed], b.by_system[one][seed]) if one else (_on_any(a, seed), _on_any(b, seed))
        pairs.append(Pair(seed, *runs))
    return pairs


def _on_any(config: MeasuredConfig, seed: int) -> MeasuredRun:
    return next(run for run in config.runs if run.seed == seed)


def systems_shared(a: MeasuredConfig, b: MeasuredConfig) -> list[str]:
    """Returns the systems on which both ran a seed, those with most seeds first."""
    counts = {
        system: len(own.keys() & b.by_system[system].keys())
        for system, own in a.by_system.items()
        if system in b.by_system
    }
    return sorted((system for system, count in counts.items() if count), key=lambda system: (-counts[system], system))


def timed_pairs(pairs: list[Pair]) -> list[Pair]:
    """Returns the pairs whose times compare: of the system that has most of them, with the times of both runs."""
    by_system: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.on_one_system and pair.a.train_seconds and pair.b.train_seconds:
            by_system.setdefault(pair.a.system_id, []).append(pair)
    return max(by_system.values(), key=len, default=[])


def far_apart(pairs: list[Pair], round_seconds: float) -> Iterator[Pair]:
    """Yields the pairs between whose runs more time passed than one round over all configs takes, and than a minute.

    A plan is interleaved by seed: a pair that ran in its turn has at most the seed's other configs in between.
    """
    for pair in pairs:
        if pair.seconds_apart > max(round_seconds, 60.0):
            yield pair
