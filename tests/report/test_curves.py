"""Accuracy over train time, at a budget, and the time to a target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.records.result import TargetReached
from harness.records.store import run_folder
from harness.report.charts.lines import curves as curves_chart
from harness.report.epochs import Curve, curve_of, mean_curve
from harness.report.formats import summary_rows
from harness.report.tables import Report
from harness.statistics.intervals import CensoredMedian

EVENT = {"event": "epoch", "metrics": {}}


def _epochs(*accuracies: float | None, seconds: float = 10.0) -> dict[int, dict[str, Any]]:
    metrics = [{} if value is None else {"test": {"accuracy": value}} for value in accuracies]
    return {epoch: {"train_seconds": seconds, "metrics": own} for epoch, own in enumerate(metrics)}


def _report(fake: Any, curves: dict[str, list[Curve]], budget: float | None, *, required: bool = False) -> Report:
    results = [
        fake.result(label, seed=seed, accuracy=curve.accuracies[-1], seconds=curve.seconds[-1], config_id=label)
        for label, own in curves.items()
        for seed, curve in enumerate(own)
    ]
    given = {"asked_seconds" if required else "budget_seconds": budget}
    return fake.report(results, **given, curve_of=lambda run: curves[run.config_id][run.seed])


def _notes(report: Report) -> str:
    return "\n".join(report.tables[0].every_note)


def _reached(seconds: float | None, metric: str = "test.accuracy") -> TargetReached:
    return TargetReached(metric=metric, at_least=0.9, epoch=None if seconds is None else 1, train_seconds=seconds)


def test_a_curve_adds_up_train_time_alone_and_skips_epochs_that_were_not_evaluated() -> None:
    assert curve_of(_epochs(0.5, None, 0.7)) == Curve((10.0, 30.0), (0.5, 0.7))
    assert curve_of(_epochs(None)) is None
    assert curve_of({}) is None


def test_a_time_that_is_not_on_record_leaves_no_curve_and_an_accuracy_no_point() -> None:
    event = {"train_seconds": 1.0, "metrics": {"test": {"accuracy": 0.5}}}
    for odd in ({"metrics": {"test": {"loss": 1.0}}}, {"metrics": {"test": {"accuracy": None}}}, {"metrics": {}}, {}):
        assert curve_of({0: {"train_seconds": 1.0, **odd}, 1: event}) == Curve((2.0,), (0.5,))
    assert curve_of({0: event, 1: {**event, "train_seconds": None}}) is None


def test_a_lost_event_leaves_no_curve_rather_than_a_wrong_one() -> None:
    whole = _epochs(0.5, 0.6, 0.7)
    assert curve_of({number: event for number, event in whole.items() if number != 1}) is None
    assert curve_of({**whole, 1: {"metrics": {"test": {"accuracy": 0.6}}}}) is None


@pytest.mark.parametrize(
    ("seconds", "accuracy"), [(9.9, None), (10.0, 0.5), (19.9, 0.5), (20.0, 0.6), (30.0, 0.55), (1e9, 0.55)]
)
def test_accuracy_holds_from_one_evaluation_to_the_next(seconds: float, accuracy: float | None) -> None:
    assert Curve((10.0, 20.0, 30.0), (0.5, 0.6, 0.55)).at(seconds) == accuracy


def test_the_mean_curve_is_always_over_the_same_seeds() -> None:
    mean = mean_curve([Curve((10.0, 20.0), (0.4, 0.6)), Curve((12.0, 24.0), (0.6, 0.8))])
    assert [seconds for seconds, _ in mean] == [12.0, 20.0, 24.0]
    assert [accuracy for _, accuracy in mean] == pytest.approx([0.5, 0.6, 0.7])


def test_accuracy_at_a_budget_is_over_the_seeds_that_were_evaluated_by_then(fake: Any) -> None:
    curves = {
        "early": [Curve((10.0, 20.0), (0.5, 0.9)), Curve((12.0, 24.0), (0.6, 0.9))],
        "late": [Curve((16.0,), (0.8,)), Curve((14.0,), (0.7,))],
    }
    report = _report(fake, curves, 15.0)
    rows = {row["label"]: row for row in summary_rows(report)}
    assert rows["early"]["accuracy_at_budget_mean"] == pytest.approx(0.55)
    assert rows["early"]["accuracy_at_budget_n"] == 2
    assert (rows["late"]["accuracy_at_budget_mean"], rows["late"]["accuracy_at_budget_n"]) == (0.7, 1)
    assert [rows[label]["evaluated_by_budget"] for label in ("early", "late")] == ["2 of 2", "1 of 2"]
    assert "test accuracy at 15 s" in [column.title for column in report.tables[0].shown()]
    assert "evaluated_by_budget" in [column.name for column in report.tables[0].shown()]


def test_a_run_that_ended_before_the_budget_counts_with_its_last_evaluation(fake: Any) -> None:
    report = _report(fake, {"short": [Curve((10.0,), (0.5,))]}, 3600.0)
    assert summary_rows(report)[0]["accuracy_at_budget_mean"] == 0.5
    assert "evaluated_by_budget" not in [column.name for column in report.tables[0].shown()]


def test_a_budget_before_every_evaluation_is_an_error_of_the_command_and_a_note_of_the_suite(fake: Any) -> None:
    curves = {"a": [Curve((10.0,), (0.5,))]}
    with pytest.raises(HarnessError, match=r"^No run was evaluated within 5 s of train time: the first was at 10 s\n"):
        _report(fake, curves, 5.0, required=True)
    report = _report(fake, curves, 5.0)
    assert "No run was evaluated within 5 s of train time: the first was at 10 s." in report.tables[0].every_note
    assert summary_rows(report)[0]["accuracy_at_budget_mean"] is None


def test_resumed_runs_have_no_accuracy_at_a_time(fake: Any) -> None:
    results = [fake.result("a", seed=seed, config_id="a", resumed_at_steps=[7] * seed) for seed in (0, 1)]
    options = {"budget_seconds": 20.0, "curve_of": lambda run: Curve((10.0,), (0.5 + 0.2 * run.seed,))}
    assert summary_rows(fake.report(results, **options))[0]["accuracy_at_budget_mean"] == 0.5
    both = summary_rows(fake.report(results, **options, with_resumed=True))[0]
    assert both["accuracy_at_budget_mean"] == pytest.approx(0.6)


def test_runs_that_missed_the_target_are_later_than_all_others_in_the_median(fake: Any) -> None:
    def median(*times: float | None) -> CensoredMedian:
        results = [fake.result("a", seed=i, seconds=100.0 + i, target=_reached(t)) for i, t in enumerate(times)]
        return fake.report(results).tables[0].rows[0].values["target_median_seconds"]

    assert median(30.0, 10.0, 20.0) == CensoredMedian(20.0)
    assert median(30.0, None, 20.0) == CensoredMedian(30.0)
    assert median(30.0, None, None) == CensoredMedian(None, 101.0)
    assert median(30.0, 20.0, None, None) == CensoredMedian(None, 66.0)
    assert median(None) == CensoredMedian(None, 100.0)


def test_the_table_says_what_the_mean_leaves_out(fake: Any) -> None:
    half = [fake.result("a", seed=i, target=_reached(t)) for i, t in enumerate([30.0, None])]
    report = fake.report([*half, fake.result("b", target=_reached(5.0), train={"epochs": 3})])
    shown = {column.name: column for column in report.tables[0].written()}
    assert shown["target_reached"].cells == ["1 of 2", "1 of 1"]
    assert shown["target_median_seconds"].cells == ["> 65.00 s", "5.00 s"]
    assert [row["target_reached_share"] for row in summary_rows(report)] == [0.5, 1.0]
    assert [row["target_median_seconds"] for row in summary_rows(report)] == [None, 5.0]
    assert [row["target_median_above_seconds"] for row in summary_rows(report)] == [65.0, None]
    assert shown["target_seconds"].cells == ["-", "5.00 s"], "no mean of those that arrived alone"
    assert "it would leave out the slow" in _notes(report)
    assert "it would leave out the slow" not in _notes(fake.report(half[:1]))
    order = fake.report(
        [*half, fake.result("b", target=_reached(5.0), train={"epochs": 3})], sort="target_median_seconds"
    )
    assert [row.label for row in order.tables[0].rows] == ["b", "a"]


def test_a_clock_that_counts_evaluation_too(fake: Any) -> None:
    epochs = _epochs(0.5, 0.9, 0.95)
    for number, event in epochs.items():
        event["eval_seconds"] = 1.0 + number
    reached, missed = fake.result("a", target=_reached(20.0)), fake.result("a", seed=1, target=_reached(None))

    def median(results: list[Any], events: dict[int, Any]) -> Any:
        [row] = fake.report(results, curve_of=lambda run: curve_of(events)).tables[0].rows
        return row.values["target_with_evaluation_seconds"]

    assert median([reached], epochs) == CensoredMedian(23.0), "two epochs, and evaluations of 1 and 2 s"
    assert median([missed], epochs) == CensoredMedian(None, 104.5)
    assert median([reached], {1: epochs[1]}) is None, "an event was lost"
    assert median([reached], _epochs(0.5, 0.9)) is None, "evaluations were not timed"
    assert median([reached], {**epochs, 0: {**epochs[0], "eval_seconds": None}}) is None


def test_a_target_that_no_run_measured_is_said_and_not_counted_as_missed(fake: Any) -> None:
    results = [fake.result("a", seed=seed, target=_reached(None, "test.mean_batch_recall")) for seed in range(2)]
    report = fake.report(results)
    assert "No time to target: no run here measured test.mean_batch_recall." in report.tables[0].every_note
    values = report.tables[0].rows[0].values
    assert [values[name] for name in ("target_reached", "target_reached_share", "target_median_seconds")] == [None] * 3


def _many(configs: int, seeds: int, sd: float = 0.0) -> dict[str, list[Curve]]:
    return {
        f"config {i}": [
            Curve(
                tuple(10.0 * (1 + i) * (epoch + 1) + seed / 10 for epoch in range(5)),
                tuple(0.5 + 0.05 * epoch + 0.03 * (i % 3) + sd * seed for epoch in range(5)),
            )
            for seed in range(seeds)
        ]
        for i in range(configs)
    }


def test_the_chart_has_the_means_of_the_curves_and_marks_front_target_and_budget(fake: Any) -> None:
    curves = _many(4, 3, sd=0.002)
    results = [
        fake.result(
            label, seed=s, accuracy=c.accuracies[-1], seconds=c.seconds[-1], config_id=label, target=_reached(1.0)
        )
        for label, own in curves.items()
        for s, c in enumerate(own)
    ]
    for result in results:
        result.target.at_least = 0.68
    report = fake.report(results, budget_seconds=60.0, curve_of=lambda run: curves[run.config_id][run.seed])
    spec = fake.spec(curves_chart(report.tables[0]))
    last = {point["config"]: point for point in spec["datasets"]["curves"]}
    for row in report.tables[0].rows:
        assert last[row.label]["y"] == pytest.approx(100 * row.values["test_accuracy"].mean)
        assert last[row.label]["front"] == row.values["on_front"]
    text = json.dumps(spec)
    assert "target 68 %" in text
    assert "1 min" in text


def test_of_many_configs_the_best_are_drawn(fake: Any) -> None:
    report = _report(fake, _many(70, 1), None)
    chart = fake.spec(curves_chart(report.tables[0]))
    drawn = {point["label"] for point in chart["datasets"]["curves"]}
    assert len(drawn) == 8 and "62 more configs are not drawn" in " ".join(chart["title"]["subtitle"])
    assert {row.label for row in report.tables[0].rows if row.values["on_front"]} <= drawn


def test_curves_are_read_from_the_events_of_the_last_attempt(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "s", "r", "a1b2c3")
    folder.path.mkdir(parents=True)
    events = [{"event": "run_started"}, {"epoch": 0, "train_seconds": 99.0, "metrics": {"test": {"accuracy": 0.1}}}]
    events.append({"event": "run_started"})
    events += [{"epoch": number, **own} for number, own in _epochs(0.5, 0.6).items()]
    lines = [json.dumps({**EVENT, **event}) for event in events]
    (folder.path / "events.jsonl").write_text("\n".join(lines) + "\n")
    assert curve_of(folder.epochs()) == Curve((10.0, 20.0), (0.5, 0.6))


def test_a_budget_that_one_system_misses_is_no_error(fake: Any) -> None:
    seconds = {"quick": 4.0, "slow": 10.0}
    results = [fake.result(name, system_id=name, config_id=name) for name in seconds]
    report = fake.report(results, asked_seconds=5.0, curve_of=lambda run: Curve((seconds[run.system_id],), (0.5,)))
    found = {row["system_id"]: row["accuracy_at_budget_mean"] for row in summary_rows(report)}
    assert found == {"all": None, "quick": 0.5, "slow": None}


def test_a_line_of_many_evaluations_is_thinned_and_keeps_its_end(fake: Any) -> None:
    many = Curve(tuple(map(float, range(1, 5001))), tuple(0.5 + step / 20_000 for step in range(5000)))
    report = _report(fake, {"a": [many], "b": [many]}, None)
    chart = curves_chart(report.tables[0])
    assert chart
    spec = fake.spec(chart)
    for name in ("a", "b"):
        line = [point for point in spec["datasets"]["curves"] if point["config"] == name]
        assert 100 < len(line) <= 400
        assert line[-1]["y"] == pytest.approx(100 * many.accuracies[-1])
        assert line[-1]["x"] * 60 == pytest.approx(5000.0)


def test_a_line_breaks_where_it_is_outside_of_the_plot(fake: Any) -> None:
    late = [Curve((10.0, 20.0, 30.0, 40.0), (0.10, 0.93, 0.94, 0.95 + seed / 1000)) for seed in range(2)]
    table = _report(fake, {"late": late}, None).tables[0]
    chart = curves_chart(table)
    assert chart
    points = chart.spec["datasets"]["curves"]
    assert [point["y"] is None for point in points] == [True, False, False, False]
