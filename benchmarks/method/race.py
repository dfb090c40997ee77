"""How often does a race throw out the best config, and how many runs does it take beside a fixed design?

    python benchmarks/method/race.py [--suites 10000] [--processes 2] [--output results/method/race.json]

Each suite is drawn anew: configs whose true means lie apart by so many standard deviations of a run (sd), with noise of
several kinds. The decisions are those of `harness.statistics.race`, which `harness run` takes. Wrong is a race in which
one of the truly best leaves; of several that are equally good any one counts. Beside them, on the first tenth of the
same suites: other ways to spend alpha, variances of each pair alone, the same tests at 5 % at every look, bounds that
hold at any time, and, where the package is there, AdaStop on a few.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from pairs import upper_limit
from scipy.special import ndtr, ndtri

from harness.statistics import race
from harness.statistics.pairs import LEVEL, PairwiseTests
from harness.statistics.race import decide, spending

LOOKS = (3, 5, 8, 12, 20)
WITH_ADASTOP = ("a ladder, 1 sd apart", "two best of 8, the others 3 sd worse", "8 equal")
MARGINS = (0.5, 1.0, 2.0)
LADDER, EQUAL, TWO_OF_8 = tuple(-float(step) for step in range(8)), (0.0,) * 8, (0.0, 0.0, *[-3.0] * 6)


@dataclass(frozen=True)
class Case:
    """True means and noise of a suite, in standard deviations of a run.

    Attributes:
        means: of the configs.
        noise: `normal`, `skewed up` or `skewed down` (exponential), or `collapses`: one run of twenty lies 10 sd lower.
        scatter: of each config; 1 by default.
        shared: share of the variance that is the seed's, the same for all configs.
        margin: None: none is called equivalent.
        kind: of the race.
        speeds: minus the logarithms of the train times, whose sd is 1 as well; for `front` and `fastest`.
    """

    name: str
    means: tuple[float, ...]
    noise: str = "normal"
    scatter: tuple[float, ...] = ()
    shared: float = 0.0
    margin: float | None = None
    kind: race.Kind = "best"
    speeds: tuple[float, ...] = ()

    def draw(self, suites: int) -> np.ndarray:
        """Returns values, [suites, configs, seeds]."""
        rng = np.random.default_rng([ord(letter) for letter in self.name])
        shape = (suites, len(self.means), LOOKS[-1])
        if self.noise.startswith("skewed"):
            own = (rng.exponential(size=shape) - 1) * (1 if self.noise == "skewed up" else -1)
        else:
            own = rng.standard_normal(shape) - 10.0 * (rng.random(shape) < 0.05) * (self.noise == "collapses")
        if self.scatter:
            own *= np.array(self.scatter)[:, None]
        seed = rng.standard_normal((suites, 1, LOOKS[-1]))
        return np.array(self.means)[:, None] + math.sqrt(1 - self.shared) * own + math.sqrt(self.shared) * seed

    def seconds(self, suites: int) -> np.ndarray | None:
        """Returns times, [suites, configs, seeds]."""
        if not self.speeds:
            return None
        noise = np.random.default_rng(len(self.name)).standard_normal((suites, len(self.means), LOOKS[-1]))
        return np.exp(-(np.array(self.speeds)[:, None] + noise))

    def right(self) -> list[int]:
        """Returns the configs that should not leave."""
        of, speeds = self.means, self.speeds or (0.0,) * len(self.means)
        if self.kind == "front":
            return [
                one
                for one in range(len(of))
                if not any(of[k] > of[one] and speeds[k] > speeds[one] for k in range(len(of)))
            ]
        among = [one for one in range(len(of)) if of[one] > max(of) - (self.margin or 0.0)] or [of.index(max(of))]
        if self.kind == "best":
            return [one for one in range(len(of)) if of[one] == max(of)]
        return [one for one in among if speeds[one] == max(speeds[k] for k in among)]


CASES = [
    Case("a ladder, 1 sd apart", LADDER),
    Case("a ladder, skewed up", LADDER, "skewed up"),
    Case("a ladder, skewed down", LADDER, "skewed down"),
    Case("a ladder, 70 % of the variance the seed's", LADDER, shared=0.7),
    Case("a ladder, 0.3 sd apart", tuple(0.3 * step for step in LADDER)),
    Case("two best of 8, the others 3 sd worse", TWO_OF_8),
    *[Case(f"two best of 8, margin {margin:g} sd", TWO_OF_8, margin=margin) for margin in MARGINS],
    Case("two best of 8, skewed down", TWO_OF_8, "skewed down"),
    Case("two best of 8 that scatter 5 times as much", TWO_OF_8, scatter=(5.0, 5.0, *[1.0] * 6)),
    Case("8 equal", EQUAL),
    *[Case(f"8 equal, margin {margin:g} sd", EQUAL, margin=margin) for margin in MARGINS],
    Case("8 equal, skewed up", EQUAL, "skewed up"),
    Case("8 equal, skewed down", EQUAL, "skewed down"),
    Case("8 equal, 70 % of the variance the seed's", EQUAL, shared=0.7),
    Case("8 equal, one scatters 10 times as much", EQUAL, scatter=(10.0, *[1.0] * 7)),
    Case("8 equal, half of them scatter 3 times as much", EQUAL, scatter=(*[3.0] * 4, *[1.0] * 4)),
    Case("8 equal, one run of twenty collapses", EQUAL, "collapses"),
    Case("16 equal, two scatter 5 times as much", (0.0,) * 16, scatter=(5.0, 5.0, *[1.0] * 14)),
    Case("4 equal, one scatters 5 times as much", (0.0,) * 4, scatter=(5.0, 1.0, 1.0, 1.0)),
    Case("2 equal", (0.0, 0.0)),
    Case("one of 8 better by 0.5 sd", (0.0, *[-0.5] * 7)),
    Case("one of 8 better by 0.5 sd, scatters 5 times as much", (0.0, *[-0.5] * 7), scatter=(5.0, *[1.0] * 7)),
    Case("one of 8 better by 1.5 sd", (0.0, *[-1.5] * 7)),
    Case("2 configs as far apart as the margin, 1 sd", (0.0, -1.0), margin=1.0),
    Case("front: 8 equal in both", EQUAL, kind="front", speeds=EQUAL),
    Case("front: a ladder in both", LADDER, kind="front", speeds=LADDER),
    Case("front: equally fast, a ladder in accuracy", LADDER, kind="front", speeds=EQUAL),
    Case("fastest: 8 equal in both, margin 20 sd", EQUAL, kind="fastest", margin=20.0, speeds=EQUAL),
    Case("fastest: 8 equal in both, margin 2 sd", EQUAL, kind="fastest", margin=2.0, speeds=EQUAL),
    Case("fastest: 8 equally accurate, a ladder in time, margin 2 sd", EQUAL, "normal", (), 0, 2.0, "fastest", LADDER),
    Case(
        "fastest: two equal, six faster ones as far behind as the margin, 2 sd",
        (0.0, 0.0, *[-2.0] * 6),
        kind="fastest",
        margin=2.0,
        speeds=(0.0, -1.0, *[2.0] * 6),
    ),
]


def main() -> None:
    """Simulates, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--suites", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"level": LEVEL, "looks": LOOKS, "suites": arguments.suites, "cases": []}
    found["seconds of a look over 1,000 configs and 20 seeds"] = large_look()
    with ProcessPoolExecutor(arguments.processes) as pool:
        for row in pool.map(of_case, CASES, itertools.repeat(arguments.suites)):
            found["cases"].append(row)
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
            if arguments.output:  # as it goes on: all of it takes half an hour and more
                arguments.output.write_text(json.dumps(found, indent=1) + "\n")


