"""What a forecast makes of steps and records, by numbers alone."""

from __future__ import annotations

import pytest

from harness.durations import rounded_text
from harness.forecast.alike import timing_key
from harness.forecast.forecast import ConfigForecast, Forecast, Known, leave_out, total_of, useful_records, with_shares
from harness.forecast.show import forecast_text
from harness.forecast.stepped import Block, Stepped
from harness.records.forecast import FIXED_FACTOR, Span, beside_fact
from harness.records.result import RunResult
from harness.spec import RunSpec, parse_run_spec
from harness.statistics.intervals import next_value
from harness.suite.plan import PlannedRun
from tests.records.test_store import finished


def spec_of(**changes) -> RunSpec:
    values = {"model": "mlp", "data": "digits", "optimizer": {"name": "sgd", "lr": 0.1}, "train": {"epochs": 10}}
    return parse_run_spec({"label": "a", **values, **changes})


def runs_of(*specs: RunSpec, seeds: int = 1) -> list[PlannedRun]:
    return [
        PlannedRun(spec=spec.model_copy(update={"seed": seed}), config_id=spec.label, run_id="", fingerprint="")
        for seed in range(seeds)
        for spec in specs
    ]


def stepped_of(*seconds: float, **more) -> Stepped:
    blocks = tuple(Block(value, 100) for value in seconds)
    return Stepped(config_id="a", blocks=blocks, samples_per_epoch=1000, steps_per_epoch=10, **more)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (4.26, "4.3 s"),
        (42.4, "42 s"),
        (720, "12 min"),
        (11390, "3 h 10 min"),
        (7200, "2 h"),
        (190_000, "2 d 5 h"),
    ],
)
def test_durations_as_a_guess_is_told(seconds, text) -> None:
    assert rounded_text(seconds) == text


def test_the_time_of_a_run_is_its_steps_and_its_evaluations_and_what_comes_once() -> None:
    stepped = stepped_of(1.0, 1.0, 1.0, eval_seconds=0.5, build_seconds=2.0, data_seconds=3.0, first_seconds=0.25)
    spec = spec_of()
    known = Known({"a": spec}, runs_of(spec, seeds=3), {"a": stepped}, {"a": "a"}, started_seconds=6.0)
    config = known.config("a")
    assert config.train and config.wall and config.total
    assert config.step_seconds == pytest.approx(1.0) and config.epoch_seconds == pytest.approx(10.0)
    assert config.train.seconds == pytest.approx(100.25)
    assert config.wall.seconds == pytest.approx(100.25 + 10 * 0.5 + 2.0)
    assert config.total.seconds == pytest.approx(3 * 107.25)
    assert total_of([config], known.once()).seconds == pytest.approx(3 * 107.25 + 9.0)


def test_evaluations_are_as_many_as_a_run_makes() -> None:
    spec = spec_of(train={"epochs": 10, "evaluate_every_epochs": 4})  # after 4, 8 and 10
    known = Known({"a": spec}, runs_of(spec), {"a": stepped_of(1.0, 1.0, 1.0, eval_seconds=5.0)}, {"a": "a"})
    wall = known.config("a").wall
    assert wall and wall.seconds == pytest.approx(100.0 + 15.0)


def test_steps_that_scatter_make_a_wide_interval_and_too_few_none() -> None:
    spec = spec_of()

    def train(*seconds: float) -> Span:
        found = Known({"a": spec}, runs_of(spec), {"a": stepped_of(*seconds)}, {"a": "a"}).config("a").train
        assert found
        return found

    steady, uneven, few = train(1.0, 1.01, 0.99, 1.0), train(1.0, 2.0, 0.5, 1.5), train(1.0, 1.1)
    assert steady.low and steady.high and uneven.low and uneven.high
    assert 95 < steady.low < steady.seconds < steady.high < 105
    assert uneven.low < 60 and uneven.high > 300
    assert few.low is None and few.high is None and few.text() == "2 min (no interval)"


def test_the_interval_of_one_more_value_holds_as_often_as_it_says() -> None:
    import numpy as np

    drawn = np.exp(np.random.default_rng(0).normal(0.0, 0.3, (2000, 6)))
    ends = [next_value(list(map(float, row[:5]))) for row in drawn]
    held = [low <= row[5] <= high for row, (low, high) in zip(drawn, (end for end in ends if end), strict=True)]
    assert 0.935 < sum(held) / len(held) < 0.965


def test_configs_that_differ_in_numbers_alone_take_the_same_time() -> None:
    one = spec_of()
    same = [
        spec_of(label="b", seed=3),
        spec_of(optimizer={"name": "sgd", "lr": 0.5}),
        spec_of(schedule="one_cycle"),
        spec_of(train={"epochs": 3, "evaluate_every_epochs": 2}),
    ]
    others = [
        spec_of(optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9}),
        spec_of(optimizer={"name": "adam", "lr": 0.1}),
        spec_of(optimizer={"name": "muon", "iterations": 2}),
        spec_of(optimizer={"name": "muon", "iterations": 5}),
        spec_of(model={"name": "mlp", "hidden_sizes": [7]}),
        spec_of(train={"global_batch_size": 64}),
        spec_of(train={"label_smoothing": 0.1}),
        spec_of(data={"name": "digits", "validation": 0.1}),
    ]
    assert all(timing_key(spec) == timing_key(one) for spec in same)
    assert len({timing_key(spec) for spec in (one, *others)}) == len(others) + 1


