"""Made-up pairs of configs with a known truth, judged by the very functions of `harness compare`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from harness.compare.pair import ConfigPair, compare, over_images
from harness.results.measured import MeasuredConfig, MeasuredRun
from harness.statistics.intervals import summarise
from harness.statistics.pairs import LEVEL, is_constant
from harness.statistics.power import Noise, seeds_for

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
# Differences of two configs, with mean 0: how they may vary over the seeds.
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "heavy tails (t, 4 df)": lambda rng, size: rng.standard_t(4, size=size),
    "skewed (gamma, shape 4)": lambda rng, size: rng.gamma(4, size=size) - 4,
    "accuracies on 360 images": lambda rng, size: _on_few_images(rng, size) - _on_few_images(rng, size),
}
BEGAN = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
IMAGES = ("f00d", 10_000)


def coverage(shape: Draw, seeds: int, times: int, rng: np.random.Generator) -> float:
    """Returns how often Student's interval holds the true mean, 0; where seeds are alike there is none."""
    summaries = [one for row in shape(rng, (times, seeds)) if (one := summarise(list(row))) and not is_constant(one)]
    return sum(one.low <= 0 <= one.high for one in summaries) / len(summaries)


def made_up(
    label: str,
    accuracies: Sequence[float] | np.ndarray,
    seconds: Sequence[float] | None = None,
    *,
    slots: Sequence[int] = (),
) -> MeasuredConfig:
    """Returns a config with a run a seed.

    Args:
        slots: when each run ran, in runs since the beginning; a run takes a minute.
    """
    runs = []
    for seed, accuracy in enumerate(accuracies):
        began = BEGAN + timedelta(minutes=slots[seed] if slots else seed)
        ended = began + timedelta(minutes=1)
        times = (began.isoformat(), ended.isoformat())
        time = seconds[seed] if seconds is not None else None
        runs.append(MeasuredRun(seed, f"{label}-{seed}", "m", float(accuracy), time, *times, *IMAGES, True, Path()))
    return MeasuredConfig("made_up", label, label, tuple(runs))


def pair(effect: float, seeds: int, rng: np.random.Generator) -> ConfigPair:
    """Returns A compared with B, whose log time is the longer by `effect` deviations of the differences."""
    fast, slow = (100 * np.exp(0.01 * rng.normal(size=seeds) / math.sqrt(2)) for _ in range(2))
    a = made_up("a", [0.9] * seeds, [float(one) for one in fast * math.exp(-0.01 * effect)])
    return compare(a, made_up("b", [0.9] * seeds, [float(one) for one in slow]), 120.0, test_images=False)


def verdicts(effect: float, seeds: int, times: int, rng: np.random.Generator) -> dict[str, float]:
    """Returns how often A is called faster, slower, and neither."""
    found = [pair(effect, seeds, rng).time.verdict for _ in range(times)]
    return {str(verdict): found.count(verdict) / times for verdict in ("a", "b", "undecided")}


def found_as_promised(effect: float, times: int, rng: np.random.Generator) -> tuple[int, float]:
    """Returns the number of seeds that `seeds_for` promises to be enough, and how often they are."""
    seeds = seeds_for(effect, Noise(1.0))
    assert seeds is not None
    return seeds, verdicts(effect, seeds, times, rng)["a"]


def networks_differ(images: int, seeds: int, gain: float, times: int, rng: np.random.Generator) -> float:
    """Returns how often two sets of networks are called different on other images.

    Args:
        gain: of A over B, as a fraction of the images; 0 for networks that are equally good.
    """
    wrong = 0
    for _ in range(times):
        difficulty = rng.beta(4, 0.4, size=images)  # of an image, for every network alike
        chance = np.stack([np.minimum(1.0, difficulty + gain / 2), np.maximum(0.0, difficulty - gain / 2)])
        a, b = rng.random((2, seeds, images)) < chance[:, None]
        _, p = over_images(list(a.astype(float) - b))
        wrong += p < LEVEL
    return wrong / times


def drift(
    total: float, configs: int, seeds: int, times: int, rng: np.random.Generator, *, interleaved: bool
) -> dict[str, float]:
    """Returns what a machine that slows down does to two configs of a plan whose train times are the same.

    Args:
        total: how much slower the last run is than the first, as a fraction; each run has 1 % of noise of its own.
        configs: of the plan; A is the first and B the second of them.
        interleaved: by seed, as a plan is; otherwise all seeds of a config, then those of the next.

    Returns:
        The mean ratio that is found, how often its interval holds 1, and how often the runs are named as far apart.
    """
    runs = configs * seeds
    slots = (
        (range(0, runs, configs), range(1, runs, configs)) if interleaved else (range(seeds), range(seeds, 2 * seeds))
    )
    slowing = np.log1p(total * np.arange(runs) / (runs - 1))
    ratios, held, named = [], 0, 0
    for _ in range(times):
        logs = slowing + 0.01 * rng.normal(size=runs)
        seconds = [[100 * math.exp(logs[slot]) for slot in own] for own in slots]
        a, b = (made_up(name, [0.9] * seeds, seconds[one], slots=slots[one]) for one, name in enumerate("ab"))
        found = compare(a, b, 60.0 * configs, test_images=False)
        assert found.time.difference is not None
        summary = found.time.difference
        ratios.append(summary.mean)
        held += summary.low <= 0 <= summary.high
        named += any("side by side" in caution for caution in found.cautions)
    return {"ratio": math.exp(float(np.mean(ratios))), "interval holds 1": held / times, "named": named / times}


def _on_few_images(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.binomial(360, np.clip(rng.normal(0.97, 0.005, size=size), 0, 1)) / 360
