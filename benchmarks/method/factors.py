"""How often is an effect found that is not there, and how often one that is?

    python benchmarks/method/factors.py [--suites 10000] [--output results/method/factors.json]

Each suite is drawn anew. Of accuracies both seeds and test images are random: an image is hard for all networks, for
those of one level of the first factor, for those of one config, or for one network; a seed is lucky for one level of
the first factor, or for one config. Times have seeds alone, with three kinds of noise. The verdicts are those of
`harness.statistics.effects`, which every output shows; beside them the same by the seeds alone, and where no
predictions were kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pairs import upper_limit
from scipy.special import ndtr, ndtri

from harness.statistics.crossed import image_noise, largest_image_noise
from harness.statistics.effects import CellModel, Contrast, contrasts_of, estimate
from harness.statistics.pairs import LEVEL, Pairs, holm
from harness.suite.fraction import choose_fraction

ACCURACY = 0.9
# Shares of the variance of what decides whether an image is recognised.
IMAGE, FACTOR, CONFIG, NETWORK = 0.6, 0.075, 0.075, 0.25
SEED_SD = 0.02  # of a network's own part, in these units: about 0.3 points of accuracy
DESIGNS = {"2 x 2 x 2": (2, 2, 2), "4 x 2": (4, 2), "five, one at a time": (6,)}
SEEDS, IMAGES, POINTS = (2, 3, 5), (360, 10_000), (1, 3, 8)
OTHERS = 5  # the other methods are tried on the first suites of so many
NOISES = {
    "each run alone": "runs scatter alike, each by itself",
    "shared": "runs of a seed and a level of the first factor share 80 % of their variance",
    "uneven": "the second level of the first factor scatters five times as much",
}
FIRST = Contrast((0,), (1,))


def main() -> None:
    """Simulates, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--suites", type=int, default=10_000)
    parser.add_argument("--large", type=int, help="suites of 10,000 images, if fewer")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"level": LEVEL, "suites": arguments.suites, "accuracies": [], "times": []}
    tables = list(itertools.product(DESIGNS, SEEDS))
    for design, seeds in tables:
        for noise in NOISES:
            row = {"design": design, "seeds": seeds, "noise": noise, **times(design, seeds, noise, arguments.suites)}
            found["times"].append(_said(row))
    for images, (design, seeds) in itertools.product(IMAGES, tables):
        row = {"design": design, "seeds": seeds, "images": images}
        suites = (arguments.large or arguments.suites) if images > 1000 else arguments.suites
        found["accuracies"].append(_said(row | accuracies(design, seeds, images, suites)))
    found["incomplete"] = [_said(one) for one in incomplete(arguments.suites // 4)]
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


def times(design: str, seeds: int, noise: str, suites: int, *, size: float = 4.0) -> dict[str, Any]:
    """Returns the share of suites with a false effect, of 95 % intervals that miss, and by which an effect is found.

    Args:
        size: of that effect, in deviations of a single run.
    """
    rng = np.random.default_rng([1, list(DESIGNS).index(design), seeds, list(NOISES).index(noise)])
    model, rows = _model(design)

    def drawn(count: int, shift: float) -> list[Pairs]:
        made = (noise_of(noise, model.cells, seeds, rng) + shift * (model.cells[:, :1] == 1) for _ in range(count))
        return [estimate(model, rows, values) for values in made]

    alike = drawn(suites, 0.0)
    missed = (_p(alike) < LEVEL).mean(0)  # of each contrast, how often its own interval misses 0
    power = _found(drawn(suites // 10, size))[:, _first(model)].mean()
    return {
        **_shares({"false": _found(alike).any(1).sum()}, suites),
        "intervals that miss": {"mean": float(missed.mean()), "most": float(missed.max())},
        f"power at {size:g} deviations": float(power),
    }


def accuracies(design: str, seeds: int, images: int, suites: int) -> dict[str, Any]:
    """Returns the share of suites with a false effect, by each method, and by which effects of so many points are
    found.
    """
    rng = np.random.default_rng([2, list(DESIGNS).index(design), seeds, images])
    model, rows = _model(design)
    crossed, without, alone = [], [], []
    for suite in range(suites):
        values, recognised = made_up(model.cells, seeds, images, rng)
        crossed.append(estimate(model, rows, values, image_noise(recognised)))
        if suite < suites // OTHERS:
            means = values.mean(1)
            largest = largest_image_noise(means, images), means * (1 - means) / images
            without.append(estimate(model, rows, values, *largest))
            alone.append(estimate(model, rows, values))
    power = {}
    for points in POINTS:
        made = (made_up(model.cells, seeds, images, rng, points / 100) for _ in range(suites // 10))
        found = [estimate(model, rows, values, image_noise(recognised)) for values, recognised in made]
        power[f"{points} points"] = float(_found(found)[:, _first(model)].mean())
    others = {"without predictions": _found(without), "seeds alone": _found(alone)}
    return {
        "suites": suites,
        **_shares({"crossed": _found(crossed).any(1).sum()}, suites),
        "others": _shares({name: found.any(1).sum() for name, found in others.items()}, suites // OTHERS),
        "power": power,
    }


def incomplete(suites: int) -> list[dict[str, Any]]:
    """Returns the share of suites with a false effect, where a tenth of the runs is missing, and of a fraction."""
    found = []
    for seeds in (3, 5):
        rng = np.random.default_rng([3, seeds])
        levels = (2,) * 7
        fraction = CellModel(np.array(choose_fraction(levels).cells), levels)
        for name, model, missing in (("2 x 2 x 2, a tenth missing", _model("2 x 2 x 2")[0], 0.1), ("2^7", fraction, 0)):
            rows, measured = model.contrast_rows(contrasts_of(model.levels)), []
            for _ in range(suites):
                values = noise_of("each run alone", model.cells, seeds, rng)
                values[rng.random(values.shape) < missing] = np.nan
                measured.append(estimate(model, rows, values))
            row = {"design": name, "configs": len(model.cells), "seeds": seeds, "suites": suites}
            found.append(row | _shares({"false": _found(measured).any(1).sum()}, suites))
    return found


def noise_of(kind: str, cells: np.ndarray, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """Returns noise, [configs, seeds], see `NOISES`."""
    alone = rng.standard_normal((len(cells), seeds))
    if kind == "shared":
        of_level = rng.standard_normal((cells[:, 0].max() + 1, seeds))[cells[:, 0]]
        return np.sqrt(0.2) * alone + np.sqrt(0.8) * of_level
    return alone * np.where(cells[:, :1] == 1, 5.0, 1.0) if kind == "uneven" else alone


def made_up(
    cells: np.ndarray, seeds: int, images: int, rng: np.random.Generator, gain: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the accuracies [configs, seeds], and whether each network recognised each image.

    Args:
        gain: of the second level of the first factor, in accuracy.
    """
    configs, levels = len(cells), cells[:, 0].max() + 1
    wide = np.sqrt(1 + SEED_SD**2)
    shift = wide * np.where(cells[:, :1] == 1, ndtri(min(ACCURACY + gain, 0.999)), ndtri(ACCURACY))
    hard = np.sqrt(IMAGE) * rng.standard_normal(images, np.float32)
    hard = hard + (np.sqrt(FACTOR) * rng.standard_normal((levels, images), np.float32))[cells[:, 0]]
    hard = hard + np.sqrt(CONFIG) * rng.standard_normal((configs, images), np.float32)
    values, recognised = np.empty((configs, seeds)), np.empty((configs, seeds, images), bool)
    for seed in range(seeds):
        lucky = rng.standard_normal((levels, 1))[cells[:, 0]] + rng.standard_normal((configs, 1))
        part = (shift + SEED_SD * np.sqrt(0.5) * lucky + hard) / np.sqrt(NETWORK)
        right = rng.random((configs, images), np.float32) < ndtr(part.astype(np.float32))
        values[:, seed] = right.mean(1)
        recognised[:, seed] = right
    return values, recognised


def _found(measured: list[Pairs]) -> np.ndarray:
    """Returns which contrasts of which suites are called different, [suites, contrasts]."""
    return np.array([holm(p) < LEVEL for p in _p(measured)])


def _p(measured: list[Pairs]) -> np.ndarray:
    """Returns the p-values of all suites at once, [suites, contrasts]."""
    names = ("difference", "seeds", "over_seeds", "freedom", "over_images", "own")
    parts = {name: np.stack([getattr(one, name) for one in measured]) for name in names}
    return Pairs(**parts, images=measured[0].images).p


def _model(design: str) -> tuple[CellModel, np.ndarray]:
    levels = DESIGNS[design]
    model = CellModel(np.array(list(itertools.product(*map(range, levels)))), levels)
    return model, model.contrast_rows(contrasts_of(levels))


def _first(model: CellModel) -> int:
    return contrasts_of(model.levels).index(FIRST)


def _shares(counts: dict[str, Any], of: int) -> dict[str, Any]:
    shares = {name: int(count) / of for name, count in counts.items()}
    return {"shares": shares, "upper_limits": {name: upper_limit(int(count), of) for name, count in counts.items()}}


def _said(row: dict[str, Any]) -> dict[str, Any]:
    sys.stdout.write(f"{row}\n")
    sys.stdout.flush()
    return row


if __name__ == "__main__":
    main()
