"""How often are equal configs told apart, and how often is one excluded that is as good as the best of its table?

    python benchmarks/method/pairs.py [--suites 10000] [--output FILE]

Each suite has k configs of one true accuracy, n seeds and m test images, all drawn anew: an image is hard for all
networks, or for those of one config, or for one network; a seed is lucky or not. So both other seeds and other images
would give other numbers. The verdicts are those of `harness.statistics.pairs`, which every output shows. Beside them:
the same by the seeds alone, and against the best without the other pairs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtr, ndtri, stdtr

from harness.statistics.crossed import tail_beyond
from harness.statistics.pairs import LEVEL, compare_pairs, corrected, image_variances, largest_image_variances
from harness.statistics.significance import holm

ACCURACY = 0.9
# Shares of the variance of what decides whether an image is recognised: the image, the config on it, the network on it.
IMAGE, CONFIG, NETWORK = 0.6, 0.15, 0.25
SEED_SD = 0.02  # of a network's own part, in these units: about 0.3 points of accuracy
TABLES = [(2, 3), (2, 5), (2, 10), (8, 2), (8, 3), (8, 5), (8, 10), (16, 3), (16, 5), (16, 10)]
IMAGES = (360, 10_000)
METHODS = ("crossed", "without predictions", "seeds alone", "seeds alone, with the best only")


def main() -> None:
    """Simulates, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--suites", type=int, default=10_000)
    parser.add_argument("--large", type=int, help="suites of 10,000 images, if fewer")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = []
    for images in IMAGES:
        suites = (arguments.large or arguments.suites) if images > 1000 else arguments.suites
        for configs, seeds in TABLES:
            counts = excluded(configs, seeds, images, suites, np.random.default_rng([configs, seeds, images]))
            row = {"configs": configs, "seeds": seeds, "images": images, "suites": suites}
            row["false_exclusions"] = {name: count / suites for name, count in counts.items()}
            row["upper_limit"] = {name: upper_limit(count, suites) for name, count in counts.items()}
            found.append(row)
            shares = ", ".join(f"{name} {share:.1%}" for name, share in row["false_exclusions"].items())
            sys.stdout.write(f"{configs} configs, {seeds} seeds, {images:,} images: {shares}\n")
            sys.stdout.flush()
    sizes = [found_by_size(*table, np.random.default_rng(table)) for table in ((5, 3), (8, 3), (13, 3), (8, 5))]
    for row in sizes:
        sys.stdout.write(f"{row}\n")
    scatter = [scattered(name, seeds, np.random.default_rng(seeds)) for name in SCATTER for seeds in (3, 5)]
    for row in scatter:
        sys.stdout.write(f"{row}\n")
    rules = [rule(seeds, level, np.random.default_rng(seeds)) for level in (LEVEL, LEVEL / 28) for seeds in (2, 3, 5)]
    for row in rules:
        sys.stdout.write(", ".join(f"{name}: {value}" for name, value in row.items()) + "\n")
    if arguments.output:
        arguments.output.write_text(
            json.dumps({"level": LEVEL, "tables": found, "sizes": sizes, "scatter": scatter, "rules": rules}, indent=1)
            + "\n"
        )


def excluded(configs: int, seeds: int, images: int, suites: int, rng: np.random.Generator) -> dict[str, int]:
    """Returns in how many suites of equal configs any is called worse than the best of its table."""
    counts: dict[str, int] = dict.fromkeys(METHODS, 0)
    for _ in range(suites):
        accuracies, recognised = made_up(configs, seeds, images, rng)
        best = int(accuracies.mean(1).argmax())
        alone = compare_pairs(accuracies)
        both = compare_pairs(accuracies, image_variances(recognised), images)
        bound = compare_pairs(accuracies, largest_image_variances(accuracies.mean(1), images), images)
        found = {
            "crossed": corrected(both.p)[best],
            "without predictions": corrected(bound.p)[best],
            "seeds alone": corrected(alone.p)[best],
            "seeds alone, with the best only": corrected(alone.p, best)[best],
        }
        for name, p in found.items():
            counts[name] += bool((p < LEVEL).any())
    return counts


