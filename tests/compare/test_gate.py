"""The regression gate."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from harness.compare.compared import Limit, check
from harness.compare.pair import ConfigPair, compare
from harness.compare.show import check_sentence
from harness.errors import HarnessError
from harness.results.measured import measured_configs
from harness.statistics.power import Noise, detectable
from tests.compare.made import config
from tests.report.conftest import make_result

STEADY = [100.0, 101.0, 99.0, 100.4, 99.7]


def slower(by: float, noise: float = 0.002, seeds: int = 5, stream: int = 0) -> ConfigPair:
    """Returns a new config that takes so much longer than the old one, give or take."""
    rng = random.Random(stream)
    old = [100 * (1 + rng.gauss(0, noise)) for _ in range(seeds)]
    new = [100 * (1 + by) * (1 + rng.gauss(0, noise)) for _ in range(seeds)]
    a = config("new", [0.9 + seed / 1000 for seed in range(seeds)], new, train={"epochs": 1})
    b = config("old", [0.901 + seed / 1200 for seed in range(seeds)], old, train={"epochs": 2})
    return compare(a, b, 120.0, test_images=False)


def state(comparison: ConfigPair, at_most: float) -> str:
    [found] = check([comparison], Limit("time", at_most))
    return found.state


def test_fails_beyond_the_limit_and_the_noise_only() -> None:
    assert state(slower(0.05), 0.02) == "fails"
    assert state(slower(0.0), 0.02) == "passes"
    assert state(slower(0.021, noise=0.02), 0.02) == "passes", "beyond the limit, but not beyond the noise"
    assert state(slower(-0.5), 0.02) == "passes"


def test_bound_is_students_one_sided() -> None:
    comparison = slower(0.03)
    [found] = check([comparison], Limit("time", 0.02))
    logs = [math.log((one.a.train_seconds or 0.0) / (one.b.train_seconds or 1.0)) for one in comparison.time.pairs]
    test: Any = stats.ttest_1samp(logs, found.limit.threshold, alternative="greater")
    assert found.p == pytest.approx(test.pvalue)
    assert found.bound == pytest.approx(test.confidence_interval(0.95).low)


@pytest.mark.parametrize("truth", [0.0, 0.02])
def test_false_alarms_are_rare(truth: float) -> None:
    alarms = sum(state(slower(truth, noise=0.01, stream=stream), 0.02) == "fails" for stream in range(400))
    assert alarms <= stats.binom.ppf(0.999, 400, 0.05 if truth else 0.001)
    if truth:
        assert alarms >= stats.binom.ppf(0.001, 400, 0.05), "exactly at the limit it is one in twenty"


def test_what_would_have_been_found_is_found() -> None:
    [found] = check([slower(0.0, noise=0.01)], Limit("time", 0.02))
    assert found.worse.sd
    assert found.detectable == pytest.approx(math.log(1.02) + detectable(Noise(found.worse.sd), 5, sides=1))
    true_deviation = 0.01 * math.sqrt(2)
    by = math.expm1(found.limit.threshold + detectable(Noise(true_deviation), 5, sides=1))
    alarms = sum(state(slower(by, noise=0.01, stream=stream), 0.02) == "fails" for stream in range(400))
    low, high = stats.binom.interval(0.999, 400, 0.8)
    assert low <= alarms <= high
    assert "would have been found 8 times of 10" in check_sentence(found)


def test_accuracy_in_points() -> None:
    worse = [0.905, 0.9, 0.9055, 0.9021, 0.9]
    old = config("old", [one + 0.03 for one in worse], STEADY, train={"epochs": 2})
    new = config("new", [*worse[:-1], worse[-1] + 0.001], STEADY, train={"epochs": 1})
    comparison = compare(new, old, 120.0, test_images=False)
    assert [one.state for one in check([comparison], Limit("accuracy", 0.003))] == ["fails"]
    assert [one.state for one in check([comparison], Limit("accuracy", 0.04))] == ["passes"]
    [found] = check([comparison], Limit("accuracy", 0.003))
    text = check_sentence(found)
    assert text.startswith(
        "FAILS: “new” is less accurate than “old” by more than 0.3 points (a loss of 2.98 points, one-sided"
    )


def test_seeds_that_are_alike_are_taken_at_their_word() -> None:
    same = [0.9, 0.91, 0.92]
    a, b = (config(name, same, [100.0] * 3, train={"epochs": epochs}) for epochs, name in ((1, "a"), (2, "b")))
    assert state(compare(a, b, 120.0, test_images=False), 0.0) == "passes"
    slow = config("a", same, [103.0] * 3, train={"epochs": 1})
    assert state(compare(slow, b, 120.0, test_images=False), 0.02) == "fails"


def test_seeds_of_the_new_one_that_died_fail_the_gate() -> None:
    """Three of five that diverged are no loss of the other two's mean, and a regression all the same."""
    results = [
        make_result("new", seed=seed, accuracy=0.9 + seed / 1000, status="ok" if seed < 2 else "diverged")
        for seed in range(5)
    ]
    [new] = measured_configs("milestones", {results[0].config_id: "new"}, results, Path())
    old = config("old", [0.9 + seed / 1000 for seed in range(5)], train={"epochs": 2})
    [found] = check([compare(new, old, 120.0, test_images=False)], Limit("accuracy", 0.003))
    assert (found.state, found.died) == ("fails", (2, 3, 4))
    assert check_sentence(found).startswith(
        "FAILS: “new”: 3 seeds did not end ok (2 ok, 3 diverged), and of “old” they did."
    )
    [other] = check([compare(old, new, 120.0, test_images=False)], Limit("accuracy", 0.003))
    assert other.state == "passes", "what died before is no fault of the new one"


