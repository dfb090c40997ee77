"""How far the single claims of a report can be believed: published numbers, the best of many, times to a target, how
many seeds a difference needs, collapsed runs. Each is made by the report's own function, of runs with a known truth.

    python benchmarks/method/claims.py [--times 4000] [--output results/method/claims.json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from harness.statistics.intervals import (
    censored_median,
    expected_mean,
    flattery_of_best,
    share_at_most,
    summarise,
)
from harness.statistics.pairs import LEVEL, PairwiseTests
from harness.statistics.power import Noise, seeds_between, seeds_for

ACCURACY, IMAGES = 0.9, 2000
HARD, SEED_SD = 2.0, 0.05  # how far images and networks scatter, in logits


def main() -> None:
    """Simulates, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=4000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = simulate(arguments.times)
    for title, rows in found.items():
        sys.stdout.write(f"{title}\n")
        for row in rows:
            shown = (
                f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}"
                for name, value in row.items()
            )
            sys.stdout.write(f"  {', '.join(shown)}\n")
    if arguments.output:
        arguments.output.write_text(json.dumps({"times": arguments.times, "simulations": found}, indent=1) + "\n")


def simulate(times: int) -> dict[str, list[dict[str, Any]]]:
    """Returns what each simulation finds; each has a random stream of its own."""
    streams = (np.random.default_rng(seed) for seed in itertools.count())
    few = max(1, times // 4)  # of the slow ones
    return {
        "a faithful recipe that differs from its published number": [
            {"seeds": seeds, "published runs": runs, "noise": noise, **differs(noise, seeds, runs, size, next(streams))}
            for noise, size in (("seeds", times), ("same images", few), ("other images", few))
            for runs in (1, 5)
            for seeds in (2, 3, 5, 10)
        ],
        "the best of equal and of unequal configs: how far its mean lies above its truth, in deviations of a run": [
            {
                "configs": configs,
                "seeds": seeds,
                "truths": apart,
                **flattered(configs, seeds, apart, few, next(streams)),
            }
            for apart in (0.0, 0.5, 2.0)
            for configs in (2, 8, 16)
            for seeds in (3, 5, 10)
        ],
        "time to a target, where runs end before it": [
            {"share that reaches it": share, "seeds": seeds, **arrived(share, seeds, times, next(streams))}
            for share in (0.9, 0.7, 0.5)
            for seeds in (3, 5, 10)
        ],
        "seeds that a difference needs": [
            {"effect": effect, "pilot seeds": pilot, **needed(effect, pilot, few, next(streams))}
            for effect in (0.5, 1.0, 2.0)
            for pilot in (3, 5, 10)
        ],
        "seeds that a difference needs, among the pairs of a table of 8": [
            {"effect": effect, "pilot seeds": pilot, **needed(effect, pilot, few, next(streams), configs=8)}
            for effect in (1.0, 2.0)
            for pilot in (3, 5)
        ],
        "upper limits of the share of collapsed runs that hold the truth, at least": [
            {"runs": runs, "share": limit_holds(runs)} for runs in (1, 3, 5, 10)
        ],
    }


def differs(noise: str, seeds: int, runs: int, times: int, rng: np.random.Generator) -> dict[str, float]:
    """Returns how often a published mean of `runs` lies outside, where it is of the very recipe.

    Beside it: outside of the 95 % interval of our mean.
    """
    outside, beside = 0, 0
    for _ in range(times):
        if noise == "seeds":
            ours, theirs = rng.standard_normal(seeds), rng.standard_normal(runs)
        else:
            images = HARD * rng.standard_normal(IMAGES) + 4.0
            others = images if noise == "same images" else HARD * rng.standard_normal(IMAGES) + 4.0
            ours, theirs = _accuracies(images, seeds, rng), _accuracies(others, runs, rng)
        summary, published = summarise(ours.tolist()), float(theirs.mean())
        assert summary
        p = summary.mean
        over_images = 2 * p * (1 - p) / IMAGES if noise == "other images" else 0.0
        expected = expected_mean(summary, runs, over_images, IMAGES)
        assert expected
        outside += not expected[0] <= published <= expected[1]
        beside += not summary.low <= published <= summary.high
    return {"differs": outside / times, "outside of the interval of our mean": beside / times}


def _accuracies(images: np.ndarray, networks: int, rng: np.random.Generator) -> np.ndarray:
    logits = images + SEED_SD * rng.standard_normal((networks, 1)) + rng.standard_normal((networks, len(images)))
    return (logits > 0).mean(axis=1)


def flattered(configs: int, seeds: int, apart: float, times: int, rng: np.random.Generator) -> dict[str, float]:
    """Returns how far the mean of the best lies above its truth, and what is said of it.

    Args:
        apart: deviation of the true means, in deviations of a run. Of a seed's variance 60 % is common to all.
    """
    true, said = [], []
    for _ in range(times):
        means = apart * rng.standard_normal((configs, 1))
        noise = np.sqrt(0.6) * rng.standard_normal(seeds) + np.sqrt(0.4) * rng.standard_normal((configs, seeds))
        values = means + noise
        best = PairwiseTests(values).best
        assert best
        as_good = [best.index, *best.equivalent, *best.undecided]
        true.append(float(values[best.index].mean() - means[best.index, 0]))
        said.append(flattery_of_best(values[as_good]) or 0.0)
    return {"true": float(np.mean(true)), "said": float(np.mean(said))}


def arrived(share: float, seeds: int, times: int, rng: np.random.Generator) -> dict[str, float]:
    """Returns what is true of means and medians, where a share of the runs reaches the target before it ends."""
    from scipy.special import ndtri

    end = float(np.exp(0.3 * ndtri(share)))
    mean = float(np.exp(0.3**2 / 2))  # of times around 1
    held, low, known, over, bounds = [], 0, 0, 0, 0
    for _ in range(times):
        seconds = np.exp(0.3 * rng.standard_normal(seeds))
        reached = seconds[seconds <= end]
        if len(reached) > 1 and (summary := summarise(reached.tolist())):
            held.append(summary.low <= mean <= summary.high)
        median = censored_median(reached.tolist(), [end] * (seeds - len(reached)))
        assert median
        if median.seconds is not None:
            known, low = known + 1, low + (median.seconds < 1)
        else:
            bounds, over = bounds + 1, over + ((median.above or 0.0) > 1)
    return {
        "mean of those that arrived covers": float(np.mean(held)),
        "median known": known / times,
        "median or its bound too low": (low + bounds - over) / times,
        "bound above the true median": over / times,
    }


def needed(effect: float, pilot: int, times: int, rng: np.random.Generator, configs: int = 2) -> dict[str, float]:
    """Returns how often the seeds lie within what a pilot says that truly show a difference as large as it found.

    By all pilots, and by those alone that are undecided, as only these are told.

    Args:
        effect: of the first config over the others, in true deviations of a difference.
    """
    inside, least, told = [], [], []
    for _ in range(times):
        values = rng.standard_normal((configs, pilot)) / np.sqrt(2)
        values[0] += effect
        tests = PairwiseTests(values)
        found = summarise((values[0] - values[1]).tolist())
        assert found and found.sd
        borrowed = float(tests.between(0, 1).freedom) - (pilot - 1)
        level = LEVEL / (configs * (configs - 1) / 2)
        truly = seeds_for(found.mean, Noise(1.0, borrowed=borrowed), level=level) or np.inf
        low, high = seeds_between(found.mean, Noise(found.sd, borrowed=borrowed), pilot - 1, level=level)
        least.append((low or np.inf) <= truly)
        inside.append(least[-1] and truly <= (high or np.inf))
        told.append(tests.verdicts(0, [1])[0] == "undecided")
    among = [(one, other) for one, other, undecided in zip(inside, least, told, strict=True) if undecided]
    found_by = {"inside": float(np.mean(inside)), "undecided": float(np.mean(told))}
    if len(among) >= 50:
        found_by["inside, of the undecided"] = float(np.mean([one for one, _ in among]))
        found_by["at least the lower end, of the undecided"] = float(np.mean([other for _, other in among]))
    return found_by


def limit_holds(runs: int) -> float:
    """Returns the smallest chance, over all shares, that the limit is not below the truth; no simulation."""
    shares = np.linspace(0.001, 0.999, 999)
    limits = np.array([share_at_most(count, runs) for count in range(runs + 1)])
    chances = binom.pmf(np.arange(runs + 1)[:, None], runs, shares)
    return float((chances * (limits[:, None] >= shares)).sum(axis=0).min())


if __name__ == "__main__":
    main()
