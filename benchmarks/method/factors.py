"""Whether the intervals of main effects and interactions keep what they promise, on data with planted effects.

    python benchmarks/method/factors.py [--simulations 1000] [--output results/method/factors.json]

Four kinds of noise, in units of the scatter of one run:
independent   every run scatters alone, all alike
seed          a seed shifts all its runs alike, by twice that scatter
uneven        the second level of the first factor scatters five times as much
shared        runs of one seed that share the first factor's level share half of their variance: the same first weights
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from harness.factorial.effects import Term, model_of, terms_of
from harness.factorial.fraction import choose_fraction
from harness.report.factors.estimates import Estimate, estimate
from harness.statistics.significance import holm

NOISES = ("independent", "seed", "uneven", "shared")
Levels = tuple[int, ...]


def main() -> None:
    """Simulates, prints and stores."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.simulations)
    text = json.dumps(found, indent=1)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text + "\n")
    sys.stdout.write(text + "\n")


def measure(simulations: int) -> dict[str, Any]:
    """Returns all shares of the simulations, as docs/method.md has them; "methods" are of four times as many."""
    found: dict[str, Any] = {"simulations": simulations}
    found["methods"] = {
        f"{seeds} seeds": {kind: compare_methods(seeds, kind, 4 * simulations) for kind in NOISES}
        for seeds in (2, 3, 4, 5)
    }
    found["coverage"] = {
        f"{seeds} seeds": {kind: coverage((2, 4, 2), seeds, kind, simulations) for kind in NOISES}
        for seeds in (2, 3, 5)
    }
    found["coverage_of_nothing"] = {
        f"{seeds} seeds": {kind: coverage((2, 4, 2), seeds, kind, simulations, size=0.0) for kind in NOISES}
        for seeds in (2, 3, 5)
    }
    found["coverage_with_missing_runs"] = {
        f"{seeds} seeds": {
            kind: coverage((2, 2, 2), seeds, kind, simulations, missing=0.1) for kind in ("independent", "shared")
        }
        for seeds in (3, 5)
    }
    found["false_positives"] = {
        f"{seeds} seeds": {kind: false_positives(seeds, kind, simulations) for kind in NOISES} for seeds in (3, 5)
    }
    found["found"] = {
        f"{size:g} deviations": {f"{seeds} seeds": power(seeds, size, simulations) for seeds in (3, 5)}
        for size in (2.0, 4.0, 8.0)
    }
    found["fractional"] = {f"{seeds} seeds": fractional(seeds, simulations) for seeds in (3, 5)}
    return found


def grid(levels: Levels) -> Any:
    """Returns all cells, an array [cells, factors]."""
    return np.array(list(itertools.product(*map(range, levels))))


def noise(rng: np.random.Generator, kind: str, cells: Any, seeds: int) -> Any:
    """Returns noise, an array [cells, seeds]; see the head of this file."""
    alone = rng.normal(size=(len(cells), seeds))
    if kind == "seed":
        return alone + 2 * rng.normal(size=(1, seeds))
    if kind == "uneven":
        return alone * np.where(cells[:, :1] == 1, 5.0, 1.0)
    if kind == "shared":
        return math.sqrt(0.5) * (alone + rng.normal(size=(cells[:, 0].max() + 1, seeds))[cells[:, 0]])
    return alone


def planted(rng: np.random.Generator, levels: Levels, terms: Sequence[Term], cells: Any) -> tuple[Any, dict[Term, Any]]:
    """Returns the truth of each cell, and the weights of each term's columns, drawn at random."""
    model, places = model_of(cells, levels, terms)
    weights = rng.normal(size=model.shape[1])
    return model @ weights, {term: weights[place] for term, place in places.items()}


def covers(one: Estimate, weights: dict[Term, Any]) -> bool:
    """Tells whether the interval of an effect holds the planted difference between the very levels that it names."""
    assert one.contrast is not None and one.value is not None and one.half_width is not None
    return bool(abs(one.value - one.contrast.row @ weights[one.term]) <= one.half_width)


def compare_methods(seeds: int, kind: str, simulations: int) -> dict[str, float]:
    """Returns how often four 95 % intervals of one main effect hold the truth (2 x 2 x 2 cells)."""
    rng = np.random.default_rng([1, seeds, NOISES.index(kind)])
    levels = (2, 2, 2)
    cells, terms = grid(levels), terms_of(levels)
    model, _ = model_of(cells, levels, terms)
    x = np.tile(model, (seeds, 1))  # a constant for each seed is taken out of y; the columns are balanced
    inverse = np.linalg.inv(x.T @ x)
    freedom = len(x) - seeds - x.shape[1]
    clusters = seeds / (seeds - 1) * (len(x) - 1) / (len(x) - x.shape[1])
    hits = dict.fromkeys(("residuals", "clusters_normal", "clusters_t", "leave_one_seed_out"), 0)
    for _ in range(simulations):
        values = noise(rng, kind, cells, seeds)
        y = (values - values.mean(0)).T.reshape(-1)
        weights = inverse @ x.T @ y
        residuals = y - x @ weights
        scores = (x * residuals[:, None]).reshape(seeds, len(cells), -1).sum(1)
        pooled = math.sqrt(residuals @ residuals / freedom * inverse[0, 0])
        clustered = math.sqrt((inverse @ scores.T @ scores @ inverse * clusters)[0, 0])
        size = abs(weights[0])
        hits["residuals"] += size <= stdtrit(freedom, 0.975) * pooled
        hits["clusters_normal"] += size <= 1.959964 * clustered
        hits["clusters_t"] += size <= stdtrit(seeds - 1, 0.975) * clustered
        [ours] = estimate(cells, values, levels, terms, [(0,)]).effects
        hits["leave_one_seed_out"] += abs(ours.value or 0.0) <= (ours.half_width or 0.0)
    return {name: int(count) / simulations for name, count in hits.items()}


