"""How often do races against a config, races for the fastest, and gates that stop early say something wrong?

    python benchmarks/method/stopping.py [--suites 10000] [--output results/method/stopping.json]

Each suite is drawn anew, in standard deviations of a run (sd). The decisions are those of `harness.statistics.race` and
`harness.compare`. A race against a config is wrong where it calls any config better or worse than the reference that
is not, or equivalent where it is as far away as the margin or farther. A race for the fastest is wrong where one of
the fastest of those leaves that are accurate enough. A gate is wrong where it fails by values alone although no loss
is above the limit, or passes before its last look although one is at the limit.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
from pairs import upper_limit
from race import LADDER, LOOKS, Case, simulate

from harness.compare import compared
from harness.compare.compared import Limit, check
from harness.compare.pair import ConfigPair
from harness.statistics.intervals import summarise
from harness.statistics.pairs import LEVEL
from harness.statistics.race import decide, spending

EQUAL = (0.0,) * 8
FARTHER = (0.0, *[-1.0] * 7)
GATE_LOOKS = (3, 5, 8)
BOTH = ", old and new"

AGAINST = [
    Case("8 equal", EQUAL),
    Case("2 equal", (0.0, 0.0)),
    Case("8 equal, margin 1 sd", EQUAL, margin=1.0),
    Case("8 equal, margin 2 sd", EQUAL, margin=2.0),
    Case("8 equal, skewed down", EQUAL, "skewed down"),
    Case("8 equal, one run of twenty collapses", EQUAL, "collapses"),
    Case("8 equal, 70 % of the variance the seed's", EQUAL, shared=0.7),
    Case("8 equal, the reference scatters 5 times as much", EQUAL, scatter=(5.0, *[1.0] * 7)),
    Case("8 equal, the reference scatters 5 times as much, skewed down", EQUAL, "skewed down", (5.0, *[1.0] * 7)),
    Case("7 as far below the reference as the margin, 1 sd", FARTHER, margin=1.0),
    Case("a ladder, 1 sd apart, below the reference", LADDER, margin=0.5),
    Case("a ladder around the reference, margin 1 sd", (0.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 0.0), margin=1.0),
]
FASTEST = [
    Case("8 equal in both, margin 20 sd", EQUAL, kind="fastest", margin=20.0, speeds=EQUAL),
    Case("2 equal in both, margin 20 sd", (0.0, 0.0), kind="fastest", margin=20.0, speeds=(0.0, 0.0)),
    Case("8 equal in both, margin 2 sd", EQUAL, kind="fastest", margin=2.0, speeds=EQUAL),
    Case("8 equal in both, accuracies skewed down", EQUAL, "skewed down", (), 0.0, 2.0, "fastest", EQUAL),
    Case(
        "8 equal in both, one scatters 5 times as much", EQUAL, "normal", (5.0, *[1.0] * 7), 0.0, 4.0, "fastest", EQUAL
    ),
    Case("the fastest as far behind as the margin, 2 sd", (0.0, -2.0), "normal", (), 0.0, 2.0, "fastest", (0.0, 2.0)),
    Case("the fastest just within the margin, 2 sd", (0.0, -1.999), "normal", (), 0.0, 2.0, "fastest", (0.0, 2.0)),
    Case("a ladder in time, equally accurate, margin 2 sd", EQUAL, "normal", (), 0.0, 2.0, "fastest", LADDER),
]


@dataclass(frozen=True)
class Gate:
    """A gate over configs whose losses lie so many sd from the limit; those above 0 are worse than is allowed."""

    name: str
    beyond: tuple[float, ...]
    noise: str = "normal"

    def draw(self, suites: int) -> np.ndarray:
        """Returns losses beside the limit, [suites, configs, seeds]."""
        losses = Case(self.name, self.beyond, self.noise.removesuffix(BOTH)).draw(suites)
        if self.noise.endswith(BOTH):
            zero = (0.0,) * len(self.beyond)
            old = Case(f"{self.name}, old", zero, self.noise.removesuffix(BOTH)).draw(suites)
            losses = np.array(self.beyond)[:, None] + (losses - np.array(self.beyond)[:, None] - old) / math.sqrt(2)
        return losses[:, :, : GATE_LOOKS[-1]]


GATES = [
    Gate("1 config at the limit", (0.0,)),
    Gate("4 configs at the limit", (0.0,) * 4),
    Gate("8 configs at the limit", (0.0,) * 8),
    Gate("1 config at the limit, old and new skewed up", (0.0,), "skewed up" + BOTH),
    Gate("4 configs at the limit, old and new skewed up", (0.0,) * 4, "skewed up" + BOTH),
    Gate("1 config at the limit, skewed up", (0.0,), "skewed up"),
    Gate("1 config at the limit, skewed down", (0.0,), "skewed down"),
    Gate("4 configs at the limit, skewed up", (0.0,) * 4, "skewed up"),
    Gate("4 configs at the limit, skewed down", (0.0,) * 4, "skewed down"),
    Gate("4 configs, one of them at the limit, the others 5 sd below", (0.0, -5.0, -5.0, -5.0)),
    Gate("1 config 1 sd below the limit", (-1.0,)),
    Gate("1 config 3 sd below the limit", (-3.0,)),
    Gate("1 config 1 sd above the limit", (1.0,)),
    Gate("1 config 3 sd above the limit", (3.0,)),
    Gate("4 configs, one of them 3 sd above the limit, the others 3 sd below", (3.0, -3.0, -3.0, -3.0)),
]


def main() -> None:
    """Simulates, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--suites", type=int, default=10_000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"level": LEVEL, "looks": LOOKS, "gate_looks": GATE_LOOKS, "suites": arguments.suites}
    kinds: dict[str, Iterator[dict[str, Any]]] = {
        "against": _rows(AGAINST, against, arguments.suites),
        "fastest": _rows(FASTEST, simulate, arguments.suites),
        "gates": _rows(GATES, gate, arguments.suites),
    }
    for kind, rows in kinds.items():
        found[kind] = []
        for row in rows:
            found[kind].append(row)
            sys.stdout.write(f"{kind}: {row}\n")
            sys.stdout.flush()
            if arguments.output:
                arguments.output.write_text(json.dumps(found, indent=1) + "\n")


