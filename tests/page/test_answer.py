"""What the page says to take, and how sure it is."""

from __future__ import annotations

from typing import Any

import pytest

from harness.records.result import Inference
from harness.report.answer import Contender, advice, answer, how_sure, most_accurate, seconds_text, standing_by
from harness.report.budgets import BudgetChoice, budget_rows, budgets, latency_rows
from harness.report.epochs import Curve


def _table(fake: Any, numbers: dict[str, tuple[list[float], float]], **material: Any) -> Any:
    results = [
        fake.result(label, seed=seed, accuracy=value, seconds=seconds + seed / 10, config_id=label)
        for label, (own, seconds) in numbers.items()
        for seed, value in enumerate(own)
    ]
    return fake.report(results, **material).tables[0]


def test_the_answer_names_the_most_accurate_what_is_not_told_apart_and_the_fastest_of_them(fake: Any) -> None:
    table = _table(
        fake,
        {
            "slow, good": ([0.90, 0.92, 0.94], 100.0),
            "fast, good": ([0.93, 0.92, 0.90], 10.0),
            "fastest, bad": ([0.50, 0.52, 0.54], 1.0),
        },
    )
    first, second = answer(table)
    assert first == (
        "“slow, good” is the most accurate, with 92.00 ± 4.97 % of the test images right; "
        "3 seeds leave undecided whether it is better than “fast, good”."
    )
    assert second.startswith("“fast, good” is the fastest of these: 10.1 s of training, 9.9 times as fast as")
    assert "fastest, bad" not in second


def test_a_clear_winner_is_called_clear(fake: Any) -> None:
    first, second = answer(_table(fake, {"a": ([0.90, 0.92, 0.94], 100.0), "b": ([0.50, 0.52, 0.54], 1.0)}))
    assert first.endswith("of the test images right: better than the other.")
    assert second == "It takes 1.67 min of training."


def test_the_best_is_chosen_by_the_numbers_it_is_compared_by_so_the_family_is_all_pairs(fake: Any) -> None:
    """p = 0.004 by itself excludes; among the 55 pairs of eleven configs it does not."""
    near = ([0.89, 0.917, 0.898, 0.909, 0.936], 1.0)
    numbers = {"best": ([0.90, 0.93, 0.91, 0.92, 0.95], 1.0), "near": near}
    alone = most_accurate(_table(fake, numbers))
    assert alone and not alone.undecided
    among = most_accurate(_table(fake, numbers | {f"other {index}": near for index in range(10)}))
    assert among and "near" in [one.row.label for one in among.undecided]


def test_equivalent_is_within_the_margin_that_the_suite_states(fake: Any) -> None:
    numbers = {"a": ([0.9, 0.901, 0.899], 2.0), "b": ([0.9, 0.9005, 0.899], 1.0)}
    first = answer(_table(fake, numbers, margin=0.02))[0]
    assert first.endswith("of the test images right; equivalent within 2 points to “b”.")
    assert "undecided" in answer(_table(fake, numbers))[0]


def test_the_best_of_several_is_said_to_be_flattered_and_in_the_answer_where_that_matters(fake: Any) -> None:
    numbers = {name: ([0.90 + d, 0.91, 0.92 - d], 1.0) for name, d in (("a", 0.001), ("b", 0.0), ("c", -0.002))}
    table = _table(fake, numbers)
    assert table.first and table.first.flattery
    # residuals, d * (1, 0, -1) less their mean: squares 2 * (0.001333^2 + 0.000333^2 + 0.001667^2) over 2 * 2, root
    # over sqrt(3), times E(max of 3 normals) = 0.846284
    assert table.first.flattery == pytest.approx(0.846284 * (9.33333e-6 / 4 / 3) ** 0.5, rel=1e-3)
    notes = " ".join(table.every_note)
    assert "highest mean of 3 configs that may be equally good is biased upwards" in notes
    assert "by up to 0.075 points on average" in notes
    assert "too high" not in answer(table)[0]
    assert "its mean is too high by up to 0.075 points" in answer(_table(fake, numbers, margin=0.0001))[0]
    alone = _table(fake, {"a": ([0.90, 0.92, 0.94], 1.0), "b": ([0.50, 0.52, 0.54], 1.0)})
    assert alone.first and alone.first.flattery is None
    assert "biased upwards" not in " ".join(alone.every_note)