def of_case(case: Case, suites: int) -> dict[str, Any]:
    """Returns what is found in a case."""
    row = {"case": case.name, **simulate(case, suites)}
    if case.kind == "best" and case.margin is None:
        row["other rules"] = others(case, suites)
    return row


def simulate(
    case: Case,
    suites: int,
    alphas: Sequence[float] = spending(LOOKS, LEVEL),
    looks: Sequence[int] = LOOKS,
    by: Callable[..., race.Decision] = decide,
) -> dict[str, Any]:
    """Returns how a race goes over many suites."""
    values, seconds, right = case.draw(suites), case.seconds(suites), set(case.right())
    wrong, runs, ends = 0, [], Counter[str]()
    for suite in range(suites):
        staying, own, times, taken = tuple(range(len(case.means))), np.full(values.shape[1:], np.nan), None, 0
        if seconds is not None:
            times = own.copy()
        before = 0
        for look, alpha in zip(looks, alphas, strict=True):
            new = slice(before, look)
            for one in staying:
                own[one, new] = values[suite, one, new]
                if times is not None and seconds is not None:
                    times[one, new] = seconds[suite, one, new]
            taken += (look - before) * len(staying)
            before = look
            found = by(
                case.kind, own[:, :look], staying, alpha,
                margin=case.margin, seconds=None if times is None else times[:, :look], last=look == LOOKS[-1],
            )  # fmt: skip
            staying = found.staying
            if found.ended:
                ends[found.ended] += 1
                break
        wrong += not right <= set(staying)
        runs.append(taken)
    return {
        "suites": suites,
        "wrong": wrong / suites,
        "upper_limit": upper_limit(wrong, suites),
        "runs": float(np.mean(runs)),
        "fixed_runs": len(case.means) * LOOKS[-1],
        "ended": {end: count / suites for end, count in ends.items()},
    }