def _rows(cases: list[Any], by: Callable[[Any, int], dict[str, Any]], suites: int) -> Iterator[dict[str, Any]]:
    for case in cases:
        yield {"case": case.name, **by(case, suites)}


def against(case: Case, suites: int) -> dict[str, Any]:
    """Returns how races against the first config go: how often any statement is wrong, the runs, and what was said."""
    values, wrong, runs, said = case.draw(suites), 0, [], Counter[str]()
    true = [mean - case.means[0] for mean in case.means]
    for suite in range(suites):
        staying, taken, before, is_wrong = tuple(range(len(true))), 0, 0, False
        own = np.full(values.shape[1:], np.nan)
        for look, alpha in zip(LOOKS, spending(LOOKS, LEVEL), strict=True):
            for one in staying:
                own[one, before:look] = values[suite, one, before:look]
            taken, before = taken + (look - before) * len(staying), look
            found = decide("best", own[:, :look], staying, alpha, margin=case.margin, against=0, last=look == LOOKS[-1])
            for left in found.leaving:
                said[left.why] += 1
                is_wrong |= not _holds(left.why, true[left.config], case.margin)
            staying = found.staying
            if found.ended:
                break
        wrong += is_wrong
        runs.append(taken)
    others = suites * (len(true) - 1)
    return {
        **_shares("wrong", wrong, suites),
        "runs": float(np.mean(runs)),
        "fixed_runs": len(true) * LOOKS[-1],
        "said": {why: count / others for why, count in said.items()},
    }


def _holds(why: str, difference: float, margin: float | None) -> bool:
    """Tells whether what was said of a config is true, which differs from the reference by so much."""
    if why == "equivalent":
        return margin is not None and abs(difference) < margin
    return difference < 0 if why == "worse" else difference > 0


def gate(case: Gate, suites: int) -> dict[str, Any]:
    """Returns how a gate goes that is asked until it is decided: how often it fails, passes before its last look, and
    the seeds that it takes; beside it one that is asked once.
    """
    values, fails, early, seeds, once = case.draw(suites), 0, 0, [], 0
    with mock.patch.object(compared, "detectable", lambda *_, **__: 0.0):  # is shown, and decides nothing
        for suite in range(suites):
            states, look = list[str](), 0
            for look in GATE_LOOKS:
                states = _states(values[suite, :, :look], GATE_LOOKS)
                if "fails" in states or "undecided" not in states:
                    break
            fails += "fails" in states
            early += "fails" not in states and look < GATE_LOOKS[-1]
            seeds.append(look)
            once += "fails" in _states(values[suite], ())
    return {
        **_shares("fails", fails, suites),
        **_shares("passes_early", early, suites),
        "seeds": float(np.mean(seeds)),
        "asked once": {"fails": once / suites, "seeds": GATE_LOOKS[-1]},
    }


def _states(losses: np.ndarray, looks: tuple[int, ...]) -> list[str]:
    """Returns what a gate on the time says of configs with these losses, [configs, seeds]; its limit is 0."""
    pairs = []
    for own in losses.tolist():
        side = SimpleNamespace(seeds=range(len(own)), died=(), label="made up")
        time = SimpleNamespace(difference=summarise(own))
        pairs.append(SimpleNamespace(a=side, b=side, time=time))
    return [one.state for one in check(cast("list[ConfigPair]", pairs), Limit("time", 0.0, looks))]


def _shares(name: str, count: int, of: int) -> dict[str, float]:
    return {name: count / of, f"{name}_upper_limit": upper_limit(count, of)}


if __name__ == "__main__":
    main()