def test_one_seed_says_nothing(fake: Any) -> None:
    found = most_accurate(_table(fake, {"a": ([0.9], 1.0), "b": ([0.1], 1.0)}))
    assert found and not found.known
    assert len(found.unknown) == 1
    assert "by one run each" in answer(_table(fake, {"a": ([0.9], 1.0), "b": ([0.1], 1.0)}))[0]


def test_the_best_with_a_single_run_is_not_said_to_be_one_of_many_such(fake: Any) -> None:
    said = answer(_table(fake, {"a": ([0.9], 1.0), "b": ([0.1, 0.11, 0.12], 1.0)}))
    assert said[0].endswith("by one run, so nothing is known of it beside the others.") and "seeds: 3" not in said[1]


def test_the_seeds_that_are_named_are_those_in_common(fake: Any) -> None:
    many = [0.50, 0.51, 0.52, 0.49, 0.50, 0.51]
    told = answer(_table(fake, {"a": (many, 1.0), "b": (many[:3], 1.0), "c": ([0.4], 1.0)}))[0]
    assert "3 seeds leave undecided whether it is better than “a”" in told or "3 seeds leave undecided" in told, told
    assert "6 seeds" not in told
    assert "it is not known whether it is better than “c”, with too few seeds in common or other test images" in told


def test_configs_that_were_tested_on_other_images_get_no_verdict(fake: Any) -> None:
    accuracies = {"a": [0.90, 0.91, 0.92], "b": [0.50, 0.51, 0.52]}
    runs = [
        fake.result(label, config_id=label, seed=seed, accuracy=accuracy, fingerprint=label)
        for label, own in accuracies.items()
        for seed, accuracy in enumerate(own)
    ]
    rows = {row.label: row for row in fake.report(runs).tables[0].rows}
    contenders = [Contender(rows[label], dict(enumerate(own))) for label, own in accuracies.items()]
    standing = standing_by(contenders, 10_000, None)
    assert standing and [one.row.label for one in standing.unknown] == ["b"]
    assert "other test images" in how_sure(standing)


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ({"status": "failed"}, "no run has ended ok"),
        ({"rankable": False}, "synthetic data"),
        ({}, "nothing to compare it with"),
    ],
)
def test_where_there_is_no_answer_it_says_so(fake: Any, results: dict[str, Any], said: str) -> None:
    assert said in " ".join(answer(fake.report([fake.result(**results)]).tables[0]))


def _curves(fake: Any, curves: dict[str, list[Curve]], **material: Any) -> Any:
    results = [
        fake.result(label, seed=seed, accuracy=curve.accuracies[-1], seconds=curve.seconds[-1], config_id=label)
        for label, own in curves.items()
        for seed, curve in enumerate(own)
    ]
    return fake.report(results, curve_of=lambda run: curves[run.config_id][run.seed], **material).tables[0]


def test_a_budget_takes_what_is_best_by_then_and_not_at_the_end(fake: Any) -> None:
    curves = {
        "early": [Curve((10.0, 60.0), (0.70 + seed / 1000, 0.80 + seed / 1000)) for seed in range(3)],
        "late": [Curve((100.0, 250.0), (0.85 + seed / 1000, 0.95 + seed / 1000)) for seed in range(3)],
    }
    found = {one.seconds: one for one in budgets(_curves(fake, curves))}
    assert min(found) == 7.0
    assert found[7.0].standing is None
    assert found[7.0].standing is None
    assert advised(found[10.0]) == "Take “early”: 70.10 ± 0.25 % by then, the only one evaluated so soon."
    assert advised(found[60.0]) == "Take “early”: 80.10 ± 0.25 % by then, the only one evaluated so soon."
    assert advised(found[120.0]) == "Take “late”: 85.10 ± 0.25 % by then, better than all others."
    assert max(found) == 300.0
    assert [one.seconds for one in found.values() if one.whole] == [300.0]
    early = "Take “early”: 70.10 ± 0.25 % by 10 s, 80.10 ± 0.25 % by 1 min; then the only one evaluated so soon."
    late = "Take “late”: 85.10 ± 0.25 % by 2 min, 95.10 ± 0.25 % by 5 min; then better than all others."
    assert budget_rows(list(found.values())) == [("10 s to 1 min", early), ("2 min or more", late)]


