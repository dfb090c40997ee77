"""The front with its uncertainty, what dominates the others, and the price list."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy
import pytest
from scipy import stats

from harness.records.result import Energy, Inference
from harness.report.charts.accuracy_over_cost import accuracy_over_cost
from harness.report.formats import rows_of_files, summary_rows
from harness.report.fronts import BETTER, COSTS, TIME, front_of
from harness.statistics.fronts import pareto_front, pareto_fronts, samples_of_means
from harness.statistics.intervals import ratio_interval, summarise

# Config -> (accuracy, seconds) of its seeds.
Runs = dict[str, list[tuple[float, float]]]


def _results(fake: Any, runs: Runs, **options: Any) -> list[Any]:
    return [
        fake.result(label, seed=seed, accuracy=accuracy, seconds=seconds, config_id=label, **options)
        for label, own in runs.items()
        for seed, (accuracy, seconds) in enumerate(own)
    ]


def _rows(fake: Any, runs: Runs) -> dict[str, dict[str, Any]]:
    return {row["label"]: row for row in summary_rows(fake.report(_results(fake, runs)))}


SURE: Runs = {
    "fast": [(0.900, 10.0), (0.902, 10.1), (0.901, 10.2)],
    "good": [(0.950, 20.0), (0.951, 20.3), (0.952, 20.1)],
    "beaten": [(0.850, 30.0), (0.851, 30.2), (0.852, 30.1)],
}


def test_fronts_of_samples_agree_with_the_front_of_points_with_many_ties() -> None:
    rng = numpy.random.default_rng(0)
    accuracy, cost = rng.integers(0, 6, (2, 300, 12)) / 4.0
    fronts = pareto_fronts(accuracy, cost)
    for index in range(len(accuracy)):
        assert fronts[index].tolist() == pareto_front(list(zip(accuracy[index], cost[index], strict=True)))


def test_samples_of_means_are_t_around_the_mean() -> None:
    values = [0.1, 0.5, 0.3, 0.2]
    samples = samples_of_means([dict(enumerate(values))], [0], 200_000)[:, 0]
    expected = stats.t.interval(0.95, 3, loc=numpy.mean(values), scale=stats.sem(values))
    assert numpy.quantile(samples, [0.025, 0.975]) == pytest.approx(expected, abs=0.003)


def test_with_one_scale_a_difference_is_the_paired_t_test() -> None:
    rng = random.Random(3)
    one = [rng.gauss(0, 1) for _ in range(4)]
    other = [value + rng.gauss(0.3, 0.4) for value in one]
    samples = samples_of_means([dict(enumerate(one)), dict(enumerate(other))], [0, 0], 200_000)
    share = float((samples[:, 1] <= samples[:, 0]).mean())
    assert share == pytest.approx(stats.ttest_rel(one, other, alternative="less").pvalue, abs=0.003)


def test_sure_places(fake: Any) -> None:
    rows = _rows(fake, SURE)
    assert [rows[label]["on_front"] for label in SURE] == [True, True, False]
    assert rows["fast"]["front_probability"] > 0.95
    assert rows["good"]["front_probability"] > 0.95
    assert rows["beaten"]["front_probability"] < 0.05


def test_the_same_records_give_the_same_report_in_whatever_order_they_are_read(fake: Any) -> None:
    rng = random.Random(1)
    runs: Runs = {f"c{i}": [(rng.gauss(0.9, 0.01), rng.gauss(10, 1)) for _ in range(3)] for i in range(6)}
    results = _results(fake, runs)
    found = [
        {row["label"]: row["front_probability"] for row in summary_rows(fake.report(order, sort=sort))}
        for order, sort in ((results, "test_accuracy"), (results[::-1], "train_seconds"))
    ]
    assert found[0] == found[1]
    assert any(0.05 < share < 0.95 for share in found[0].values())


def test_one_seed_has_no_probability_and_the_table_says_so(fake: Any) -> None:
    report = fake.report(_results(fake, {label: own[:1] for label, own in SURE.items()}))
    assert {row["front_probability"] for row in summary_rows(report)} == {None}
    assert "The uncertainty of the front is not known with one seed." in report.tables[0].every_note
    assert "front_probability" not in [column.name for column in report.tables[0].shown()]


def test_what_a_single_run_decides_has_no_probability(fake: Any) -> None:
    runs: Runs = {**SURE, "once": [(0.97, 15.0)]}
    report = fake.report(_results(fake, runs))
    rows = {row["label"]: row for row in summary_rows(report)}
    assert rows["fast"]["front_probability"] > 0.95
    assert [rows[label]["front_probability"] for label in ("good", "beaten", "once")] == [None, None, None]
    notes = "\n".join(report.tables[0].every_note)
    assert "The uncertainty of the front is not known with one seed (“once”)." in notes
    assert "as it depends on a config with one timed seed: “good”, “beaten”." in notes


def test_systems_and_synthetic_data_take_no_part(fake: Any) -> None:
    results = _results(fake, SURE)
    elsewhere = [fake.result("x", seed=s, accuracy=0.99, seconds=1.0, config_id="x", system_id="s2") for s in range(2)]
    made_up = [fake.result("y", seed=s, accuracy=1.0, seconds=0.1, config_id="y", rankable=False) for s in range(2)]
    rows = {row["label"]: row for row in summary_rows(fake.report([*results, *elsewhere, *made_up]))}
    assert rows["fast"]["front_probability"] > 0.95
    assert rows["x"]["front_probability"] == 1.0
    assert (rows["y"]["front_probability"], rows["y"]["on_front"]) == (None, None)


def test_resumed_runs_count_for_accuracy_but_not_for_time(fake: Any) -> None:
    results = _results(fake, SURE)
    resumed = results[0].model_copy(update={"resumed_at_steps": [5]})
    [place] = [
        p for p in front_of(fake.report([resumed, *results[1:]]).tables[0].rows, TIME).places if p.row.label == "fast"
    ]
    assert (len(place.accuracies), len(place.payments)) == (3, 2)
    assert place.paid.mean == pytest.approx(10.15)
    assert place.probability is not None


def test_the_price_list_goes_along_the_front(fake: Any) -> None:
    [step] = rows_of_files(fake.report(_results(fake, SURE)))["prices"]
    assert (step["from_label"], step["to_label"], step["verdict"]) == ("fast", "good", BETTER)
    assert step["test_accuracy_gain"] == pytest.approx(0.05)
    assert step["cost_increase"] == pytest.approx(10.0333, abs=1e-3)
    assert step["cost_per_point"] == pytest.approx(10.0333 / 5, abs=1e-3)
    assert step["cost_per_point_low"] < step["cost_per_point"] < step["cost_per_point_high"]


def test_the_interval_of_a_quotient_is_fiellers() -> None:
    rng = numpy.random.default_rng(2)
    together = rng.normal(0, 0.3, 5)
    above, below = 10 + together + rng.normal(0, 0.5, 5), 3 + together + rng.normal(0, 0.2, 5)
    tops, bottoms = summarise(list(above)), summarise(list(below))
    assert tops and bottoms
    found = ratio_interval(tops, bottoms, list(zip(above, below, strict=True)))
    assert found
    for end in found:  # there the paired test of "above is r times below" is just significant
        test: Any = stats.ttest_1samp(above - end * below, 0)
        assert test.pvalue == pytest.approx(0.05)
    assert found[0] < tops.mean / bottoms.mean < found[1]


def test_a_quotient_by_what_may_be_nothing_has_no_interval() -> None:
    tops, bottoms = summarise([1.0, 2.0, 3.0]), summarise([-0.1, 0.1, 0.2])
    assert tops and bottoms
    assert ratio_interval(tops, bottoms, []) is None


def test_a_gain_that_the_answer_leaves_undecided_has_no_price(fake: Any) -> None:
    runs: Runs = {
        "a": [(0.900, 10.0), (0.910, 10.1), (0.905, 10.2)],
        "b": [(0.912, 20.0), (0.904, 20.2), (0.904, 20.1)],
    }
    report = fake.report(_results(fake, runs))
    [step] = rows_of_files(report)["prices"]
    assert (step["verdict"], step["cost_per_point"]) == ("undecided", None)
    assert step["cost_per_point_low"] is step["cost_per_point_high"] is None
    assert step["test_accuracy_gain_low"] < 0 < step["test_accuracy_gain_high"]
    shown = {column.name: column.cells for column in report.tables[0].prices.columns}
    assert (shown["verdict"], shown["price"]) == (["undecided"], ["-"])
    assert shown["gain"][0].startswith("-") and shown["gain"][0].endswith(" points"), (
        "the ends, and no mean between them"
    )


def test_a_step_has_the_verdict_of_the_family_however_sure_it_is_by_itself(fake: Any) -> None:
    near: Runs = {
        "a": [(0.900, 10.0), (0.902, 10.1), (0.901, 10.2)],
        "b": [(0.917, 20.0), (0.916, 20.3), (0.920, 20.1)],
    }
    [step] = rows_of_files(fake.report(_results(fake, near)))["prices"]
    assert step["verdict"] == BETTER
    rng = random.Random(5)
    beaten = {f"c{i}": [(0.88 + rng.gauss(0, 0.001), 30.0 + i) for _ in range(3)] for i in range(30)}
    report = fake.report(_results(fake, near | beaten))
    [step] = rows_of_files(report)["prices"]
    first = report.tables[0].first
    assert first.best.row.label == "b" and "a" in {one.row.label for one in first.undecided}
    assert step["verdict"] == "undecided"


def test_with_one_seed_there_is_no_price_list(fake: Any) -> None:
    report = fake.report(_results(fake, {label: own[:1] for label, own in SURE.items()}))
    assert report.tables[0].prices is None


def test_a_front_of_one_has_no_prices(fake: Any) -> None:
    report = fake.report(_results(fake, {"a": SURE["good"]}))
    assert report.tables[0].prices is None
    assert rows_of_files(report)["prices"] == []


def test_the_latency_of_networks_in_use_has_columns_a_front_and_prices_in_milliseconds(fake: Any) -> None:
    results = _results(fake, SURE)
    latency = {"fast": 0.0021, "good": 0.0061, "beaten": 0.0011}
    for result in results:
        median = latency[result.label] + 1e-5 * result.seed
        result.inference = Inference(latency_seconds=median, samples_per_second=1e4, batch_size=2**result.seed)
    report = fake.report(results)
    rows = {row["label"]: row for row in summary_rows(report)}
    assert rows["fast"]["latency_seconds_mean"] == pytest.approx(0.00211)
    assert rows["fast"]["latency_p99_seconds_mean"] is None and rows["fast"]["inference_batch_size"] == 4
    assert all(rows[label]["latency_front_probability"] > 0.95 for label in SURE), "the least accurate is the fastest"
    assert [step["cost"] for step in rows_of_files(report)["prices"]] == ["train_seconds", *["latency_seconds"] * 2]
    table = report.tables[0]
    shown = {column.name: column for column in table.ranking.columns}["latency_seconds"]
    assert shown.title == "latency" and "2.11 ± 0.02 ms" in shown.cells
    assert {column.name: column.cells for column in table.prices.columns}["price"][2] == "0.694 to 0.944 ms"
    chart = accuracy_over_cost(table, COSTS[3])
    assert chart and "Latency (ms" in json.dumps(fake.spec(chart))


def test_energy_and_memory_have_fronts_and_prices_of_their_own(fake: Any) -> None:
    results = _results(fake, SURE)
    for result in results:
        good = result.label == "good"
        result.energy = Energy(train_joules=5_000.0 + 10 * result.seed + 1_000 * good)
        result.memory.max_allocated_bytes = 2**30 if good else 2**31  # the good one needs less: no step to pay
    report = fake.report(results)
    rows = {row["label"]: row for row in summary_rows(report)}
    assert rows["fast"]["energy_front_probability"] > 0.95
    assert rows["fast"]["memory_front_probability"] < 0.05 < 0.95 < rows["good"]["memory_front_probability"]
    assert [step["cost"] for step in rows_of_files(report)["prices"]] == ["train_seconds", "train_joules"]
    shown = {column.name: column.cells for column in report.tables[0].prices.columns}
    assert shown["cost"] == ["train time", "energy"]
    assert shown["price"][1] == "173 to 236 J"


def test_the_chart_tells_sure_places_from_unsure_ones(fake: Any) -> None:
    runs: Runs = {
        **SURE,
        "near": [(0.949, 19.5), (0.953, 20.7), (0.949, 20.4)],
        "apart": [(0.80, 5.0), (0.801, 5.1), (0.802, 5.2)],
    }
    table = fake.report(_results(fake, runs)).tables[0]
    places = {one.row.label: one.sureness for one in table.fronts[0].places}
    assert places == {"fast": "sure", "good": "unsure", "beaten": "off", "near": "perhaps", "apart": "sure"}
    spec = fake.spec(accuracy_over_cost(table))
    assert {point["label"]: point["place"] for point in spec["datasets"]["points"]} == places
    labels = " ".join(label["text"] for label in spec["datasets"]["labels"])
    probability = next(row.values["front_probability"] for row in table.rows if row.label == "good")
    assert f"({100 * probability:.0f}\u00a0%)" in labels
    assert "Dashed outlines" in " ".join(spec["title"]["subtitle"])


def test_a_seed_that_ran_twice_on_other_data_counts_as_two(fake: Any) -> None:
    runs = _results(fake, {"a": [(0.90, 10.0)]}) + _results(fake, {"a": [(0.92, 11.0)]}, run_id="on other data")
    (place,) = front_of(fake.report(runs).tables[0].rows, TIME).places
    assert sorted(place.accuracies.values()) == [0.90, 0.92] and place.accuracy.mean == pytest.approx(0.91)
    assert place.has_spread


def test_one_seed_that_is_just_as_good_hides_nobodys_probability(fake: Any) -> None:
    rows = _rows(fake, {"several": [(0.875, 9.0), (0.875, 11.0)], "single": [(0.875, 10.0)]})
    assert rows["several"]["on_front"] and rows["single"]["on_front"]
    assert rows["several"]["front_probability"] == 1.0
    assert (
        _rows(fake, {"several": [(0.875, 9.0), (0.875, 11.0)], "single": [(0.875, 9.5)]})["several"][
            "front_probability"
        ]
        is None
    )


def test_between_equals_on_the_front_nothing_has_a_price(fake: Any) -> None:
    equal = [(0.75, 10.0), (0.75, 10.0)]
    report = fake.report(_results(fake, {"a": equal, "b": equal, "c": [(0.5, 5.0), (0.51, 5.1)]}))
    assert [row.values["on_front"] for row in report.tables[0].rows] == [True] * 3
    (step,) = rows_of_files(report)["prices"]
    assert step["from_label"] == "c" and step["to_label"] in ("a", "b")


def test_an_undecided_step_is_shown_faintly(fake: Any) -> None:
    noisy = {
        "near": [(0.900, 10.0), (0.904, 10.1), (0.902, 10.2)],
        "far": [(0.905, 20.0), (0.899, 20.2), (0.904, 20.1)],
    }
    for runs, verdict in ((SURE, BETTER), (noisy, "undecided")):
        prices = fake.report(_results(fake, runs)).tables[0].prices
        assert [record["verdict"] for record in prices.records] == [verdict]
        assert prices.faint == (verdict == "undecided",)