def found_by_size(configs: int, seeds: int, rng: np.random.Generator, times: int = 500) -> dict[str, Any]:
    """Returns by which share configs are called worse that are, by so many standard deviations of a run: by the rule
    that is used, and where each pair has its own variance alone.
    """
    row: dict[str, Any] = {"configs": configs, "seeds": seeds}
    places = np.triu_indices(configs, 1)
    for size in (3, 6, 10, 20):
        used, alone = [], []
        for _ in range(times):
            values = rng.standard_normal((configs, seeds))
            values[0] += size
            used.append(np.mean(corrected(compare_pairs(values).p)[0, 1:] < LEVEL))
            differences = values[places[0]] - values[places[1]]
            t = differences.mean(1) / differences.std(1, ddof=1) * np.sqrt(seeds)
            alone.append(np.mean(np.array(holm(2 * stdtr(seeds - 1, -np.abs(t))))[: configs - 1] < LEVEL))
        row[f"{size} sd"] = {"used": float(np.mean(used)), "own variance": float(np.mean(alone))}
    return row


SCATTER = {
    "all alike": [1.0] * 8,
    "one of 8 ten times as much": [10.0, *[1.0] * 7],
    "half of 8 a tenth": [0.1] * 4 + [1.0] * 4,
    "2 of 16 five times as much": [5.0] * 2 + [1.0] * 14,
}


def scattered(name: str, seeds: int, rng: np.random.Generator, times: int = 2000) -> dict[str, Any]:
    """Returns how often any of several equal configs is called worse than the best, where they scatter differently."""
    wrong, deviations = 0, np.array(SCATTER[name])[:, None]
    for _ in range(times):
        values = rng.standard_normal((len(deviations), seeds)) * deviations
        wrong += bool((corrected(compare_pairs(values).p)[values.mean(1).argmax()] < LEVEL).any())
    return {"scatter": name, "seeds": seeds, "false_exclusions": wrong / times}


def rule(seeds: int, level: float, rng: np.random.Generator, times: int = 400_000) -> dict[str, Any]:
    """Returns the least and the largest level of two rules for a mean over seeds and images, both normal.

    One is used, the other is Student's with Satterthwaite's degrees of freedom. The error of the images is 0.1 to 4
    times that of the seeds.
    """
    used, satterthwaite = [], []
    for error in (0.1, 0.25, 0.5, 1.0, 2.0, 4.0):
        of_seeds = rng.chisquare(seeds - 1, times) / (seeds - 1)
        means = np.abs(rng.standard_normal(times)) * np.hypot(1, error)
        used.append(float(np.mean(2 * tail_beyond(means, of_seeds, seeds - 1, error**2, 10_000) < level)))
        variance = of_seeds + error**2
        freedom = variance**2 / (of_seeds**2 / (seeds - 1))
        satterthwaite.append(float(np.mean(2 * stdtr(freedom, -means / np.sqrt(variance)) < level)))
    ranges = {"used": used, "satterthwaite": satterthwaite}
    return {"seeds": seeds, "level": level, **{name: [min(own), max(own)] for name, own in ranges.items()}}


def made_up(configs: int, seeds: int, images: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the accuracies [configs, seeds], and by which share of the seeds each image was recognised."""
    shift = ndtri(ACCURACY) * np.sqrt(1 + SEED_SD**2)
    of_image = np.sqrt(IMAGE) * rng.standard_normal(images, np.float32)
    of_config = np.sqrt(CONFIG) * rng.standard_normal((configs, images), np.float32)
    accuracies, recognised = np.empty((configs, seeds)), np.zeros((configs, images), np.float32)
    for seed in range(seeds):
        lucky = SEED_SD * rng.standard_normal((configs, 1))
        chance = ndtr(((shift + lucky + of_image + of_config) / np.sqrt(NETWORK)).astype(np.float32))
        right = rng.random((configs, images), np.float32) < chance
        accuracies[:, seed] = right.mean(1)
        recognised += right
    return accuracies, recognised / seeds


def upper_limit(count: int, of: int) -> float:
    """Returns the upper end of the exact one-sided 95 % interval of a share (Clopper and Pearson 1934)."""
    return 1.0 if count == of else float(betaincinv(count + 1, of - count, 0.95))


if __name__ == "__main__":
    main()