def test_a_config_that_is_timed_by_another_does_not_diverge_with_it() -> None:
    specs = {label: spec_of(label=label) for label in ("a", "b")}
    diverged = stepped_of(1.0, 1.0, 1.0, problem="the loss of step 2 is not finite")
    known = Known(specs, runs_of(*specs.values()), {"a": diverged}, {"a": "a", "b": "a"})
    assert known.config("a").problem and not known.config("b").problem
    assert known.config("b").stepped_as == "a" and known.config("b").train == known.config("a").train


def config_of(label: str, seconds: float, runs: int = 2) -> ConfigForecast:
    span = Span(seconds=seconds, low=seconds / 2, high=seconds * 2)
    return ConfigForecast(config_id=label, label=label, open_runs=runs, wall=span, total=span.times(runs))


def test_what_to_leave_out_is_the_fewest_configs_or_the_last_seeds_by_the_high_end() -> None:
    specs = [spec_of(label=label) for label in ("a", "b", "c")]
    runs = runs_of(*specs, seeds=2)
    configs = with_shares([config_of("a", 10.0), config_of("b", 100.0), config_of("c", 40.0)])
    assert [config.label for config in configs] == ["b", "c", "a"]
    assert [config.share for config in configs] == pytest.approx([200 / 300, 80 / 300, 20 / 300])
    once = Span(seconds=5.0, low=5.0, high=5.0)
    assert leave_out(606.0, configs, once, runs).fits  # 300 s, at most 605 s
    half = leave_out(604.0, configs, once, runs)
    assert not half.fits and half.seeds == [0] and half.configs == ["b"]
    assert half.with_seeds and half.with_seeds.seconds == pytest.approx(155.0)
    assert half.without_configs and half.without_configs.seconds == pytest.approx(105.0)
    little = leave_out(46.0, configs, once, runs)
    assert little.configs == ["b", "c"] and not little.seeds
    nothing = leave_out(1.0, configs, once, runs)
    assert not nothing.configs and not nothing.seeds and not nothing.fits
    assert leave_out(606.0, configs[:2], once, runs).fits is None  # nothing is known of the third


def test_records_tell_the_time_of_a_config_from_the_third_on(tmp_path) -> None:
    def result(number: int, **changes) -> RunResult:
        clock = {"train_seconds": 10.0 + number, "total_seconds": 12.0 + number}
        return finished(tmp_path, f"r{number}", clock=clock, **changes)

    three = [result(number) for number in range(3)]
    assert not useful_records(three[:2]) and useful_records(three) == {"c": three}
    assert not useful_records([*three[:2], result(3, disturbed=["others computed"])])
    spec = spec_of()
    config = Known({"c": spec}, runs_of(spec), records={"c": three}).config("c")
    assert config.source == "records" and config.train and config.train.seconds == pytest.approx(11.0)


def test_what_was_measured_once_has_a_factor() -> None:
    assert Span.fixed(3.0) == Span(seconds=3.0, low=3.0 / FIXED_FACTOR, high=3.0 * FIXED_FACTOR)
    assert (Span.fixed(3.0) + Span(seconds=1.0, low=None, high=None)).high is None


def test_a_forecast_that_cannot_be_read_is_none(tmp_path) -> None:
    one = finished(tmp_path, clock={"total_seconds": 3.0})
    assert beside_fact(tmp_path, [one]) is None
    (tmp_path / "forecast.json").write_text("{")
    assert beside_fact(tmp_path, [one]) is None
    (tmp_path / "forecast.json").write_text('{"system_id": "m", "made_at": "2025", "runs": {"r": {"seconds": 2.0}}}')
    found = beside_fact(tmp_path, [one])
    assert found and found[0] == 1 and found[1].seconds == 2.0 and found[2] == 3.0


def test_the_text_has_the_sum_first_and_what_to_leave_out() -> None:
    specs = [spec_of(label=label) for label in ("a, b", "c")]
    runs = runs_of(*specs, seeds=2)
    configs = with_shares([config_of("a, b", 3000.0), config_of("c", 100.0)])
    once = Span.fixed(12.0)
    forecast = Forecast(
        suite="s",
        system_id="m",
        system="a machine",
        made_at="",
        open_runs=4,
        done_runs=2,
        wall=total_of(configs, once),
        complete=True,
        once=once,
        within=leave_out(7000.0, configs, once, runs),
        configs=[*configs, config_of("d", 1.0).model_copy(update={"total": None, "problem": "out of memory: x"})],
        runs={},
    )
    first, *rest = forecast_text(forecast, 60).splitlines()
    assert first.startswith("s on a machine: about 1 h 40 min (52 min to 3 h 30 min)")
    text = " ".join([first, *rest])
    assert "for 4 open runs; 2 are done" in text and max(map(len, [first, *rest])) <= 60
    assert "within 1.944 h: --only seed=0: 52 min (26 min to 103 min); or leave out “a, b”:" in text.replace(
        "1 h 40", "103"
    )
    assert "“d”: out of memory: x" in text and "beside" not in text
    slow_start = forecast.model_copy(update={"once": Span.fixed(1200.0)})
    assert "beside them 20 min once: starting, reading the data" in " ".join(forecast_text(slow_start, 60).splitlines())
    some = forecast.model_copy(update={"complete": False, "within": leave_out(9e9, configs[:1], once, runs)})
    told = " ".join(forecast_text(some, 60).splitlines())
    assert "of the runs with a forecast alone: all of it" in told
