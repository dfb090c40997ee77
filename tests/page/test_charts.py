"""The charts that the page adds: valid, and with the numbers of the records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.report.charts.accuracy_over_cost import accuracy_over_cost
from harness.report.charts.chart import coloured
from harness.report.charts.lines import curves, learning_curves, over_epochs
from harness.report.epochs import Curve, by_epoch, curve_of
from harness.report.fronts import COSTS
from harness.report.write import write_report


def _table(fake: Any, results: Any, events: Any = None, **material: Any) -> Any:
    events = events or fake.events
    return fake.report(results, epochs_of=events, curve_of=lambda run: curve_of(events(run)), **material).tables[0]


def test_energy_and_memory_have_charts_where_they_were_measured(fake: Any) -> None:
    table = _table(fake, fake.measured(fake.suite(6, 3)))
    plain = _table(fake, [fake.result("a", device_bytes=None)])
    for cost, title, unit in ((COSTS[1], "Energy (kJ, log scale)", 1e3), (COSTS[2], "Memory (MiB", 2.0**20)):
        spec = fake.spec(accuracy_over_cost(table, cost))
        assert title in json.dumps(spec)
        points = {point["label"]: point for point in spec["datasets"]["points"]}
        for row in table.rows:
            mean = getattr(row.values[cost.name], "mean", row.values[cost.name])
            assert points[row.label]["x"] * unit == pytest.approx(mean)
        assert accuracy_over_cost(plain, cost) is None


def test_of_many_configs_the_front_and_the_most_accurate_are_kept(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.charts.accuracy_over_cost.MOST_POINTS", 20)
    table = _table(fake, fake.suite(30, 1))
    chart = accuracy_over_cost(table)
    points = fake.spec(chart)["datasets"]["points"]
    assert len(points) == 20
    front = {row.label for row in table.rows if row.values["on_front"]}
    assert front <= {point["label"] for point in points}
    said = "Drawn are the front and the most accurate: 20 of 30 configs"
    assert chart and said in chart.caption and said in " ".join(chart.spec["title"]["subtitle"])


def test_a_config_has_one_colour_in_all_charts(fake: Any) -> None:
    table = _table(fake, fake.suite(12, 2))
    wanted = dict(coloured(table).values())
    assert len(wanted) == 8
    for make in (accuracy_over_cost, curves, learning_curves, over_epochs):
        text = json.dumps(fake.spec(make(table)))
        scales = {json.dumps(one) for one in _scales(json.loads(text))}
        assert len(scales) == 1, "one in all layers"
        scale = json.loads(scales.pop())
        assert {name: to for name, to in zip(scale["domain"], scale["range"], strict=True) if name} == wanted


def _scales(node: Any) -> Any:
    if isinstance(node, dict):
        colour = node.get("color")
        if isinstance(colour, dict) and colour.get("field") == "config":
            yield colour["scale"]
        for name, value in node.items():
            if name != "datasets":
                yield from _scales(value)
    elif isinstance(node, list):
        for one in node:
            yield from _scales(one)


def test_the_axis_of_the_curves_shows_where_they_end(fake: Any) -> None:
    """Lines that end within half a point are half the plot apart, though they begin at a guess."""
    ends = {"a": 0.981, "b": 0.982, "c": 0.986}
    own = {name: Curve((10.0, 20.0, 30.0, 40.0), (0.1, 0.9, end - 0.002, end)) for name, end in ends.items()}
    results = [fake.result(name, accuracy=end, seconds=40.0, config_id=name) for name, end in ends.items()]
    chart = curves(fake.report(results, curve_of=lambda run: own[run.config_id]).tables[0])
    spec = fake.spec(chart)
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert (98.6 - 98.1) / (high - low) > 0.03 > (98.6 - 98.1) / (98.6 - 10)
    assert chart and "lines start below it" in chart.caption


def test_learning_curves_are_means_over_seeds_of_both_splits_and_both_numbers(fake: Any) -> None:
    results = [fake.result("a", seed=s, accuracy=0.9 + s / 100, seconds=60.0 + 6 * s, config_id="a") for s in range(3)]
    table = _table(fake, results)
    spec = fake.spec(learning_curves(table))
    points = spec["datasets"]["points"]
    assert len(points) == 2 * 6
    assert f'"values": {list(range(1, 7))}' in json.dumps(spec), "each epoch is marked once"
    last = {point["split"]: point for point in points if point["epoch"] == 6}
    assert last["test"]["accuracy"] == pytest.approx(91.0)
    assert last["train"]["accuracy"] == pytest.approx(93.0)
    assert last["test"]["loss"] == pytest.approx(1.5 - 0.91)


def test_losses_that_do_not_compare_are_told_so(fake: Any) -> None:
    plain, smooth = (
        learning_curves(_table(fake, [fake.result("a", train={"label_smoothing": share})])) for share in (0.0, 0.2)
    )
    assert plain and "smoothing" not in plain.caption
    assert smooth and "the train loss has label smoothing, the test loss none" in smooth.caption.lower()
    assert "smoothing" in " ".join(smooth.spec["title"]["subtitle"])


def test_an_epoch_that_one_run_lost_is_left_out_and_times_after_it_are_not_known(fake: Any) -> None:
    results = [fake.result("a", seed=seed, seconds=60.0, config_id="a") for seed in range(2)]

    def events(run: Any) -> Any:
        return fake.events(run, lost=(2,) if run.seed else ())

    table = _table(fake, results, events)
    found = by_epoch(table.rows[0], events)
    assert found
    assert [epoch["epoch"] for epoch in found.epochs] == [1, 2, 4, 5, 6]
    assert [epoch.get("seconds") for epoch in found.epochs] == [10.0, 20.0, None, None, None]
    # The spec says 20 epochs: those after the last event were lost, too.
    assert found.lost == table.rows[0].runs[0].epochs - 5
    assert by_epoch(table.rows[0], lambda run: {}) is None


def test_speed_waiting_and_power_of_each_epoch(fake: Any) -> None:
    result = fake.result("a", seconds=60.0, config_id="a")
    result.throughput.samples = 50_000 * result.epochs
    table = _table(fake, [result])
    spec = fake.spec(over_epochs(table))
    assert len(spec["vconcat"]) == 3
    for point in spec["datasets"]["points"]:
        assert point["samples_per_second"] == pytest.approx(5000)
        assert point["wait_share"] == pytest.approx(5.0)
        assert point["gpu_watts"] == pytest.approx(90.0)
    assert over_epochs(_table(fake, [result], lambda run: {})) is None


def test_speeds_far_apart_have_a_logarithmic_axis_no_longer_than_they_need(fake: Any) -> None:
    results = [fake.result(label, seconds=seconds, config_id=label) for label, seconds in (("a", 60.0), ("b", 1200.0))]
    for result in results:
        result.throughput.samples = 50_000 * result.epochs
    speed, waiting, _ = fake.spec(over_epochs(_table(fake, results)))["vconcat"]
    up = speed["layer"][0]["encoding"]["y"]
    assert up["title"] == ["Samples/s", "(log scale)"] and up["scale"]["type"] == "log"
    assert up["scale"]["domain"] == pytest.approx([250 / 1.2, 5000 * 1.2])
    assert waiting["layer"][0]["encoding"]["y"]["scale"]["type"] == "linear"


@pytest.mark.slow
@pytest.mark.launch
def test_beside_a_page_every_chart_is_png_and_svg_and_a_plain_report_leaves_them(fake: Any, tmp_path: Path) -> None:
    report = fake.report(fake.suite(3, 2), epochs_of=fake.events, curve_of=lambda run: curve_of(fake.events(run)))
    _, charts = write_report(tmp_path, report, for_page=True)
    stems = ["accuracy_over_memory", "accuracy_over_time", "curves", "learning_curves", "over_epochs"]
    for ending in ("png", "svg"):
        assert sorted(path.stem for path in tmp_path.glob(f"*.{ending}")) == stems
    assert charts and sorted(charts) == stems
    write_report(tmp_path, report)
    assert (tmp_path / "over_epochs.svg").exists()  # the page's, which is of an earlier day and says so


def test_an_undecided_gain_has_no_price_in_joules_either(fake: Any) -> None:
    results = [
        fake.result(label, seed=seed, accuracy=accuracy + seed * sign / 50, seconds=seconds, config_id=label)
        for label, accuracy, seconds, sign in (("a", 0.8, 10.0, 1), ("b", 0.85, 20.0, -1))
        for seed in range(3)
    ]
    table = fake.report(fake.measured(results)).tables[0]
    assert table.prices
    [interval] = [
        cell
        for column in table.prices.columns
        if column.name == "price"
        for cell, paid in zip(column.cells, [one["cost"] for one in table.prices.records], strict=True)
        if paid == "train_joules"
    ]
    assert interval == "-"
