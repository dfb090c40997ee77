"""How far the front's probabilities and the prices can be believed: suites with a known truth, judged by the report's
own functions.

    python benchmarks/method/fronts.py [--json FILE] [--suites 1000]

Accuracies and times are normal around the truth, their deviations differ from config to config, and a share of each
seed's noise is common to all configs. Eight minutes on one core; `--suites 100` shows the same in one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.report.fronts import BETTER, TIME, Front, Place, prices_along, sampled
from harness.results.answers import Family
from harness.results.measured import MeasuredConfig, MeasuredRun
from harness.statistics.fronts import SAMPLES, pareto_front, pareto_fronts, samples_of_means

SEEDS = (2, 3, 5, 10)
CONFIGS = 8
SPREADS = (0.5, 2.0)  # of the true accuracies, in deviations of one run
COMMON = (0.0, 0.6)  # share of a seed's variance that all configs have in common
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
ACCURACY_SD, TIME_SD = 0.005, 0.03  # of a run: a fraction, and a share of its time


@dataclass(frozen=True)
class Truth:
    """A suite's true means and deviations, each [configs]."""

    accuracy: np.ndarray
    seconds: np.ndarray
    accuracy_sd: np.ndarray
    seconds_sd: np.ndarray

    def runs(self, seeds: int, common: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Returns accuracies and times of runs, each [configs, seeds]."""

        def noise() -> np.ndarray:
            own = rng.standard_normal((len(self.accuracy), seeds))
            return np.sqrt(common) * rng.standard_normal(seeds) + np.sqrt(1 - common) * own

        accuracies = self.accuracy[:, None] + self.accuracy_sd[:, None] * noise()
        return accuracies, self.seconds[:, None] + self.seconds_sd[:, None] * noise()

    def front(self) -> np.ndarray:
        """Returns which configs truly are on the front."""
        return np.array(pareto_front(list(zip(self.accuracy, self.seconds, strict=True))))


def random_truth(spread: float, rng: np.random.Generator, configs: int = CONFIGS) -> Truth:
    """Returns a suite in which accuracy grows with time, and scatters around that by `spread` deviations of a run."""
    place = rng.uniform(0, 1, configs)
    seconds = 100 * np.exp(0.5 * place)
    accuracy = 0.9 + ACCURACY_SD * spread * (2 * np.sqrt(place) + rng.standard_normal(configs))
    scale = np.exp(rng.normal(0, 0.3, (2, configs)))
    return Truth(accuracy, seconds, ACCURACY_SD * scale[0], TIME_SD * seconds * scale[1])


def planted(accuracy: list[float], seconds: list[float]) -> Truth:
    """Returns a suite with these means."""
    times = np.array(seconds)
    return Truth(np.array(accuracy), times, np.full(len(times), ACCURACY_SD), TIME_SD * times)


def judged(accuracies: np.ndarray, seconds: np.ndarray) -> Front:
    """Returns the report's front of runs, [configs, seeds]; the places keep the order of the configs."""
    points = [(float(one.mean()), float(other.mean())) for one, other in zip(accuracies, seconds, strict=True)]
    places = [
        Place(_row(index), dict(enumerate(accuracies[index])), dict(enumerate(seconds[index])), on_front)
        for index, on_front in enumerate(pareto_front(points))
    ]
    return Front(TIME, tuple(sampled(places)))


def probabilities(accuracies: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Returns the report's probabilities of being on the front, [configs]."""
    return np.array([place.probability for place in judged(accuracies, seconds).places])


def _row(index: int) -> Any:
    return SimpleNamespace(config_id=str(index), label=str(index))


# --- Other ways to resample, to compare with ---


def _seeds_redrawn(accuracies: np.ndarray, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The textbook's bootstrap: seeds are drawn with replacement, the same for all configs."""
    seeds = accuracies.shape[1]
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), SAMPLES) / seeds
    return pareto_fronts(weights @ accuracies.T, weights @ seconds.T).mean(axis=0)


def _one_scale(accuracies: np.ndarray, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The paired t bootstrap with one chi-squared scale for all configs."""
    numbers = [dict(enumerate(own)) for own in (*accuracies, *seconds)]
    samples = samples_of_means(numbers, [0] * len(numbers))
    return pareto_fronts(samples[:, : len(accuracies)], samples[:, len(accuracies) :]).mean(axis=0)


def _unpaired(accuracies: np.ndarray, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A t bootstrap that does not know which runs share a seed."""
    configs, seeds = accuracies.shape
    weights = rng.standard_normal((SAMPLES, configs, seeds))
    scale = np.sqrt(rng.chisquare(seeds - 1, (SAMPLES, configs)) * seeds)
    samples = [
        runs.mean(axis=1) + np.einsum("bcs,cs->bc", weights, runs - runs.mean(axis=1, keepdims=True)) / scale
        for runs in (accuracies, seconds)
    ]
    return pareto_fronts(*samples).mean(axis=0)


WAYS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "seeds redrawn": _seeds_redrawn,
    "paired t, one scale": _one_scale,
    "unpaired t": _unpaired,
    "paired t, own scales": lambda accuracies, seconds, rng: probabilities(accuracies, seconds),
}


# --- What is measured ---


def calibration(ways: list[str], seeds: int, suites: int) -> dict[str, dict[str, Any]]:
    """Compares what was said with what was true, by way to resample.

    Returns:
        `log_score`: minus the mean logarithm of the probability given to the truth, less is better; `bins`: of each bin
        of the stated probability the count, the mean of what was said and the share that was true.
    """
    rng = np.random.default_rng(seeds)
    said: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    true: list[np.ndarray] = []
    for spread, common in itertools.product(SPREADS, COMMON):
        for _ in range(suites):
            truth = random_truth(spread, rng)
            runs = truth.runs(seeds, common, rng)
            true.append(truth.front())
            for way in ways:
                said[way].append(WAYS[way](*runs, rng))
    truths = np.concatenate(true)
    return {way: _compared(np.concatenate(said[way]), truths) for way in ways}


def _compared(said: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    kept = (said * SAMPLES + 0.5) / (SAMPLES + 1)  # a probability of 0 would cost infinitely much
    bins = np.minimum(np.digitize(said, BINS) - 1, len(BINS) - 2)
    members = [bins == index for index in range(len(BINS) - 1)]
    return {
        "log_score": float(-np.log(np.where(true, kept, 1 - kept)).mean()),
        "bins": [
            {
                "from": low,
                "to": high,
                "count": int(inside.sum()),
                "said": float(said[inside].mean()) if inside.any() else None,
                "true": float(true[inside].mean()) if inside.any() else None,
            }
            for (low, high), inside in zip(itertools.pairwise(BINS), members, strict=True)
        ],
    }


PLANTED = {
    "sure member": (planted([0.90, 0.95], [100.0, 200.0]), 1),
    "surely dominated": (planted([0.90, 0.95], [200.0, 100.0]), 0),
    "equal accuracy, slower by 20 deviations": (planted([0.95, 0.95], [100.0, 300.0]), 1),
    "two equal configs": (planted([0.95, 0.95], [100.0, 100.0]), 0),
}


def probability_of(case: str, seeds: int, suites: int, common: float = 0.0) -> dict[str, float]:
    """Returns mean and tails of the probability given to a config with a planted lot."""
    truth, index = PLANTED[case]
    rng = np.random.default_rng(seeds)
    said = np.array([probabilities(*truth.runs(seeds, common, rng))[index] for _ in range(suites)])
    return {
        "mean": float(said.mean()),
        "under_5_percent": float((said < 0.05).mean()),
        "over_95_percent": float((said > 0.95).mean()),
    }


def price_coverage(gain: float, seeds: int, suites: int, common: float) -> dict[str, float]:
    """Returns how often a step's gain is decided, and how often intervals hold what was planted.

    Those are of the gain in all steps, and of gain and price in the decided ones, where there are twenty.

    Args:
        gain: true gain of accuracy, in deviations of one run.
    """
    true = gain * ACCURACY_SD
    truth = planted([0.9, 0.9 + true], [100.0, 150.0])
    rng = np.random.default_rng(seeds)
    held, decided = [], []
    while len(held) < suites:
        steps = judged_steps(*truth.runs(seeds, common, rng))
        if not steps:
            continue  # by these runs the second config gains nothing: there is no step to price
        [step] = steps
        held.append(_holds(step, "test_accuracy_gain", true))
        if step["verdict"] == BETTER:
            decided.append((held[-1], _holds(step, "cost_per_point", 0.01 * 50.0 / true)))
    found = {"gain_covered": float(np.mean(held)), "decided": len(decided) / suites}
    if len(decided) >= 20:
        found["decided_gain_covered"], found["price_covered"] = (float(one) for one in np.mean(decided, axis=0))
    return found


def chosen_steps(seeds: int, suites: int, common: float) -> dict[str, float]:
    """Returns the same of all steps that the runs themselves chose as a front, of random suites.

    `falsely_decided` is the share of the suites with a decided step that truly gains nothing.
    """
    rng = np.random.default_rng(seeds)
    held, prices, wrong = [], [], []
    for spread in SPREADS:
        for _ in range(suites):
            truth = random_truth(spread, rng)
            wrong.append(False)
            for step in judged_steps(*truth.runs(seeds, common, rng)):
                one, other = int(step["from_config_id"]), int(step["to_config_id"])
                gain = truth.accuracy[other] - truth.accuracy[one]
                held.append(_holds(step, "test_accuracy_gain", gain))
                if step["verdict"] == BETTER:
                    wrong[-1] |= bool(gain <= 0)
                    price = 0.01 * (truth.seconds[other] - truth.seconds[one]) / gain if gain > 0 else np.inf
                    prices.append(_holds(step, "cost_per_point", price))
    found = {"steps": len(held), "gain_covered": float(np.mean(held)), "falsely_decided": float(np.mean(wrong))}
    return found | {"decided": len(prices), "price_covered": float(np.mean(prices)) if prices else None}


def judged_steps(accuracies: np.ndarray, seconds: np.ndarray) -> list[dict[str, Any]]:
    """Returns the report's price list of runs, [configs, seeds], that were tested on no end of images."""
    runs = [
        MeasuredConfig("", str(config), str(config), tuple(_run(seed, value) for seed, value in enumerate(own)))
        for config, own in enumerate(accuracies)
    ]
    return prices_along(judged(accuracies, seconds), Family("accuracy", runs))


def _run(seed: int, accuracy: float) -> MeasuredRun:
    moment = "2026-01-01T00:00:00+00:00"
    return MeasuredRun(seed, "", "", accuracy, None, moment, moment, "", 10**12, True, Path())


def _holds(step: dict[str, Any], name: str, value: float) -> bool:
    """Tells whether the interval of a number of a step holds a value."""
    return step[f"{name}_low"] <= value <= step[f"{name}_high"]


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description="How far the front's probabilities and the prices can be believed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--suites", type=int, default=1000)
    arguments = parser.parse_args()
    suites = arguments.suites
    found: dict[str, Any] = {"suites": suites, "samples": SAMPLES, "configs": CONFIGS, "planted": {}, "prices": []}
    found["calibration"] = {str(seeds): calibration(list(WAYS), seeds, suites) for seeds in SEEDS}
    for case in PLANTED:
        found["planted"][case] = {str(seeds): probability_of(case, seeds, suites) for seeds in SEEDS}
    for gain, common, seeds in itertools.product((1.0, 2.0, 10.0), COMMON, SEEDS):
        coverage = price_coverage(gain, seeds, suites, common)
        found["prices"].append({"gain_in_deviations": gain, "common": common, "seeds": seeds, **coverage})
    found["chosen_steps"] = {str(seeds): chosen_steps(seeds, suites, 0.0) for seeds in SEEDS}
    text = json.dumps(found, indent=1)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
