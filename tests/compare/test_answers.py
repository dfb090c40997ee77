"""Verdicts, and the sentence for each question that has none."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.compare.pair import ConfigPair, compare
from harness.compare.show import sentence
from harness.records.result import Inference
from harness.records.store import run_folder
from harness.results.answers import Family, as_one_family
from harness.results.measured import MeasuredConfig, measured_configs
from harness.statistics.crossed import largest_image_noise
from tests.compare.made import IMAGES, config, write_predictions
from tests.marked import MARKING
from tests.report.conftest import make_result, store

A = [0.92, 0.95, 0.91, 0.94, 0.93]
B = [0.88, 0.90, 0.88, 0.89, 0.89]
SLOW = [100.0, 101.0, 99.0, 100.5, 100.2]


def compared(a: list[float], b: list[float], *seconds: list[float], **more: Any) -> ConfigPair:
    """Compares two configs that differ in their epochs."""
    times = dict(zip(("a", "b"), seconds, strict=False))
    one = config("a", a, times.get("a"), train={"epochs": 1})
    other = config("b", b, times.get("b"), train={"epochs": 2}, **more)
    return compare(one, other, 120.0, test_images=False)


def test_a_is_more_accurate_and_b_is_faster() -> None:
    found = compared(A, B, SLOW, [0.9 * one + 0.01 * index for index, one in enumerate(SLOW)])
    # differences 4, 5, 3, 5, 4 points: mean 4.2, sd 0.83666, on 10,000 images, whose predictions were not kept
    assert found.accuracy.verdict == "a" and found.accuracy.difference and not found.accuracy.predictions_kept
    over_images = float(largest_image_noise(np.array([mean(A), mean(B)]), 10_000).shared[0, 1])
    half = math.hypot(2.7764451 * 0.0083666 / math.sqrt(5), stats.t.ppf(0.975, 9999) * math.sqrt(over_images))
    assert found.accuracy.difference.ci95 == pytest.approx(half, rel=1e-5)
    expected = "“a” is more accurate than “b” by 4.20 points (95 % interval 2.89 to 5.51, 5 seeds, p < 0.001)."
    assert sentence(found, found.accuracy) == expected
    assert found.time.verdict == "b"
    assert sentence(found, found.time).startswith(
        "“b” is faster than “a”: x 0.900 of its train time (95 % interval 0.900 to "
    )


def test_latencies_of_networks_in_use_are_shown_where_one_system_measured_them() -> None:
    def timed(label: str, seconds: float, system: str, epochs: int) -> MeasuredConfig:
        inference = Inference(latency_seconds=seconds)
        return config(label, A, train={"epochs": epochs}, inference=inference, system_id=system)

    one, other, elsewhere = timed("a", 0.002, "s", 1), timed("b", 0.005, "s", 2), timed("b", 0.005, "t", 2)
    [found] = compare(one, other, 120.0, test_images=False).metrics
    assert (found.name, found.declared.unit, found.declared.better) == ("latency", "ms", "lower")
    assert found.difference.mean == pytest.approx(-3.0) and found.seeds == (0, 1, 2, 3, 4)
    assert not compare(one, elsewhere, 120.0, test_images=False).metrics


def test_swapped_they_say_the_same_of_the_other() -> None:
    found = compared(B, A)
    assert found.accuracy.verdict == "b"
    assert sentence(found, found.accuracy).startswith(
        "“b” is more accurate than “a” by 4.20 points (95 % interval 2.89 to 5.51,"
    )


def test_what_is_undecided_says_how_many_seeds_would_decide_it() -> None:
    found = compared([0.91, 0.92, 0.90, 0.915, 0.905], [0.908, 0.915, 0.905, 0.91, 0.905])
    assert found.accuracy.verdict == "undecided"
    text = sentence(found, found.accuracy)
    assert text.startswith("Accuracy is undecided: “a” - “b” = +0.14 points (95 % interval -")
    assert text.endswith("; not even 1,000 seeds on 10,000 test images would decide a difference of this size.")
    assert found.accuracy.detectable and found.accuracy.detectable > 0.005
    found = compared(A, B, SLOW, [1.002 * one + index % 2 for index, one in enumerate(SLOW)])
    assert found.time.seeds_for_power and all(found.time.seeds_for_power)
    low, high = found.time.seeds_for_power
    told = f"; a difference of this size needs between {low} and {high} fresh seeds (95 % interval)"
    assert told in sentence(found, found.time)


def test_of_few_seeds_only_the_least_number_that_would_decide_it_may_be_known() -> None:
    found = compared(A[:3], B[:3], SLOW[:3], [one + 20 * (-1) ** index for index, one in enumerate(SLOW[:3])])
    assert found.time.verdict == "undecided" and found.time.seeds_for_power
    assert found.time.seeds_for_power[1] is None
    assert f"at least {found.time.seeds_for_power[0]} fresh seeds" in sentence(found, found.time)


def test_among_many_comparisons_it_takes_more_seeds_to_decide_one() -> None:
    times = [SLOW, [one + (-1) ** index for index, one in enumerate(SLOW)], [3 * one for one in SLOW]]
    configs = [
        config(name, A, own, train={"epochs": 1 + i}) for i, (name, own) in enumerate(zip("abc", times, strict=True))
    ]
    alone, table, named = Family("time", configs[:2]), Family("time", configs), Family("time", configs, to=0)
    found = [family.answer(0, 1).seeds_for_power for family in (alone, named, table)]
    lows = [one[0] or 0 for one in found if one]
    assert len(lows) == 3 and lows == sorted(set(lows)), "of one, two and three comparisons"
    apart = as_one_family([alone.answer(0, 1)] * 3)[0].seeds_for_power
    assert apart and apart[0] == lows[2]


def test_two_seeds_say_not_how_many_would_decide_it() -> None:
    found = compared([0.91, 0.92], [0.908, 0.915])
    text = sentence(found, found.accuracy)
    assert "is undecided" in text and "two seeds do not tell how many would decide it" in text


def test_one_seed_has_a_difference_and_no_verdict() -> None:
    found = compared([0.91], [0.90])
    for one in found.answers:
        assert (one.verdict, one.p, one.reason) == (None, None, "one seed in common: no interval, no verdict")
    expected = "Accuracy, no verdict: “a” - “b” = +1.00 points; one seed in common: no interval, no verdict."
    assert sentence(found, found.accuracy) == expected
    assert sentence(found, found.time).startswith("Train time, no verdict: “a” / “b” = x 1.000; one seed in common")


def test_seeds_that_all_differ_by_the_same_leave_no_noise() -> None:
    found = compared([0.91, 0.92], [0.905, 0.915], [100.0, 200.0], [50.0, 100.0])
    assert found.time.verdict is None and "no noise to judge by" in found.time.reason
    assert found.accuracy.verdict == "undecided", "there is still the noise of the test images"
    same = compared([0.91, 0.92], [0.91, 0.92], SLOW[:2], SLOW[:2])
    assert same.time.verdict == "undecided" and sentence(same, same.time).endswith("; the same at every seed.")


def test_only_common_seeds_count_and_the_others_are_named() -> None:
    a = config("a", A, first_seed=1, train={"epochs": 1})
    found = compare(a, config("b", [0.5, *B], train={"epochs": 2}), 120.0, test_images=False)
    assert [pair.seed for pair in found.accuracy.pairs] == [1, 2, 3, 4, 5]
    assert sentence(found, found.accuracy).startswith("“a” is more accurate than “b” by 4.20 points")
    assert "Seeds that only one of them has are left out: 0." in found.cautions


def test_no_common_seed_and_no_run() -> None:
    found = compared([0.9, 0.9], [0.9, 0.9], first_seed=7)
    assert found.accuracy.reason == found.time.reason == "no seed in common: those of 'a' are 0, 1 and of 'b' are 7, 8"
    failed = compared([0.9, 0.9], [0.9, 0.9], status="oom")
    assert failed.accuracy.reason == "no run of 'b' ended ok: 2 oom"


def test_runs_that_did_not_end_well_are_named() -> None:
    results = [make_result("b", seed=seed, accuracy=0.9, status="ok" if seed else "diverged") for seed in range(3)]
    [b] = measured_configs("milestones", {results[0].config_id: "b"}, results, Path())
    found = compare(config("a", [0.9, 0.91, 0.92], train={"epochs": 1}), b, 120.0, test_images=False)
    assert [pair.seed for pair in found.accuracy.pairs] == [1, 2]
    assert "Of “b” the runs ended 2 ok, 1 diverged; only those that are ok count." in found.cautions


def test_different_test_images_refuse_accuracy_and_not_time() -> None:
    found = compared(A, B, fingerprint="beef")
    assert found.accuracy.reason == "they were tested on different images (another data fingerprint)"
    assert sentence(found, found.accuracy).startswith("Accuracy is not compared: they were tested on different images")
    assert found.time.verdict == "undecided"
    assert any("learnt from different data" in caution for caution in found.cautions)


def test_synthetic_data_refuse_accuracy_and_not_time() -> None:
    found = compared(A, B, rankable=False)
    assert found.accuracy.reason == "accuracy on synthetic data means nothing"
    assert found.time.verdict == "undecided"


def test_another_environment_is_told_unless_the_number_of_processes_is_its_reason() -> None:
    one, two = ({"OMP_NUM_THREADS": threads} for threads in "12")
    a = config("a", [0.9, 0.91, 0.92], train={"epochs": 1}, environment=one)
    told = "Train time: A ran in another environment than B (OMP_NUM_THREADS 1, not 2), and that is in the difference."
    for processes in (1, 2):
        b = config("b", [0.9, 0.91, 0.92], train={"epochs": 2}, environment=two, num_processes=processes)
        assert (told in compare(a, b, 120.0, test_images=False).cautions) == (processes == 1)


def test_different_systems_refuse_time_and_not_accuracy() -> None:
    found = compared(A, B, system_id="other")
    assert found.time.reason == "run times of different systems do not compare (a1b2c3, other)"
    assert found.accuracy.verdict == "a"
    assert "Accuracy, seeds 0, 1, 2, 3, 4: the two ran on different systems." in found.cautions


def test_of_several_systems_the_one_that_both_share_is_taken() -> None:
    results = [
        make_result("b", seed=seed, accuracy=0.9 + seed / 100, seconds=seconds, system_id=system, train={"epochs": 2})
        for system, seconds in (("a1b2c3", 100.0), ("other", 1.0))
        for seed in range(3)
    ]
    [b] = measured_configs("milestones", {results[0].config_id: "b"}, results, Path())
    found = compare(config("a", [0.91, 0.92, 0.93], train={"epochs": 1}), b, 120.0, test_images=False)
    assert {pair.b.system_id for pair in found.time.pairs} == {"a1b2c3"}
    assert found.time.verdict == "undecided"


def test_of_two_systems_that_both_share_the_one_with_more_seeds_is_taken() -> None:
    def on_both(label: str, epochs: int) -> Any:
        results = [
            make_result(label, seed=seed, accuracy=0.9 + seed / 100, system_id=system, train={"epochs": epochs})
            for system, seeds in (("a", 1), ("b", 3))
            for seed in range(seeds)
        ]
        return measured_configs("milestones", {results[0].config_id: label}, results, Path())[0]

    found = compare(on_both("a", 1), on_both("b", 2), 120.0, test_images=False)
    assert [(pair.a.system_id, pair.b.system_id) for pair in found.accuracy.pairs] == [("b", "b")] * 3
    assert len(found.time.pairs) == 3


def test_anchors_do_not_count() -> None:
    results = [make_result("b", seed=seed, accuracy=0.9 + seed / 100, seconds=100.0) for seed in range(2)]
    anchor = make_result("b", seed=0, accuracy=0.5, seconds=1.0)
    anchor.spec["repeat"] = 1
    assert anchor.is_anchor
    [b] = measured_configs("milestones", {results[0].config_id: "b"}, [*results, anchor], Path())
    assert [(run.seed, run.accuracy, run.train_seconds) for run in b.runs] == [(0, 0.9, 100.0), (1, 0.91, 100.0)]


@pytest.mark.parametrize("marking", MARKING.values(), ids=MARKING)
def test_times_of_marked_runs_do_not_count_and_their_accuracy_does(marking: dict[str, Any]) -> None:
    found = compared(A, B, **marking)
    assert found.time.reason.startswith("no seed has a train time of both")
    assert found.accuracy.verdict == "a"


def test_pairs_that_did_not_run_side_by_side_are_named() -> None:
    near = compared(A, B)
    assert not any("side by side" in caution for caution in near.cautions)
    far = compared(A[:2], B[:2], ended_at="2026-01-01T00:00:01.000+00:00")
    assert not any("side by side" in caution for caution in far.cautions)
    late = config("b", B, train={"epochs": 2})
    runs = tuple(
        type(run)(
            **{**vars(run), "started_at": f"2026-01-02T0{index}:00:00+00:00", "ended_at": "2026-01-02T09:00:00+00:00"}
        )
        for index, run in enumerate(late.runs)
    )
    found = compare(
        config("a", A, train={"epochs": 1}), type(late)(**{**vars(late), "runs": runs}), 120.0, test_images=False
    )
    [caution] = [one for one in found.cautions if "side by side" in one]
    assert (
        "seeds 0, 1, 2, 3, 4" in caution
        and "up to 28 h apart" in caution
        and "round over the plan takes 2 min" in caution
    )


def stored(label: str, right: list[int], root: Path, epochs: int, **more: Any) -> MeasuredConfig:
    """Returns a config whose predictions lie on disk."""
    results = [make_result(label, seed=seed, accuracy=0.9, train={"epochs": epochs}) for seed in range(len(right))]
    for result in results:
        assert result.data
        result.data.test_samples = IMAGES
    store(root, results)
    for result, count in zip(results, right, strict=True):
        write_predictions(run_folder(root, result.suite, result.run_id, result.system_id).path, count, **more)
    [found] = measured_configs("milestones", {results[0].config_id: label}, results, root)
    return found


def test_the_networks_are_compared_by_their_stored_predictions(tmp_path: Path) -> None:
    a, b = stored("a", [190, 188, 186], tmp_path, 1), stored("b", [150, 150, 150], tmp_path, 2)
    comparison = compare(a, b, 120.0)
    found = comparison.networks
    assert found and found.difference and (len(found.pairs), found.images) == (3, IMAGES)
    assert found.difference.mean == pytest.approx((40 + 38 + 36) / 3 / IMAGES)
    assert found.p and found.p < 0.001
    text = sentence(comparison, found)
    assert text.startswith("These networks, other images: they differ, “a” - “b” = +19.00 points (95 % interval ")
    assert text.endswith("200 images, p < 0.001). It says nothing of other seeds.")
    assert comparison.accuracy.predictions_kept, "and their variance over the images is in the verdict"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "predictions.npz is missing"),
        (lambda path: path.write_bytes(b"no archive"), "predictions.npz cannot be read"),
        (lambda path: write_predictions(path.parent, 100, images=IMAGES - 1), "are of 200 and of 199 test images"),
    ],
)
def test_predictions_that_are_missing_or_of_another_length(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    a, b = stored("a", [190, 188], tmp_path, 1), stored("b", [150, 150], tmp_path, 2)
    spoil(min((tmp_path / "milestones").glob(f"{b.config_id}-*/*/predictions.npz")))
    found = compare(a, b, 120.0)
    assert found.networks and found.networks.p is None and message in found.networks.reason and found.networks.hint
    assert sentence(found, found.networks).startswith("These networks were not compared on their test images: ")
    assert not found.accuracy.predictions_kept
    assert any("the largest that it can be" in caution for caution in found.cautions)


def test_a_record_that_claims_any_number_of_images_takes_no_memory() -> None:
    configs = [
        dataclasses.replace(one, runs=tuple(dataclasses.replace(run, test_samples=10**12) for run in one.runs))
        for one in (config("a", [0.9, 0.91, 0.9]), config("b", [0.8, 0.81, 0.82], config_id="b"))
    ]
    assert Family("accuracy", configs).answer(0, 1).verdict == "a"


def test_a_table_is_corrected_over_what_it_could_have_compared() -> None:
    table = [
        config("best", [0.95, 0.951, 0.949], train={"epochs": 1}),
        config("near", [0.945, 0.9478, 0.9462], train={"epochs": 2}),
        config("far", [0.80, 0.82, 0.81], train={"epochs": 3}),
    ]
    accuracy = Family("accuracy", table)
    first = accuracy.tests.best
    assert first and first.index == 0
    alone = compare(table[1], table[0], 0.0, test_images=False).accuracy
    named, by_all = Family("accuracy", table, to=0).answer(1, 0), accuracy.answer(1, 0)
    assert alone.p == named.p == by_all.p and alone.p_corrected is None
    assert named.p_corrected and by_all.p_corrected and alone.p
    assert alone.p <= named.p_corrected <= by_all.p_corrected
    far, third = accuracy.answer(2, 0).p, accuracy.answer(1, 2).p
    assert far and third
    assert named.p_corrected == pytest.approx(max(alone.p, 2 * far))
    assert by_all.p_corrected == pytest.approx(max(alone.p, 2 * sorted((far, third))[1], 3 * min(far, third)))


def test_separate_pairs_are_a_family_too() -> None:
    answers = [compared(A, B).accuracy, compared(B, B).accuracy, compared([0.9], [0.8]).accuracy]
    found = as_one_family(answers)
    assert [one.verdict for one in found] == ["a", "undecided", None]
    assert found[0].p and found[0].p_corrected == pytest.approx(2 * found[0].p)


def test_equivalent_is_within_the_margin_of_the_suite_only() -> None:
    near = [0.9000, 0.9002, 0.9001, 0.8999, 0.9]
    a, b = config("a", near, train={"epochs": 1}), config("b", near[::-1], train={"epochs": 2})
    assert compare(a, b, 120.0, test_images=False).accuracy.verdict == "undecided"
    found = compare(a, b, 120.0, margin=0.02, test_images=False)
    assert found.accuracy.verdict == "equivalent"
    assert sentence(found, found.accuracy).startswith("Accuracy is equivalent within 2 points: “a” - “b” = ")
    assert compare(a, b, 120.0, margin=0.001, test_images=False).accuracy.verdict == "undecided"


def test_configs_of_one_label_are_told_apart_by_their_suites() -> None:
    a = config("mlp, sgd", A, train={"epochs": 1})
    b = dataclasses.replace(config("mlp, sgd", B, train={"epochs": 2}), suite="other")
    found = compare(a, b, 120.0, test_images=False)
    text = sentence(found, found.accuracy)
    assert text.startswith("“milestones:mlp, sgd” is more accurate than “other:mlp, sgd” by 4.20 points")