def test_there_are_no_more_rows_than_can_be_read_and_the_longest_budgets_are_kept(fake: Any) -> None:
    ends = tuple(10.0 * 2**step for step in range(10))
    curves = {  # each in turn is the better one
        name: [Curve(ends, tuple(0.5 + 0.02 * (step + 2 * (step % 2 == own)) for step in range(10)))]
        for own, name in enumerate(("a", "b"))
    }
    found = budgets(_curves(fake, curves))
    rows = budget_rows(found)
    assert len(rows) == 8
    assert rows[-1][0] == "2 h or more"


def advised(then: BudgetChoice) -> str:
    assert then.standing
    return advice(then.standing)


def test_the_budget_of_the_suite_has_a_row_of_its_own(fake: Any) -> None:
    curves = {"a": [Curve((10.0, 60.0), (0.7, 0.8))], "b": [Curve((12.0, 61.0), (0.6, 0.9))]}
    found = budgets(_curves(fake, curves, budget_seconds=37.0))
    assert [budget for budget, _ in budget_rows(found)] == ["10 s to 30 s", "37 s", "45 s to 1 min", "2 min or more"]
    assert advised(found[-1]) == "Take “b”: 90.00 % by then, one seed: the uncertainty is not known."


def test_a_config_counts_once_all_its_seeds_were_evaluated(fake: Any) -> None:
    curves = {
        "uneven": [Curve((10.0,), (0.99,)), Curve((40.0,), (0.99,))],
        "even": [Curve((10.0,), (0.3,)), Curve((10.0,), (0.2,))],
    }
    found = {one.seconds: one for one in budgets(_curves(fake, curves))}
    for seconds, label in ((20.0, "even"), (45.0, "uneven")):
        standing_then = found[seconds].standing
        assert standing_then
        assert standing_then.best.row.label == label


def test_without_evaluations_on_record_a_run_counts_from_its_end(fake: Any) -> None:
    table = _table(fake, {"a": ([0.9, 0.91], 100.0), "b": ([0.8, 0.81], 10.0)})
    found = {one.seconds: one for one in budgets(table)}
    assert advised(found[15.0]).startswith("Take “b”")
    assert advised(found[120.0]).startswith("Take “a”")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1954, "0.195 s"), (0.001234, "0.0012 s"), (2.0, "2.00 s"), (100.0, "1.67 min"), (7300.0, "2.03 h")],
)
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_the_fastest_is_of_those_whose_times_count_where_some_do_not(fake: Any) -> None:
    numbers = {"a": ([0.90, 0.91, 0.92], 2.0), "b": ([0.90, 0.91, 0.919], 1.0), "c": ([0.90, 0.91, 0.918], 3.0)}
    results = _table(fake, numbers).rows
    runs = [run for row in results for run in row.runs]
    assert "is the fastest of these" in answer(fake.report(runs).tables[0])[1]
    for run in runs:
        if run.label == "c":
            run.disturbed = ["others computed"]
    assert "is the fastest of those whose times count" in answer(fake.report(runs).tables[0])[1]


def test_a_config_does_not_win_a_budget_for_want_of_others_whose_times_count(fake: Any) -> None:
    table = _table(fake, {"a": ([0.90, 0.91, 0.92], 2.0), "b": ([0.80, 0.81, 0.82], 1.0)})
    assert budgets(table)
    runs = [run for row in table.rows for run in row.runs]
    for run in runs:
        if run.label == "a":
            run.disturbed = ["others computed"]
    assert budgets(fake.report(runs).tables[0]) == []


def test_a_latency_takes_what_is_best_among_what_is_as_fast(fake: Any) -> None:
    numbers = {
        "small": ([0.80, 0.81, 0.79], 1.0),
        "slow": ([0.80, 0.79, 0.79], 1.0),
        "large": ([0.95, 0.96, 0.94], 9.0),
    }
    table = _table(fake, numbers)
    assert latency_rows(table) == []
    latencies = {"small": 0.002, "slow": 0.004, "large": 0.005}
    for row in table.rows:
        for run in row.runs:
            run.inference = Inference(latency_seconds=latencies[run.label])
    table = fake.report([run for row in table.rows for run in row.runs]).tables[0]
    assert latency_rows(table) == [
        ("2.00 ms or more", "Take “small”: 80.00 ± 2.48 %, undecided beside “slow”."),
        ("5.00 ms or more", "Take “large”: 95.00 ± 2.48 %, better than all others."),
    ]