def others(case: Case, suites: int) -> dict[str, Any]:
    """Returns the error, the runs and how often the race is decided by other rules, on the first of the same suites."""
    few, share = max(1, suites // 10), np.array(LOOKS) / LOOKS[-1]
    fleming = 2 - 2 * ndtr(ndtri(1 - LEVEL / 2) / np.sqrt(share))
    pocock = LEVEL * np.log(1 + (math.e - 1) * share)
    found = {
        "Pocock's spending": simulate(case, few, np.diff([0.0, *pocock]).tolist()),
        "O'Brien and Fleming's spending": simulate(case, few, np.diff([0.0, *fleming]).tolist()),
        "5 % at each look": simulate(case, few, [LEVEL] * len(LOOKS)),
        "bounds that hold at any time, a look a seed": simulate(case, few, [LEVEL] * 18, range(3, 21), at_any_time),
    }
    with mock.patch.object(race, "moderated_variances", lambda values: (np.array([]), 0.0)):
        found["each pair's own variance"] = simulate(case, few)
    found |= {"a fixed design of all seeds": fixed(case, few), **adastop(case, max(1, suites // 500))}
    return {
        name: {"wrong": row["wrong"], "runs": row["runs"], "decided": row["ended"].get("decided", 0.0)}
        for name, row in found.items()
    }


def at_any_time(
    kind: race.Kind, values: np.ndarray, staying: Sequence[int], alpha: float, *, last: bool, **_: Any
) -> race.Decision:
    """Decides by e-processes, which may be looked at after any seed: Bonferroni over all pairs, two-sided.

    The Bayes factor of the t test with a normal prior of 1 sd for the effect, an e-process under its null hypothesis.

    Sources: M. Goenen et al., The Bayesian two-sample t test, Am. Stat. 59 (2005) 252; H. Wang, A. Ramdas,
    Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance, arXiv 2310.03722 (2023).
    """
    rest, pairs = list(staying), math.comb(len(staying), 2)
    n = values.shape[1]
    differences = values[rest][:, None] - values[rest]
    with np.errstate(invalid="ignore", divide="ignore"):
        t2 = n * differences.mean(2) ** 2 / differences.var(2, ddof=1)
    e = (1 + n) ** -0.5 * ((1 + t2 / (n - 1)) / (1 + t2 / ((n - 1) * (1 + n)))) ** (n / 2)
    beaten = ((e > pairs / alpha) & (differences.mean(2) > 0)).any(0)
    left = tuple(one for one, out in zip(rest, beaten, strict=True) if not out)
    return race.Decision((), left, "decided" if len(left) < 2 else "budget spent" if last else None)


def fixed(case: Case, suites: int) -> dict[str, Any]:
    """Returns the same of all seeds for all configs, by `harness.statistics.pairs`."""
    values, right, wrong, decided = case.draw(suites), set(case.right()), 0, 0
    for suite in range(suites):
        tests = PairwiseTests(values[suite])
        assert tests.best
        as_good = {tests.best.index, *tests.best.undecided}
        wrong += not right <= as_good
        decided += len(as_good) == 1
    return {"wrong": wrong / suites, "runs": len(case.means) * LOOKS[-1], "ended": {"decided": decided / suites}}


def adastop(case: Case, suites: int) -> dict[str, Any]:
    """Returns the same by AdaStop (T. Mathieu et al., TMLR 2024), which compares unpaired, by permutations; empty
    without its package. Its groups are of one size: four of five seeds.
    """
    try:
        from adastop import MultipleAgentsComparator  # type: ignore[import-not-found]
    except ImportError:
        return {}

    if case.name not in WITH_ADASTOP:
        return {}
    values, right, wrong, decided, runs = case.draw(suites), set(case.right()), 0, 0, []
    for suite in range(suites):
        comparator = MultipleAgentsComparator(n=5, K=4, B=1000, alpha=LEVEL, beta=0.01, seed=suite)
        places, taken = range(len(case.means)), {}
        for seeds in range(5, LOOKS[-1] + 1, 5):
            inside = places if seeds == 5 else sorted({int(one) for one in np.ravel(comparator.current_comparisons)})
            taken |= dict.fromkeys(inside, seeds)
            comparator.partial_compare({str(one): values[suite, one, :seeds] for one in places}, verbose=False)
            if comparator.is_finished:
                break
        out = set[int]()
        for pair, word in comparator.decisions.items():
            one, other = map(int, pair.strip("[]").split())
            out |= {"larger": {other}, "smaller": {one}}.get(word, set())
        wrong += bool(right & out)
        decided += len(out) == len(places) - 1
        runs.append(sum(taken.values()))
    name = f"AdaStop, {suites} suites"
    return {name: {"wrong": wrong / suites, "runs": float(np.mean(runs)), "ended": {"decided": decided / suites}}}


def large_look() -> float:
    """Returns how many seconds a look over 1,000 configs and 20 seeds takes."""
    values = np.random.default_rng(0).standard_normal((1000, 20))
    started = time.perf_counter()
    decide("best", values, range(1000), LEVEL / 5, margin=0.5)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