def test_many_configs_share_one_chance_of_a_false_alarm() -> None:
    many = [slower(0.022, stream=stream) for stream in range(8)]
    alone = [state(one, 0.02) for one in many]
    together = [one.state for one in check(many, Limit("time", 0.02))]
    assert together.count("fails") <= alone.count("fails")
    p_values = [one.p for one in check(many, Limit("time", 0.02))]
    assert all(one is not None for one in p_values)


def test_a_gate_that_cannot_see_is_not_green() -> None:
    with pytest.raises(HarnessError, match="--fail-if-slower cannot be decided for 'new' by one seed"):
        check([slower(0.0, seeds=1)], Limit("time", 0.02))
    a, b = config("a", [0.9] * 3, train={"epochs": 1}), config("b", [0.9] * 3, train={"epochs": 2}, system_id="other")
    with pytest.raises(
        HarnessError, match="--fail-if-slower cannot be decided for 'a': run times of different systems"
    ):
        check([compare(a, b, 120.0, test_images=False)], Limit("time", 0.02))


LOOKS = (3, 5, 8)


def until_decided(by: float, noise: float, stream: int) -> tuple[str, int]:
    """The state of a gate that is asked at its looks until it is decided, and after how many seeds."""
    whole = slower(by, noise, LOOKS[-1], stream)
    for seeds in LOOKS:
        a, b = (dataclasses.replace(one, runs=one.runs[:seeds]) for one in (whole.a, whole.b))
        [found] = check([compare(a, b, 120.0, test_images=False)], Limit("time", 0.02, LOOKS))
        if found.state != "undecided":
            return found.state, seeds
    raise AssertionError("it is decided at the last look")


def test_asked_again_until_it_is_decided_it_stops_early_and_is_no_more_often_wrong() -> None:
    ends = [until_decided(0.0, 0.004, stream) for stream in range(60)]
    assert {state for state, _ in ends} == {"passes"}
    assert sum(seeds for _, seeds in ends) < 0.8 * 8 * len(ends)
    ends = [until_decided(0.06, 0.004, stream) for stream in range(60)]
    assert {state for state, _ in ends} == {"fails"}
    assert sum(seeds for _, seeds in ends) < 0.8 * 8 * len(ends)
    alarms = sum(until_decided(0.02, 0.01, stream)[0] == "fails" for stream in range(400))
    assert stats.binom.ppf(0.001, 400, 0.02) <= alarms <= stats.binom.ppf(0.999, 400, 0.05), "exactly at the limit"


def test_between_two_looks_it_is_not_asked() -> None:
    with pytest.raises(HarnessError, match="--until-decided 3, 5, 8: 'new' has 4 seeds") as caught:
        check([slower(0.0, seeds=4)], Limit("time", 0.02, LOOKS))
    assert "--set seeds=5" in caught.value.hint


def test_it_says_how_many_seeds_it_wants() -> None:
    [found] = check([slower(0.02, noise=0.01, seeds=3)], Limit("time", 0.02, LOOKS))
    assert found.state == "undecided"
    assert check_sentence(found).endswith("3 seeds); run 5 seeds of both.")
    [last] = check([slower(0.02, noise=0.01, seeds=8)], Limit("time", 0.02, LOOKS))
    assert last.state == "passes", "as a gate that is asked once"
