"""How often are equal configs told apart, and how often is one excluded that is as good as the best of its table?

    python benchmarks/method/pairs.py [--suites 10000] [--output FILE]

Each suite has k configs of one true accuracy, n seeds and m test images, all drawn anew: an image is hard for all
networks, or for those of one config, or for one network; a seed is lucky or not. So both other seeds and other images
would give other numbers. The verdicts are those of `harness.statistics.pairs`, which every output shows ("crossed").
Beside them: the same where the variances over seeds and over images are added up, so that what is of one network on
one image counts twice; where predictions were not kept; by the seeds alone; and against the best without the other
pairs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtri, stdtr

from harness.statistics.crossed import ImageNoise, image_noise, largest_image_noise, tail_beyond
from harness.statistics.pairs import LEVEL, PairwiseTests, holm

ACCURACY = 0.9
# Shares of the variance of what decides whether an image is recognised: the image, the config on it, the network on it.
IMAGE, CONFIG, NETWORK = 0.6, 0.15, 0.25
SEED_SD = 0.02  # of a network's own luck, in these units: about 0.3 points of accuracy
TABLES = [(2, 3), (2, 5), (2, 10), (8, 2), (8, 3), (8, 5), (8, 10), (16, 3), (16, 5), (16, 10)]
ALIKE_ON_IMAGES = PLANTED = [(2, 3), (2, 10), (8, 3), (8, 10)]
METHODS = ("crossed", "added up", "without predictions", "seeds alone", "seeds alone, with the best only")
GAINS = {360: 0.25, 10_000: 0.08}  # of one config over the others, in these units: about 4 and 1.3 points


def main() -> None:
    """Simulates, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--suites", type=int, default=10_000)
    parser.add_argument("--large", type=int, help="suites of 10,000 images and more than two configs, if fewer")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    sizes = {360: arguments.suites, 10_000: arguments.large or arguments.suites}
    cells = [
        (configs, seeds, images, arguments.suites if configs == 2 else count, CONFIG)
        for images, count in sizes.items()
        for configs, seeds in TABLES
    ]
    cells += [(*table, 360, arguments.suites, 0.0) for table in ALIKE_ON_IMAGES]
    planted = [(*table, images, max(1, count // 10)) for images, count in sizes.items() for table in PLANTED]
    found: dict[str, Any] = {"level": LEVEL}
    with ProcessPoolExecutor(arguments.processes) as pool:
        for name, rows in (
            ("tables", pool.map(excluded, *zip(*cells, strict=True))),
            ("planted", pool.map(found_worse, *zip(*planted, strict=True))),
            ("sizes", pool.map(found_by_size, (5, 8, 13, 8), (3, 3, 3, 5))),
            ("scatter", pool.map(scattered, *zip(*itertools.product(SCATTER, (3, 5)), strict=True))),
            ("rules", pool.map(rule, *zip(*itertools.product((2, 3, 5), (LEVEL, LEVEL / 28)), strict=True))),
        ):
            found[name] = []
            for row in rows:
                found[name].append(row)
                sys.stdout.write(f"{name}: {row}\n")
                sys.stdout.flush()
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


def excluded(configs: int, seeds: int, images: int, suites: int, of_config: float) -> dict[str, Any]:
    """Returns in which share of suites of equal configs any is called worse than the best of its table.

    The methods that are not used are tried on a tenth of the suites.
    """
    rng = np.random.default_rng([configs, seeds, images])
    counts: dict[str, int] = dict.fromkeys(METHODS, 0)
    few = max(1, suites // 10)
    for suite in range(suites):
        right = made_up(configs, seeds, images, rng, of_config)
        best = int(right.mean((1, 2)).argmax())
        for name, p in beside(right, best, METHODS if suite < few else METHODS[:1]).items():
            counts[name] += bool((p < LEVEL).any())
    of = {name: suites if name == METHODS[0] else few for name in METHODS}
    row = {"configs": configs, "seeds": seeds, "images": images, "suites": suites, "of_config": of_config}
    row["false_exclusions"] = {name: count / of[name] for name, count in counts.items()}
    row["upper_limit"] = {name: upper_limit(count, of[name]) for name, count in counts.items()}
    return row


def found_worse(configs: int, seeds: int, images: int, suites: int) -> dict[str, Any]:
    """Returns which share of the others is called worse than a config that is better by `GAINS`."""
    rng = np.random.default_rng([configs, seeds, images])
    found: dict[str, list[float]] = {name: [] for name in METHODS[:3]}
    gains = []
    for _ in range(suites):
        right = made_up(configs, seeds, images, rng, gain=GAINS[images])
        gains.append(right[0].mean() - right[1:].mean())
        p = beside(right, 0, METHODS[:3])
        for name, own in found.items():
            own.append(float((np.delete(p[name], 0) < LEVEL).mean()))
    row = {"configs": configs, "seeds": seeds, "images": images, "suites": suites, "gain": float(np.mean(gains))}
    return row | {"found": {name: float(np.mean(own)) for name, own in found.items()}}


def beside(right: np.ndarray, best: int, methods: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the corrected p-values of a config beside each, by each method; of `made_up` networks."""
    accuracies, others, noise = right.mean(2, dtype=float), np.arange(len(right)), image_noise(right)
    noises = {
        "crossed": noise,
        "added up": ImageNoise(noise.shared + noise.own, np.zeros_like(noise.own), noise.images),
        "without predictions": largest_image_noise(accuracies.mean(1), noise.images),
        "seeds alone": None,
    }
    found = {
        name: PairwiseTests(accuracies, one, beside=best).p_holm(best, others)
        for name, one in noises.items()
        if name in methods
    }
    if METHODS[-1] in methods:
        alone = PairwiseTests(accuracies).p[best]
        found[METHODS[-1]] = holm(alone[~np.isnan(alone)])
    return found


def found_by_size(configs: int, seeds: int, times: int = 500) -> dict[str, Any]:
    """Returns by which share configs are called worse that are, by so many standard deviations of a run: by the rule
    that is used, and where each pair has its own variance alone.
    """
    rng, row = np.random.default_rng([configs, seeds]), dict[str, Any](configs=configs, seeds=seeds)
    places = np.triu_indices(configs, 1)
    for size in (3, 6, 10, 20):
        used, alone = [], []
        for _ in range(times):
            values = rng.standard_normal((configs, seeds))
            values[0] += size
            used.append(np.mean(PairwiseTests(values).p_holm(0, np.arange(1, configs)) < LEVEL))
            differences = values[places[0]] - values[places[1]]
            t = differences.mean(1) / differences.std(1, ddof=1) * np.sqrt(seeds)
            alone.append(np.mean(holm(2 * stdtr(seeds - 1, -np.abs(t)))[: configs - 1] < LEVEL))
        row[f"{size} sd"] = {"used": float(np.mean(used)), "own variance": float(np.mean(alone))}
    return row


SCATTER = {
    "all alike": [1.0] * 8,
    "one of 8 ten times as much": [10.0, *[1.0] * 7],
    "half of 8 a tenth": [0.1] * 4 + [1.0] * 4,
    "2 of 16 five times as much": [5.0] * 2 + [1.0] * 14,
}


def scattered(name: str, seeds: int, times: int = 2000) -> dict[str, Any]:
    """Returns how often any of several equal configs is called worse than the best, where they scatter differently."""
    rng, wrong, deviations = np.random.default_rng(seeds), 0, np.array(SCATTER[name])[:, None]
    for _ in range(times):
        values = rng.standard_normal((len(deviations), seeds)) * deviations
        best = values.mean(1).argmax()
        wrong += bool((PairwiseTests(values).p_holm(best, np.arange(len(values))) < LEVEL).any())
    return {"scatter": name, "seeds": seeds, "false_exclusions": wrong / times}


def rule(seeds: int, level: float, times: int = 400_000) -> dict[str, Any]:
    """Returns the least and the largest level of two rules for a mean over seeds and images, both normal.

    One is used, the other is Student's with Satterthwaite's degrees of freedom. The error of the images is 0.1 to 4
    times that of the seeds.
    """
    rng, used, satterthwaite = np.random.default_rng(seeds), list[float](), list[float]()
    for error in (0.1, 0.25, 0.5, 1.0, 2.0, 4.0):
        of_seeds = rng.chisquare(seeds - 1, times) / (seeds - 1)
        means = np.abs(rng.standard_normal(times)) * np.hypot(1, error)
        used.append(float(np.mean(2 * tail_beyond(means, of_seeds, seeds - 1, error**2, 10_000) < level)))
        variance = of_seeds + error**2
        freedom = variance**2 / (of_seeds**2 / (seeds - 1))
        satterthwaite.append(float(np.mean(2 * stdtr(freedom, -means / np.sqrt(variance)) < level)))
    ranges = {"used": used, "satterthwaite": satterthwaite}
    return {"seeds": seeds, "level": level, **{name: [min(own), max(own)] for name, own in ranges.items()}}


def made_up(
    configs: int, seeds: int, images: int, rng: np.random.Generator, of_config: float = CONFIG, gain: float = 0.0
) -> np.ndarray:
    """Returns which image was recognised by which network, 1 or 0, [configs, seeds, images]; `gain` of the first."""
    lucky = ndtri(ACCURACY) * np.sqrt(1 + SEED_SD**2) + SEED_SD * rng.standard_normal((configs, seeds, 1))
    lucky[0] += gain
    chance = np.float32(np.sqrt(of_config)) * rng.standard_normal((configs, images), np.float32)
    chance += np.float32(np.sqrt(IMAGE + CONFIG - of_config)) * rng.standard_normal(images, np.float32)
    of_network = rng.standard_normal((configs, seeds, images), np.float32)
    of_network *= np.float32(np.sqrt(NETWORK))
    of_network += chance[:, None]
    return (of_network > -lucky.astype(np.float32)).astype(np.float32)


def upper_limit(count: int, of: int) -> float:
    """Returns the upper end of the exact one-sided 95 % interval of a share (Clopper and Pearson 1934)."""
    return 1.0 if count == of else float(betaincinv(count + 1, of - count, 0.95))


if __name__ == "__main__":
    main()