def coverage(
    levels: Levels, seeds: int, kind: str, simulations: int, *, size: float = 1.0, missing: float = 0.0
) -> dict[str, float]:
    """Returns how often the intervals hold what was planted, for each effect.

    Args:
        size: of what is planted; where there is nothing, noise alone picks the largest difference.
        missing: share of all runs that are missing.
    """
    rng = np.random.default_rng([2, seeds, NOISES.index(kind)])
    cells, terms = grid(levels), terms_of(levels)
    hits, counted = dict.fromkeys(terms, 0), dict.fromkeys(terms, 0)
    for _ in range(simulations):
        truth, weights = planted(rng, levels, terms, cells)
        weights = {term: size * own for term, own in weights.items()}
        values = size * truth[:, None] + noise(rng, kind, cells, seeds)
        values[rng.random(values.shape) < missing] = np.nan
        for one in estimate(cells, values, levels, terms).effects:
            if one.half_width is not None:
                hits[one.term] += covers(one, weights)
                counted[one.term] += 1
    return {" x ".join("abc"[index] for index in term): hits[term] / counted[term] for term in terms}


def false_positives(seeds: int, kind: str, simulations: int) -> dict[str, float]:
    """Returns how often any effect that is not there is found, among 2 x 2 x 4 cells, after Holm.

    "nothing": no effect is there; "main effects": large ones are, and no interaction.
    """
    rng = np.random.default_rng([3, seeds, NOISES.index(kind)])
    levels = (2, 2, 4)
    cells, terms = grid(levels), terms_of(levels)
    wrong = {"nothing": 0, "main effects": 0}
    for _ in range(simulations):
        values = noise(rng, kind, cells, seeds)
        wrong["nothing"] += bool(_found(cells, values, levels, terms))
        main = terms_of(levels)[: len(levels)]
        truth, _ = planted(rng, levels, main, cells)
        beside = _found(cells, values + 20 * truth[:, None], levels, terms)
        wrong["main effects"] += any(len(term) == 2 for term in beside)
    return {name: count / simulations for name, count in wrong.items()}


def power(seeds: int, size: float, simulations: int) -> float:
    """Returns how often an interaction is found after Holm, among 2 x 2 x 2 cells.

    Args:
        size: how much a factor's effect changes between another's levels, in deviations of a single run.
    """
    rng = np.random.default_rng([4, seeds, round(size)])
    levels = (2, 2, 2)
    cells, terms = grid(levels), terms_of(levels)
    truth = size * (cells[:, 0] * cells[:, 1])
    runs = (truth[:, None] + noise(rng, "seed", cells, seeds) for _ in range(simulations))
    return sum((0, 1) in _found(cells, values, levels, terms) for values in runs) / simulations


def fractional(seeds: int, simulations: int) -> dict[str, float]:
    """Returns how a sixteenth of 2^8 x 3 configs recovers planted main effects, beside planted interactions.

    "coverage": of the main effects' intervals; "bias": the largest mean error of one, in deviations of a single run;
    "named": the share of aliased interactions that were given no number.
    """
    rng = np.random.default_rng([5, seeds])
    levels = (*[2] * 8, 3)
    chosen = np.array(choose_fraction(levels).cells)
    terms = terms_of(levels)
    mains = [term for term in terms if len(term) == 1]
    hits, errors = 0, np.zeros((simulations, len(mains)))
    lost = 0
    for simulation in range(simulations):
        truth, weights = planted(rng, levels, terms, chosen)
        values = truth[:, None] + noise(rng, "shared", chosen, seeds)
        effects = estimate(chosen, values, levels, terms).effects
        for at, one in enumerate(effects[: len(mains)]):
            hits += covers(one, weights)
            assert one.contrast is not None and one.value is not None
            errors[simulation, at] = one.value - one.contrast.row @ weights[one.term]
        lost = sum(one.value is None for one in effects)
    return {
        "configs": len(chosen),
        "of": math.prod(levels),
        "coverage": hits / simulations / len(mains),
        "bias": float(np.abs(errors.mean(0)).max()),
        "interactions_without_a_number": lost,
    }


def _found(cells: Any, values: Any, levels: Levels, terms: Sequence[Term]) -> list[Term]:
    effects = estimate(cells, values, levels, terms).effects
    ps = holm([1.0 if one.p is None else one.p for one in effects])
    return [one.term for one, p in zip(effects, ps, strict=True) if p < 0.05]


if __name__ == "__main__":
    main()
